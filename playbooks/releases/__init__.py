"""What is deployed: artifacts, and what a host gets of a release."""
