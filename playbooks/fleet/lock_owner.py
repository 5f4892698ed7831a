"""Who holds a lock, and how a task asks for one."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, dataclass, fields
from datetime import datetime

from playbooks.core import names
from playbooks.core.states import TaskStatus
from playbooks.fleet.host_json import read_object

# The tasks that change what serves.
CHANGES = ("deploy", "rollback")
MAX_FIELD = 500  # characters that a host is believed to know of a holder
_TASK = re.compile(r"[a-z][a-z-]{0,19}")
_TO = re.compile(r"(?:\?|[A-Za-z0-9][A-Za-z0-9._+-]{0,80})?")  # a version, or the id of a release or backup
_FLAG = re.compile(r"[A-Za-z0-9%.+-]{0,20}")


@dataclass(frozen=True)
class LockOwner:
    """Who holds a lock.

    Args:
        who: user@machine.
        what: the task in a person's words, e.g. "deploy 1.1.0".
        since: UTC, as 2026-11-21T04:31:00Z.
        id: the deploy's id.
        task: deploy, rollback or backup.
        version: what it is to bring.
        undoes: the id of the interrupted deploy that this task takes back.
        strategy, batch, watch, limit: the flags that a deploy was given, to go on with it as it was begun.
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
        """Whether a task that a host tells of can have been: what is done about it uses its ids on every host.

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
        """One line of JSON."""
        return json.dumps(self.__dict__, ensure_ascii=False)

    def epitaph(self, environment: str) -> dict[str, object]:
        """What the ledger is to say should this task end without a word."""
        return {
            "task": self.task,
            "id": self.id,
            "environment": environment,
            "version": self.version,
            "status": TaskStatus.INTERRUPTED,
            "message": f"'{self.what}' ended without a word: its controller died, or lost the host",
            "started": self.since,
            "by": self.who,
        }

    def silence(self, environment: str, version: str, then: str = "") -> dict[str, object]:
        """What a guard's record says of a task whose controller is not heard any more; the host adds its own.

        Args:
            environment: where.
            version: that the guard goes to.
            then: what it did, to end the sentence with.
        """
        return {
            "task": "guard",
            "id": self.id,
            "environment": environment,
            "version": version,
            "message": f"nothing was heard any more from the controller of '{self.what}'{then}",
            "started": self.since,
            "by": self.who,
        }


def read_lock_owner(text: str) -> LockOwner:
    """Read what a host says of the holder; a host that says nonsense gives an unknown holder, not an error.

    It is told to people only; `LockOwner.is_sound` says whether more may be made of it.
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
    """How long silence is borne, all of it in proportion to the guard's time-out.

    Args:
        guard: seconds without a word after which a host goes back by itself.
    """

    guard: float

    @property
    def beat(self) -> float:
        """Seconds between heartbeats."""
        return self.guard / 6

    @property
    def silence(self) -> float:
        """Seconds without an answer after which a connection counts as dead."""
        return self.guard / 3

    @property
    def patience(self) -> float:
        """Seconds without a heartbeat after which a host lets the lock go."""
        return self.guard / 2

    @property
    def window(self) -> float:
        """For how many seconds a new connection is tried."""
        return self.guard / 2


@dataclass(frozen=True)
class LockRequest:
    """How a lock is to be taken.

    Args:
        state, home: the application's folders on the host.
        holder: who we are, for others to read.
        epitaph: what the ledger is to say should the task end without a word: one line of JSON.
        timing: see there.
        wait: seconds to wait for another holder; a fraction rides out a mere look at the lock.
        undo: whether what a dead controller left half-way is taken back at once, rather than by its guard in a while.
    """

    state: str
    home: str
    holder: LockOwner
    epitaph: str
    timing: GuardTiming
    wait: float = 0.0
    undo: bool = False


@dataclass(frozen=True)
class FencingToken:
    """The right to act on a host, checked there before every step that changes something.

    Args:
        state: the folder on the host that the lock is in.
        token: the lock's number there; every taking of the lock, and every undo, makes it higher.
        task: the task and its id, as the units it works in are called.
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
        """The folder on the host for what need not outlive a reboot."""
        return f"/run/slipway/{self.state.removeprefix('/var/lib/slipway/').strip('/')}"
