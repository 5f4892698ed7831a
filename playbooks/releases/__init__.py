"""Find artifacts, and make releases from them."""
