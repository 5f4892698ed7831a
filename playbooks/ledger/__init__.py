"""Records: signed by their authors, checked against each other, and referred to by their heads (A9, G10)."""
