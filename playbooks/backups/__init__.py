"""How a fleet is backed up: jobs for every host under one id, and whether the last backup still holds."""
