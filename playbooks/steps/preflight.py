"""Ask a host about problems with a release before anything is staged there."""

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
    """A unit file or drop-in that somebody else has.

    Args:
        unit: its name.
        path: what stands in its place.
        whose: as the end of a sentence.
    """

    unit: str
    path: str
    whose: str


@dataclass(frozen=True)
class Listener:
    """Who listens at a port, and is none of the application's units.

    Args:
        address: as the system tells it: 0.0.0.0:80, [::]:80, *:80.
        unit: that it belongs to; empty where it has none.
        program: its name; empty where nobody tells.
    """

    port: int
    address: str
    unit: str
    program: str

    @property
    def who(self) -> str:
        """For a person."""
        if self.unit and self.program:
            return f"{self.unit} ({self.program})"
        return self.unit or self.program or "somebody else"


@dataclass(frozen=True)
class Objections:
    """What a host has against a release.

    Args:
        taken: units that are somebody else's.
        said: what systemd says of the unit files, if it does not take them.
        directives: those that its systemd knows, by section; known only where one is unknown.
        lacking: what the host has not, as kind and name: an account of the application's, a unit's user, a file.
        listeners: at the ports that were asked for.
        opens: what systemd would open as root where others can put a link: directive, file, folder, whose that is.
    """

    taken: tuple[Taken, ...] = ()
    said: tuple[str, ...] = ()
    directives: tuple[tuple[str, str], ...] = ()
    lacking: tuple[tuple[str, str], ...] = ()
    listeners: tuple[Listener, ...] = ()
    opens: tuple[tuple[str, str, str, str], ...] = ()


def ask_objections(settings: Settings, units: Mapping[str, bytes], ports: Iterable[int]) -> StepCall:
    """The step that asks; see `read_objections`.

    Args:
        settings: the host's.
        units: unit files and drop-ins by name.
        ports: that must be nobody else's.
    """
    arguments = [settings.home, settings.run_user, *(str(port) for port in dict.fromkeys(ports))]
    return StepCall("preflight", arguments, _packed(units), timeout=settings.timeouts.command)


def read_objections(answer: StepResult) -> Objections:
    """What the host said.

    Raises:
        BadAnswer: it makes no sense.
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
