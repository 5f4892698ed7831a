"""The database's side of a release, as pure functions: which files there are, what they say, and what is to be done."""
