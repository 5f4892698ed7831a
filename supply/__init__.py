"""What Slipway is made of: the lock files that script/lock writes, and the bill of materials made of them."""
