"""How a release gets to a fleet: planned, moved, watched, told."""
