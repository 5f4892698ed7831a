"""Who changes, to what, in which order."""
