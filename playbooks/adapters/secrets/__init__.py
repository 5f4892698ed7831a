"""Read secrets, and hide them in output."""
