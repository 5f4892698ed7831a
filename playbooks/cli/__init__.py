"""The command line: what every task does around its procedure."""
