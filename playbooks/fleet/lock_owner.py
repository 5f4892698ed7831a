"""Describe a lock's owner and a request for a lock."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, dataclass, fields
from datetime import datetime

from playbooks.core import names
from playbooks.core.states import TaskStatus
from playbooks.fleet.host_json import read_object

# The tasks that change what runs.
CHANGES = ("deploy", "rollback")
MAX_FIELD = 500  # characters of a field that a host reports about an owner
_TASK = re.compile(r"[a-z][a-z-]{0,19}")
_TO = re.compile(r"(?:\?|[A-Za-z0-9][A-Za-z0-9._+-]{0,80})?")  # a version, or the id of a release or backup
_FLAG = re.compile(r"[A-Za-z0-9%.+-]{0,20}")


@dataclass(frozen=True)
class LockOwner:
    """The owner of a lock.

    Args:
        who: user@machine.
        what: the task in a person's words, e.g. "deploy 1.1.0".
        since: UTC, as 2026-11-21T04:31:00Z.
        id: the deploy's id.
        task: deploy, rollback or backup.
        version: the version that it deploys or goes back to.
        undoes: the id of the interrupted deploy that this task takes back.
        strategy, batch, watch, limit: the deploy's flags, so that another machine can resume it unchanged.
    """

    who: str
    what: str
    since: str
    id: str
    task: str = "?"
    version: str = "?"
    undoes: str = ""
    strategy: str = ""
    batch: str = ""
    watch: str = ""
    limit: str = ""

    def is_sound(self, now: datetime) -> bool:
        """Return whether a host's report of a task is plausible. Its ids are later used on every host.

        Args:
            now: the controller's time.
        """
        since = names.parse_time(self.since)
        return (
            since is not None
            and since <= now + names.MAX_AHEAD
            and _TASK.fullmatch(self.task) is not None
            and names.TASK.fullmatch(self.id) is not None
            and not names.is_ahead(self.id, now)
            and (self.task != "deploy" or self.id.partition("-")[2] == self.version)
            and _TO.fullmatch(self.version) is not None
            and (not self.undoes or names.RELEASE.fullmatch(self.undoes) is not None)
            and all(_FLAG.fullmatch(flag) for flag in (self.strategy, self.batch, self.watch))
        )

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(self.__dict__, ensure_ascii=False)

    def abandoned_record(self, environment: str) -> dict[str, object]:
        """Return the record to write if this task ends without releasing its lock."""
        return {
            "task": self.task,
            "id": self.id,
            "environment": environment,
            "version": self.version,
            "status": TaskStatus.INTERRUPTED,
            "message": f"'{self.what}' was interrupted: its controller died, or lost the connection to the host",
            "started": self.since,
            "by": self.who,
        }

    def guard_record(self, environment: str, version: str, then: str = "") -> dict[str, object]:
        """Return the guard's record for a task whose controller is silent; the host adds its own fields.

        Args:
            environment: the environment's name.
            version: the version that the guard goes back to.
            then: what the guard did, as the end of the sentence.
        """
        return {
            "task": "guard",
            "id": self.id,
            "environment": environment,
            "version": version,
            "message": f"the controller was silent: '{self.what}'{then}",
            "started": self.since,
            "by": self.who,
        }


def read_lock_owner(text: str) -> LockOwner:
    """Read a host's report of the lock owner. A malformed report gives an unknown owner, not an error.

    The result is for display; check `LockOwner.is_sound` before any other use.
    """
    data = read_object(text)
    if data is None:
        return LockOwner("somebody", "something", "?", "?")
    return LockOwner(
        **{
            field.name: str(data.get(field.name, "?" if field.default is MISSING else field.default))[:MAX_FIELD]
            for field in fields(LockOwner)
        }
    )


@dataclass(frozen=True)
class GuardTiming:
    """The time limits for silence, all in proportion to the guard's timeout.

    Args:
        guard: seconds of silence after which a host goes back by itself.
    """

    guard: float

    @property
    def beat(self) -> float:
        """Return the seconds between heartbeats."""
        return self.guard / 6

    @property
    def max_silence(self) -> float:
        """Return the seconds without an answer after which a connection counts as dead."""
        return self.guard / 3

    @property
    def patience(self) -> float:
        """Return the seconds without a heartbeat after which a host releases the lock."""
        return self.guard / 2

    @property
    def window(self) -> float:
        """Return for how many seconds to try a new connection."""
        return self.guard / 2


@dataclass(frozen=True)
class LockRequest:
    """A request for a lock.

    Args:
        state, home: the application's folders on the host.
        owner: the lock owner, for others to read.
        abandoned_record: the record to write if the task ends without releasing the lock, as one line of JSON.
        timing: the timing of heartbeat and guard.
        wait: seconds to wait for another owner; a fraction is enough for a task that only reads the lock.
        undo: whether to take back an interrupted task's changes at once, rather than wait for its guard.
    """

    state: str
    home: str
    owner: LockOwner
    abandoned_record: str
    timing: GuardTiming
    wait: float = 0.0
    undo: bool = False


@dataclass(frozen=True)
class FencingToken:
    """The right to act on a host, which the host checks before every step that changes something.

    Args:
        state: the folder on the host that holds the lock.
        token: the lock's number; it grows each time the lock is taken, and with each undo.
        task: the task and its id, as in the names of its units.
    """

    state: str
    token: int
    task: str = "task"

    @property
    def app(self) -> str:
        """The application."""
        return self.state.removeprefix("/var/lib/slipway/").partition("/")[0]

    @property
    def run(self) -> str:
        """Return the folder on the host for files that a reboot may remove."""
        return f"/run/slipway/{self.state.removeprefix('/var/lib/slipway/').strip('/')}"
