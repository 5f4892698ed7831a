"""Read an environment: its inventory, settings, secrets and hosts."""
