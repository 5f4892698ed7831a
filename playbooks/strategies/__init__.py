"""In which order hosts change and traffic moves: pure functions from hosts and settings to a plan."""
