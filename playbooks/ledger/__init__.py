"""Records: signed by who made them, proven against one another, and known by their heads (A9, G10)."""
