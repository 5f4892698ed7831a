"""Run real hosts on this machine for the demo and the tests: systemd-nspawn containers that boot like VMs."""
