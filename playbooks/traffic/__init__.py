"""Which server gets which share of the traffic, and the balancers that send it."""
