"""Steps on one host. Each step is a typed function here and a shell script beside it."""
