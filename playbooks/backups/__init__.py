"""Back up a fleet: jobs for every host under one id, and a check of whether the last backup is current."""
