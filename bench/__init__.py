"""Slipway beside its peers, on real hosts: what a deploy costs. `bench/run` is the command."""
