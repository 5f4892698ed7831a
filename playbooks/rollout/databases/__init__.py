"""What a rollout does to the databases of its application."""
