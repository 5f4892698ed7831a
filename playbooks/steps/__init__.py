"""What can be done to one host: a typed function, and its shell script beside it."""
