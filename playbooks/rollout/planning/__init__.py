"""Which hosts change, to which release, in which order."""
