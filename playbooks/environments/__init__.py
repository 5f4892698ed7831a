"""An environment: its inventory, settings and secrets, and what its hosts are."""
