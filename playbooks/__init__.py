"""The procedures of the tasks. Each is one file, which reads like a page of a runbook."""
