"""How hosts are reached: inventory, SSH, fan-out, lock, ledger."""
