"""What a task may change on a host, and what is wrong with any other change.

Each place says whose what is in it may be after the task. So a file of root's in a folder of the user's is as wrong as
one of the user's in a folder of root's, and a setuid bit or a device is wrong everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tests.attacks.host_manifest import Change, Entry

Whose = Literal["root", "user", "system"]


@dataclass(frozen=True)
class Place:
    """Paths that may change.

    Args:
        pattern: of the paths: `*` is anything within a name, `**` anything at all.
        whose: root's; the user's own, as it likes; or the system's, of whatever account of the system's, root's too.
        most: the permissions that an entry may have at the most; those of the user's own are the user's affair.
        kinds: what may be there.
    """

    pattern: str
    whose: Whose = "root"
    most: int = 0o755
    kinds: tuple[str, ...] = ("file", "folder", "link")

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        parts = re.split(r"(\*\*|\*)", self.pattern)
        expression = "".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
        return re.compile(expression, re.DOTALL)

    def holds(self, path: str) -> bool:
        """Whether a path is in it."""
        return self._expression.fullmatch(path) is not None

    def allows(self, entry: Entry, uid: int, gid: int) -> bool:
        """Whether an entry may be so here.

        Args:
            entry: what is there.
            uid, gid: the application's user and group.
        """
        if self.whose == "user":
            kinds = (*self.kinds, "fifo", "socket")
            return entry.uid == uid and entry.gid == gid and entry.kind in kinds and not entry.mode & 0o7000
        if entry.kind not in self.kinds or entry.mode & ~self.most:
            return False
        if self.whose == "root":
            return entry.uid == 0 and entry.gid in (0, gid)
        return entry.uid != uid


# Of the host's own services: what happens on any host when somebody logs in and starts a unit.
SYSTEM = (
    Place("/var/log/**", "system", 0o2775),
    Place("/run/log/**", "system", 0o2775),
    Place("/run/systemd/**", "system", 0o1777, ("file", "folder", "link", "fifo", "socket")),
    Place("mount:/run/credentials/**", "system"),
    Place("/run/credentials/**", "system"),
    Place("/run/sudo/**", "system"),
    Place("/run/utmp", "system", 0o664),
    Place("/run/motd.dynamic*", "system"),
    Place("/var/lib/systemd/**", "system"),
    # PrivateTmp of the system's own units, and of a drill's.
    Place("/tmp/systemd-private-*", "system", 0o700, ("folder",)),
    Place("/tmp/systemd-private-*/tmp", "system", 0o1777, ("folder",)),
    Place("/var/tmp/systemd-private-*", "system", 0o700, ("folder",)),
    Place("/var/tmp/systemd-private-*/tmp", "system", 0o1777, ("folder",)),
)


@dataclass(frozen=True)
class Places:
    """The places of an application.

    Args:
        app: its name.
        home, state, repository, restored: its folders.
        own: what its user may write to besides, as patterns.
    """

    app: str
    home: str
    state: str
    repository: str
    restored: str
    own: Sequence[str]

    def of(self, *kinds: str) -> list[Place]:
        """What may change, in order of the kinds: every one of them is a method here."""
        found = [*SYSTEM, *(Place(pattern, "user") for pattern in self.own)]
        for kind in kinds:
            found += getattr(self, kind)()
        return found

    def records(self) -> list[Place]:
        """State, lock and ledger: root's alone."""
        return [
            Place("/var/lib/slipway"),
            Place(self.state, most=0o700),
            Place(f"{self.state}/**", most=0o700),
            Place("/run/slipway", most=0o755),
            Place("/run/slipway/**", most=0o755),
            Place(f"/run/lock/slipway*{self.app}*", most=0o600),
        ]

    def folders(self) -> list[Place]:
        """The application's folders themselves, without what is in them."""
        # What the user went on writing into while it was removed.
        left = (f"{self.home}/.incoming.gone.*", f"{self.home}/.incoming.gone.*/**")
        gone = [place for path in left for place in (Place(path), Place(path, "user"))]
        return [Place(self.home), Place(f"{self.home}/releases"), Place(f"{self.home}/shared"), *gone]

    def releases(self) -> list[Place]:
        """Releases: root's, and its group may read them. Links to shared folders need folders on the way to them."""
        return [
            *self.folders(),
            Place(f"{self.home}/shared/storage"),
            Place(f"{self.home}/releases/**"),
            Place(f"{self.home}/current", kinds=("link",)),
            Place(f"{self.home}/.way-back", kinds=("link",)),
            Place(f"{self.home}/.fetched"),
        ]

    def drills(self) -> list[Place]:
        """What a drill that was killed leaves to the next one: what it restored, in a folder that is root's alone."""
        folder = f"{self.state}/slipway-drill-{self.app}"
        return [Place(f"{folder}/**"), Place(f"{folder}/root/**", "user"), Place(f"{folder}/tree/**", "user")]

    def units(self) -> list[Place]:
        """Its own unit, and the timer that takes a host back."""
        units = "/etc/systemd/system"
        return [
            Place(f"{units}/{self.app}.service", most=0o644, kinds=("file", "link")),
            Place(f"{units}/{self.app}.service.slipway-back", most=0o644, kinds=("file",)),
            Place(f"{units}/multi-user.target.wants/{self.app}.service", kinds=("link",)),
            Place(f"{units}/timers.target.wants"),
            Place(f"{units}/slipway-guard-{self.app}-*", most=0o644, kinds=("file",)),
            Place(f"{units}/timers.target.wants/slipway-guard-{self.app}-*", kinds=("link",)),
        ]

    def backups(self) -> list[Place]:
        """The repository: root's alone."""
        return [Place("/var/backups/slipway"), Place(self.repository, most=0o700), Place(f"{self.repository}/**")]

    def restores(self) -> list[Place]:
        """Where a backup is restored to."""
        return [Place(self.restored), Place(f"{self.restored}/**"), Place(f"{self.restored}/**", "user")]

    def accounts(self) -> list[Place]:
        """The user that builds releases."""
        names = {"passwd": 0o644, "group": 0o644, "shadow": 0o640, "gshadow": 0o640, "subuid": 0o644, "subgid": 0o644}
        return [
            Place(f"/etc/{name}{copy}", "system", most, ("file",)) for name, most in names.items() for copy in ("", "-")
        ]

    def sudoers(self) -> list[Place]:
        """What provision grants the login user."""
        return [Place("/etc/sudoers.d/slipway-deploy", most=0o440, kinds=("file",))]


def wrongs(changes: Iterable[Change], places: Sequence[Place], uid: int, gid: int) -> list[str]:
    """The changes that are none of the task's, nor within the user's reach.

    Args:
        changes: between two manifests.
        places: what the task may change.
        uid, gid: the application's user and group.
    """
    return [str(change) for change in changes if not _is_allowed(change, places, uid, gid)]


def _is_allowed(change: Change, places: Sequence[Place], uid: int, gid: int) -> bool:
    here = [place for place in places if place.holds(change.path)]
    if change.after.kind in ("absent", "mount"):
        return bool(here)
    if any(one.startswith("security.") for one in change.after.attributes):
        return False
    return any(place.allows(change.after, uid, gid) for place in here)
