"""Sign the ledgers' records, and check them by chain, signatures and heads (A9, G10)."""
