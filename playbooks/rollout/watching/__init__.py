"""Whether what has changed is good: sources of numbers, hosts' signals, and the watch of a stage."""
