"""A small shop: the application that Slipway's demo ships."""
