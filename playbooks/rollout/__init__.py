"""How a release gets to a fleet: plan it, move hosts and traffic, watch, report."""
