"""Read the backup records that hosts keep beside their repositories. Each must match what backup.sh writes."""

from __future__ import annotations

from typing import Any

from playbooks.core import names
from playbooks.fleet.host_json import read_object

KINDS = ("application", "database")
_MOST = 10**15  # bytes, files


def read_record(text: str, host: str) -> dict[str, Any] | None:
    """Read a record from a host's answer; None if it is damaged or not one of ours.

    Args:
        text: the host's text.
        host: the host's inventory name, which overrides the name in the record.
    """
    found = read_object(text)
    return {**found, "host": host} if found is not None and _is_record(found) else None


def _is_record(found: dict[str, Any]) -> bool:
    release, databases = found.get("release"), found.get("databases", [])
    return (
        _fits(names.BACKUP, found.get("id"))
        and _fits(names.SNAPSHOT, found.get("snapshot"))
        and _fits(names.VERSION, found.get("version"))
        and (release is None or _fits(names.RELEASE, release))
        and names.parse_time(found.get("created")) is not None
        and found.get("kind") in KINDS
        and _is_text(found.get("repository"))
        and all(_is_count(found.get(name, 0)) for name in ("bytes", "files", "added"))
        and isinstance(databases, list)
        and all(isinstance(one, dict) and _is_text(one.get("name")) for one in databases)
        and isinstance(found.get("changed", []), list)
        and all(_is_text(name) for name in found.get("changed", []))
    )


def _fits(pattern: Any, value: object) -> bool:  # noqa: ANN401 - re.Pattern is generic
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= names.MAX_TEXT


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST
