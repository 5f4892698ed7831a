"""Ask a host for problems with a release before staging."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from playbooks.core.names import cut
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings

MAX_LINES = 40
MAX_DIRECTIVES = 10_000


@dataclass(frozen=True)
class Taken:
    """A unit file or drop-in that belongs to somebody else.

    Args:
        unit: the unit's name.
        path: the file that is in its place.
        whose: the owner, as the end of a sentence.
    """

    unit: str
    path: str
    whose: str


@dataclass(frozen=True)
class Listener:
    """A listener at a port that is not one of the application's units.

    Args:
        address: as the system reports it: 0.0.0.0:80, [::]:80, *:80.
        unit: the unit that it belongs to; empty for none.
        program: the program's name; empty if unknown.
    """

    port: int
    address: str
    unit: str
    program: str

    @property
    def who(self) -> str:
        """Name the listener for a person."""
        if self.unit and self.program:
            return f"{self.unit} ({self.program})"
        return self.unit or self.program or "somebody else"


@dataclass(frozen=True)
class Objections:
    """The reasons why a host cannot take a release.

    Args:
        taken: units that belong to somebody else.
        said: systemd's message, if it refuses the unit files.
        directives: the directives that its systemd knows, by section; filled only if one is unknown.
        lacking: what is missing on the host, as kind and name: the application's account, a unit's user, a file.
        listeners: listeners at the ports that were asked about.
        opens: files that systemd opens as root in folders where others can make links: directive, file, folder, owner.
    """

    taken: tuple[Taken, ...] = ()
    said: tuple[str, ...] = ()
    directives: tuple[tuple[str, str], ...] = ()
    lacking: tuple[tuple[str, str], ...] = ()
    listeners: tuple[Listener, ...] = ()
    opens: tuple[tuple[str, str, str, str], ...] = ()


def objections_call(settings: Settings, units: Mapping[str, bytes], ports: Iterable[int]) -> StepCall:
    """Build the step that looks for problems; see `read_objections`.

    Args:
        settings: the host's settings.
        units: unit files and drop-ins, by name.
        ports: the ports that the application needs for itself.
    """
    return StepCall(
        "preflight",
        [str(port) for port in dict.fromkeys(ports)],
        _packed(units),
        values={"home": settings.home, "user": settings.run_user},
        timeout=settings.timeouts.command,
    )


def read_objections(answer: StepResult) -> Objections:
    """Read the host's answer.

    Raises:
        BadAnswer: the answer is malformed.
    """
    return Objections(
        taken=tuple(Taken(*map(cut, fields)) for fields in islice(answer.all("taken", 3), MAX_LINES)),
        said=tuple(cut(line) for (line,) in islice(answer.all("said", 1), MAX_LINES)),
        directives=tuple((cut(section), cut(name)) for section, name in answer.all("directive", 2, MAX_DIRECTIVES)),
        lacking=tuple((cut(kind), cut(name)) for kind, name in islice(answer.all("lacks", 2), MAX_LINES)),
        listeners=tuple(
            Listener(answer.number(port), cut(address), cut(unit), cut(program))
            for port, address, unit, program in islice(answer.all("listens", 4), MAX_LINES)
        ),
        opens=tuple(
            (cut(directive), cut(path), cut(folder), cut(whose))
            for directive, path, folder, whose in islice(answer.all("opens", 4), MAX_LINES)
        ),
    )


def _packed(units: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in units.items():
            info = tarfile.TarInfo(f"unit-files/{name}")
            info.size, info.mode = len(content), 0o600
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
