"""Who gets the traffic: servers, their shares, and the balancers that send it."""
