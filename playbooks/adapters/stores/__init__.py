"""Stores of artifacts, one file each."""
