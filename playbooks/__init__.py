"""The procedures of the tasks, one in each file, each of which reads like a page of a runbook."""
