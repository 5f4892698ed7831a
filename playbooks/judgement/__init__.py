"""Whether a release is good, by numbers: pure functions from counts to a verdict."""
