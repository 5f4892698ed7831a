"""The procedures: one file each, reading top to bottom like the runbook page it replaces."""
