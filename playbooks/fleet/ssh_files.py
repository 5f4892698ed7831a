"""Find out whether ssh's configuration files treat hosts alike; if so, one `ssh -G` is enough for all of them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from playbooks.core.surroundings import at_home, ssh_home
from playbooks.fleet.hostkeys import matches

_DEEPEST = 16  # as in ssh
_WILD = frozenset("*?")
_EVERYBODY = frozenset(("all", "final", "canonical"))
_OF_HOSTS = frozenset(("host", "originalhost"))
_OF_NOBODY = frozenset(("user", "localuser"))  # the same for hosts that are asked about with the same arguments


class UnclearError(Exception):
    """Only ssh itself can interpret a file."""


@dataclass(frozen=True)
class ConfigLine:
    """A setting of a configuration file."""

    file: Path
    number: int
    key: str
    words: tuple[str, ...]


def files(arguments: Sequence[str]) -> list[tuple[Path, Path]]:
    """Return the configuration files that ssh reads, each with the folder of its includes.

    Args:
        arguments: see `read_arguments`; the last ``-F`` counts.
    """
    own, system = Path(ssh_home(), ".ssh"), Path("/etc/ssh")
    named = [value for flag, value in pairwise(arguments) if flag == "-F"]
    if not named:
        return [(own / "config", own), (system / "ssh_config", system)]
    return [] if named[-1].lower() == "none" else [(Path(named[-1]), own)]


def lines(arguments: Sequence[str]) -> list[ConfigLine]:
    """Read all lines of the configuration files and their includes.

    Args:
        arguments: see `files`.

    Raises:
        UnclearError: only ssh itself can interpret a file.
    """
    return [line for file, folder in files(arguments) for line in _lines(file, folder, 0)]


def _lines(file: Path, folder: Path, depth: int) -> Iterator[ConfigLine]:
    if depth > _DEEPEST:
        raise UnclearError
    try:
        text = file.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        raise UnclearError from None
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r"[\s\"]*([A-Za-z0-9]+)\"?(?:\s*=\s*|\s+)(.*\S)", line)
        if found is None:
            continue
        key, words = found[1].lower(), tuple(found[2].split())
        if key in ("host", "match", "include") and re.search(r"[\"'\\]", line):
            raise UnclearError
        if key != "include":
            yield ConfigLine(file, number, key, words)
            continue
        for word in words:
            yield from _included(word, folder, depth + 1)


def _included(word: str, folder: Path, depth: int) -> Iterator[ConfigLine]:
    if "%" in word or "$" in word:
        raise UnclearError
    for path in sorted(glob.glob(os.path.join(folder, at_home(word)))):  # noqa: PTH118, PTH207 - as the C library does
        yield from _lines(Path(path), folder, depth)


def patterns(arguments: Sequence[str]) -> list[str] | None:
    """Return the names and patterns by which ssh's files distinguish hosts; None if they use more than names.

    Args:
        arguments: see `files`.
    """
    found: dict[str, None] = {}
    try:
        for line in lines(arguments):
            if line.key == "host":
                found |= dict.fromkeys(word.removeprefix("!") for word in line.words)
            elif line.key == "match":
                found |= dict.fromkeys(_matched(line))
            elif line.key == "canonicalizehostname" and line.words != ("no",):
                return None  # they distinguish hosts by DNS
    except UnclearError:
        return None
    return list(found)


def _matched(line: ConfigLine) -> Iterator[str]:
    """Return the host patterns of a Match line.

    Raises:
        UnclearError: a program decides, or an unknown criterion.
    """
    words = iter(line.words)
    for word in words:
        criterion = word.removeprefix("!").lower()
        if criterion in _EVERYBODY:
            continue
        value = next(words, None)
        if value is None or criterion not in _OF_HOSTS | _OF_NOBODY:
            raise UnclearError
        if criterion in _OF_HOSTS:
            yield from (pattern.removeprefix("!") for pattern in value.split(","))


def signature(destination: str, told_apart_by: Sequence[str]) -> tuple[str, ...]:
    """Return which patterns match a host. Hosts with the same signature get the same settings.

    Args:
        destination: the host in small letters.
        told_apart_by: see `patterns`.
    """
    return tuple(
        pattern
        for pattern in told_apart_by
        if pattern.lower() == destination or (_WILD & set(pattern) and matches(destination, [pattern]))
    )
