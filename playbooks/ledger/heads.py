"""Remember the last lines of ledgers. A ledger that later lacks one was cut or rewritten.

The files are in ``$XDG_STATE_HOME/slipway`` (``~/.local/state``), one for each environment. Losing one is harmless:
this machine then cannot find cuts from before its next look.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from playbooks.core.remembered import place
from playbooks.ledger.seal import head_of

MAX_LINE = 262144
_DIGEST = re.compile(r"[0-9a-f]{32}")
_PREV = re.compile(r"start|[0-9a-f]{64}")


@dataclass(frozen=True)
class Head:
    """A ledger's last line at one time.

    Args:
        digest: the line's hash; see `head_of`.
        prev: the hash of the previous line, as the line says.
        offset: the line's position in bytes.
        length: its length in bytes, with the newline.
        at: the time, UTC, ISO 8601.
        what: the record in a person's words.
    """

    digest: str
    prev: str
    offset: int
    length: int
    at: str
    what: str

    def asked(self) -> str:
        """Return the words that ask a host for this line; see facts.sh."""
        return f"{self.offset} {self.length} {self.prev}"

    def __str__(self) -> str:
        """Describe it for a person."""
        return f"{self.what}, seen {self.at}"


def head_written(record: str, prev: str, healed: str, offset: int, at: str, what: str) -> Head:
    """Return the head that append.sh has just written.

    Args:
        record: the record that append.sh got.
        prev, healed, offset: its answer.
        at, what: see `Head`.
    """
    line = f'{{"prev":"{prev}",{healed}{record[1:]}\n'.encode()
    return Head(head_of(line), prev, offset, len(line), at, what)


class Heads:
    """The known heads of an environment. Threads may share it.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._kept: dict[str, tuple[str, Head]] | None = None

    def known(self, host: str, machine: str) -> Head | None:
        """Return the newest known head of a host.

        Args:
            host: its name.
            machine: its host key's fingerprint. A reinstalled host has another one, and a new ledger.
        """
        with self._guard:
            if self._kept is None:
                self._kept = _read(self._path)
            whose, head = self._kept.get(host, ("", None))
        return head if machine and whose == machine else None

    def keep(self, found: dict[str, tuple[str, Head | None]]) -> None:
        """Store these heads with their machines, and keep other hosts' heads. None removes a host's head.

        A failure to write is ignored; the next task then finds fewer cuts.
        """
        with self._guard:
            kept = {**_read(self._path), **{host: (one, head) for host, (one, head) in found.items() if head}}
            for host, (_, head) in found.items():
                if head is None:
                    kept.pop(host, None)
            self._kept = kept
        if not self._path.is_absolute():  # a user without a home folder stores nothing
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
            with os.fdopen(handle, "w") as file:
                written = {host: {"machine": one, **asdict(head)} for host, (one, head) in kept.items()}
                json.dump(written, file, indent=1)
            Path(name).replace(self._path)


def heads_path(application: str, environment: str, folder: Path) -> Path:
    """Return the path of an environment's heads.

    Args:
        application, environment: their names.
        folder: the inventory's folder, because two inventories may have the same name.
    """
    return place("heads", application, environment, folder)


def _read(path: Path) -> dict[str, tuple[str, Head]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(host): (str(one["machine"]), _head(one)) for host, one in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # the file is missing or damaged


def _head(kept: dict[str, object]) -> Head:
    texts = {name: str(kept[name]) for name in ("digest", "prev", "at", "what")}
    head = Head(**texts, offset=int(str(kept["offset"])), length=int(str(kept["length"])))
    if not (0 < head.length <= MAX_LINE and head.offset >= 0 and _DIGEST.fullmatch(head.digest)):
        raise ValueError(head.digest)
    if not _PREV.fullmatch(head.prev):
        raise ValueError(head.prev)
    return head
