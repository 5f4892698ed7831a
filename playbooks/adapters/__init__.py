"""What stands around the hosts, each a small class behind a Protocol."""
