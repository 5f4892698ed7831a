"""Connect to systems around the hosts, each by a small class behind a Protocol."""
