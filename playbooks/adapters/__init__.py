"""Systems around the hosts, each a small class behind a Protocol."""
