"""Problems of a release's units, judged from their text and from a host's answers: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from urllib.parse import urlsplit

from playbooks.checks.judged import CheckVerdict
from playbooks.releases.render import Rendered
from playbooks.settings import Settings
from playbooks.settings.health import AnyCheck, HttpCheck, TcpCheck
from playbooks.steps.preflight import Listener, Objections

_UNKNOWN_KEY = re.compile(r"Unknown key(?: name)? '([^']*)' in section (?:'|\[)([^\]']*)")
_LOCAL = ("127.0.0.1", "localhost", "::1")
_ANY = ("0.0.0.0", "::", "*", "")  # noqa: S104 - what others listen at
# How a unit tells its program where to listen: 8000, :8000, --port=8000.
_LISTENS = r"(?:^|[\s:=]){port}(?:\s|$|['\"])"
_STREAM = re.compile(r"(?:\[?([0-9A-Fa-f.:]+?)\]?:)?([0-9]+)")


@dataclass(frozen=True)
class Port:
    """A port that the application needs.

    Args:
        number: which.
        address: where it listens; empty: everywhere, or not known.
        sure: whether the application certainly listens there; a check may ask another service instead.
        why: what names the port, as the end of a sentence.
    """

    number: int
    address: str
    sure: bool
    why: str


def ports_of(settings: Settings, rendered: Rendered) -> list[Port]:
    """The ports that a host's release needs, each once; a certain one replaces an uncertain one.

    Args:
        settings: the host's settings.
        rendered: its release.
    """
    found: dict[int, Port] = {}
    for port in _ports(settings, rendered):
        if port.number not in found or (port.sure and not found[port.number].sure):
            found[port.number] = port
    return list(found.values())


def _ports(settings: Settings, rendered: Rendered) -> Iterator[Port]:
    if rendered.slot:
        yield Port(rendered.slot.port, "", sure=True, why=f"slot {rendered.slot.name} is there")
    for service in settings.services:
        if f"{service.name}.socket" not in rendered.units:
            continue
        for stream in service.socket:
            if match := _STREAM.fullmatch(stream):
                yield Port(int(match[2]), match[1] or "", sure=True, why=f"{service.name}.socket listens there")
    for check in settings.health.checks:
        asked = _asked(check)
        if asked is not None:
            yield Port(asked, "", is_told_to_listen(rendered, asked), f"health check {check.label} asks there")
    if settings.balancer and not settings.slots:
        served = settings.port or settings.balancer.port
        yield Port(served, "", is_told_to_listen(rendered, served), "the balancer asks there")


def _asked(check: AnyCheck) -> int | None:
    """The port of this host that a check uses, if it is always the same one."""
    if isinstance(check, TcpCheck):
        return check.port if isinstance(check.port, int) and check.host in _LOCAL else None
    if not isinstance(check, HttpCheck) or check.asks_slot:
        return None
    try:
        url = urlsplit(check.url)
        return (url.port or {"http": 80, "https": 443}.get(url.scheme)) if url.hostname in _LOCAL else None
    except ValueError:
        return None


def is_told_to_listen(rendered: Rendered, port: int) -> bool:
    """Whether a unit starts its program with this port, or sets it as PORT, so that it is the application's own.

    A URL does not count, since it names the port of another service.
    """
    listens = re.compile(_LISTENS.format(port=port))
    for line in _lines(rendered):
        key, _, value = line.partition("=")
        if key.startswith("ExecStart"):
            words = [word for word in value.split() if "://" not in word]
            if listens.search(" ".join(words[1:])):
                return True
        elif key == "Environment" and re.search(rf"(?:^|[\s'\"])PORT={port}(?:\s|$|['\"])", value):
            return True
    return False


def judge_units(settings: Settings, rendered: Rendered, release: str, objections: Objections) -> CheckVerdict:
    """A host's problems with a release's units.

    Args:
        settings: the host's settings.
        rendered: its release.
        release: its id; paths below it, or below ``current``, are checked against the artifact.
        objections: the host's answers.
    """
    problems = [
        f"{one.path} is there already, and is {one.whose}; name the service {one.unit.partition('.')[0]} differently"
        for one in objections.taken
    ]
    if refused := _refused(settings, rendered, release, objections):
        problems.append(f"systemd does not accept the unit: {'; '.join(refused)}")
    problems += [
        f"a unit has {directive}=, and {path} is in {folder} ({whose}): {_harm(directive)}"
        for directive, path, folder, whose in objections.opens
    ]
    accounts = [name for kind, name in objections.lacking if kind == "account"]
    problems += [f"there is no user '{name}' to run the application" for name in accounts]
    for kind, name in objections.lacking:
        if kind == "user" and name not in accounts:
            problems.append(f"there is no user '{name}', whom a unit names in User=")
        elif kind == "file":
            problems.append(
                f"there is no {name}, which a unit names in EnvironmentFile= (-{name} would let it be missing)"
            )
    hint = "invoke provision --env=… makes the user" if accounts else None
    found = CheckVerdict(tuple(problems), hint=hint)
    for port in ports_of(settings, rendered):
        for listener in objections.listeners:
            if listener.port == port.number and _meet(port.address, listener.address):
                found += _of_port(port, listener)
                break
    return found


def _harm(directive: str) -> str:
    """What comes of a path of a unit's in a folder that others can change, and what to do."""
    if directive.startswith("Exec"):
        return "it is started as root, whoever changed it; name a program of the release's, or of the host's"
    return (
        "systemd works there as root, whatever link is put there; name a place whose folders are root's alone "
        "(of a log: the journal, which invoke logs shows)"
    )


def _of_port(port: Port, listener: Listener) -> CheckVerdict:
    taken = f"port {port.number} is taken: {listener.who} listens at {listener.address}, and {port.why}"
    if port.sure:
        return CheckVerdict((f"{taken}; end that, or give the application another port",))
    return CheckVerdict((), (f"{taken}; is it what should answer there?",))


def _meet(ours: str, theirs: str) -> bool:
    """Whether two programs cannot both listen."""
    address = theirs.rpartition(":")[0].partition("%")[0].strip("[]")
    return ours in _ANY or address in _ANY or ours == address


def _refused(settings: Settings, rendered: Rendered, release: str, objections: Objections) -> list[str]:
    below = (f"{settings.home}/current/", f"{settings.home}/releases/{release}/")
    names = tuple(name.partition(".d/")[0] for name in rendered.units)
    told = []
    for line in objections.said:
        # A program of the release is not on the host yet; other lines are about units that these depend on.
        if any(place in line for place in below) and ("not executable" in line or "o such file" in line):
            continue
        if any(name in line for name in names):
            told.append(f"{line}{_meant(line, objections.directives)}")
    return told[:5]


def _meant(line: str, directives: Sequence[tuple[str, str]]) -> str:
    match = _UNKNOWN_KEY.search(line)
    if match is None:
        return ""
    key, section = match.groups()
    inside = [name for where, name in directives if where == section]
    near = get_close_matches(key, inside, n=1) or [name for name in inside if name.lower() == key.lower()]
    if near:
        return f" (did you mean {near[0]}?)"
    elsewhere = sorted({where for where, name in directives if name == key and where != section})
    return f" (it belongs in [{elsewhere[0]}])" if elsewhere else ""


def programs(rendered: Rendered) -> list[str]:
    """Absolute paths of the programs that the units start, as far as they are written out."""
    found = []
    for line in _lines(rendered):
        key, _, value = line.partition("=")
        if not key.startswith("Exec") or any(sign in value for sign in "%\"'$\\"):
            continue
        word = value.split(" ")[0]
        path = word.lstrip("-@:+!|")
        if path.startswith("/") and "-" not in word[: -len(path)]:  # with a "-", systemd ignores a failure
            found.append(path)
    return list(dict.fromkeys(found))


def environment_files(rendered: Rendered) -> list[str]:
    """Absolute paths of the files from which units read their environment, except optional ones."""
    found = [line.partition("=")[2] for line in _lines(rendered) if line.startswith("EnvironmentFile=/")]
    return [path for path in dict.fromkeys(found) if not any(sign in path for sign in "%*?[\"'\\")]


def _lines(rendered: Rendered) -> Iterator[str]:
    for name in rendered.units:
        text = rendered.units[name].decode("utf-8", "replace")
        yield from (line.strip() for line in text.replace("\\\n", " ").split("\n") if not line.startswith(("#", ";")))


def in_release(settings: Settings, release: str, paths: Sequence[str]) -> list[str]:
    """The paths that are in the release, as paths within it."""
    places = (f"{settings.home}/current/", f"{settings.home}/releases/{release}/")
    return [path.removeprefix(place) for path in paths for place in places if path.startswith(place)]


def lacking(settings: Settings, rendered: Rendered, release: str, members: Mapping[str, int] | None) -> CheckVerdict:
    """Programs and files that units name and the release will not have.

    Args:
        settings, rendered, release: see `judge_units`.
        members: what the artifact has: the mode of each file, -1 if it is not a plain file; None: not known.
    """
    if not members or settings.hooks.install:  # hooks make files, too
        return CheckVerdict()
    wrong = []
    named = [(path, True) for path in in_release(settings, release, programs(rendered))]
    named += [(path, False) for path in in_release(settings, release, environment_files(rendered))]
    for path, run in named:
        mode = _mode(path, rendered, settings, members)
        if mode is None:
            what = "ExecStart= or the like" if run else "EnvironmentFile="
            near = get_close_matches(path, [*members, *rendered.files], n=1, cutoff=0.8)
            meant = f"; did you mean {near[0]}?" if near else ""
            wrong.append(f"the release has no {path}, which a unit names in {what}{meant}")
        elif run and mode >= 0 and not mode & 0o111:
            wrong.append(
                f"{path} is no program: its mode in the artifact is {mode:04o}; chmod +x it and build it again"
            )
    return CheckVerdict(tuple(dict.fromkeys(wrong)))


def _mode(path: str, rendered: Rendered, settings: Settings, members: Mapping[str, int]) -> int | None:
    """A file's mode; -1 if only the host knows it; None if there is no such file."""
    if path in rendered.files:
        return rendered.files[path].mode
    way = path.split("/")
    above = ["/".join(way[:length]) for length in range(1, len(way))]
    if any(folder in settings.shared or folder in settings.writable for folder in [*above, path]):
        return -1
    if any(members.get(folder) == -1 for folder in above):  # a link
        return -1
    return members.get(path)
