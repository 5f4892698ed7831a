"""Reach hosts: SSH, fan-out, lock, heartbeat."""
