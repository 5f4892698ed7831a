"""Plain types, names and errors. It imports no other package of Slipway."""
