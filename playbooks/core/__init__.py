"""The ground floor: plain types, names and errors. It imports nothing of ours."""
