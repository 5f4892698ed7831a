"""What a database has: its schema, and its data by sums, to compare it with later or with a copy (C3)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from playbooks.core.names import cut
from playbooks.fleet.remote import Remote
from playbooks.fleet.script import MAX_RECORDS
from playbooks.settings import Settings
from playbooks.settings.backup import Database
from playbooks.steps.backup import as_payload
from playbooks.steps.migrations import connection

_TABLE = re.compile(r"relation .+ kind [rp] persistence ")
_SUM = re.compile(r"-?\d{1,40}")


@dataclass(frozen=True)
class TableMeasure:
    """What a table has: its rows, a sum over them that does not depend on their order, and its size in bytes."""

    rows: int
    checksum: str
    bytes: int


@dataclass(frozen=True)
class Measure:
    """What a database has.

    Args:
        bytes: its size.
        schema: a line for each part of its schema, sorted.
        tables: by name, if data was measured.
        writes: by table, a number that grows with each row that is written, if that was asked for.
    """

    bytes: int
    schema: tuple[str, ...]
    tables: Mapping[str, TableMeasure]
    writes: Mapping[str, int] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the schema, in hex."""
        return hashlib.sha256("\n".join(self.schema).encode()).hexdigest()

    @property
    def has_tables(self) -> bool:
        """Whether there is any table besides Slipway's own."""
        return any(_TABLE.match(line) for line in self.schema)


def measure(
    remote: Remote,
    settings: Settings,
    database: Database,
    secrets: Mapping[str, str],
    *,
    name: str | None = None,
    data: Literal["no", "yes", "writes"] = "no",
    timeout: float = 600,
) -> Measure:
    """Measure a database's schema, and its data if that is asked for.

    Args:
        remote: the host that reaches it.
        settings: its settings.
        database: the database.
        secrets: the values by name.
        name: a scratch copy of it.
        data: whether to read all rows, or how many were written.
        timeout: seconds.

    Raises:
        StepFailed: it cannot be read.
    """
    payload = as_payload([connection(database, secrets, name)])
    values = {"data": data, "user": settings.run_user}
    answer = remote.run("database_measure", values=values, payload=payload, timeout=timeout)
    (size,) = answer.one("size", 1)
    tables = {
        cut(table): TableMeasure(answer.number(rows), answer.fitting(_SUM, checksum, "sum"), answer.number(bytes_))
        for table, rows, checksum, bytes_ in answer.all("table", 4, MAX_RECORDS)
    }
    schema = tuple(cut(line) for (line,) in answer.all("schema", 1, MAX_RECORDS))
    writes = {cut(table): answer.number(count) for table, count in answer.all("wrote", 2, MAX_RECORDS)}
    return Measure(answer.number(size), schema, tables, writes)
