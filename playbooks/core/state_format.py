"""The format of what Slipway keeps on hosts: a newer Slipway reads an older one's, an older one refuses a newer one's.

The file ``format`` in an application's state folder has the number. A task writes it as soon as it has the lock, so one
host may be ahead of another while a task that brings a new format is under way.

- none: Slipway before it wrote the file. It is as format 1 is.
- 1: releases with ``.slipway/`` (manifest, units, hooks), a guard as a folder, the ledger as a chain of signed lines.

When a format changes, raise `FORMAT`, tell its number and difference here, and let lock.sh upgrade what an older one
left before it writes the number: nobody else changes anything then.
"""

from __future__ import annotations

FORMAT = 1
