"""What is shipped: artifacts, and what a host is given of a release."""
