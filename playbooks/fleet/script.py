"""A step's shell script, its arguments, and what it answers.

The wire format, both ways on one channel and so in one round trip:

- out: the script's own text, then the payload (an artifact, rendered files, secrets), on standard input;
- back: on standard output one record a line, ``tag<TAB>field<TAB>…``; on standard error whatever a person may want to
  see.

A script ends well only with exit status 0. ``error<TAB>code<TAB>sentence`` says why it didn't.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from playbooks.errors import BadAnswer

# head reads exactly the script's bytes and leaves the payload on standard input to the script itself.
_BOOTSTRAP = 'slipway=$(head -c "$0") && eval "$slipway"'
_INCLUDE = re.compile(rb"^# include ([a-z_]+\.sh)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A step's script with the prelude that all of them share."""

    name: str
    text: bytes

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The words that run it: its text follows on standard input, its arguments are passed as they are."""
        return ["/bin/sh", "-c", _BOOTSTRAP, str(len(self.text)), *arguments]


@cache
def load(name: str) -> Script:
    """Load ``playbooks/steps/<name>.sh`` behind the prelude; a line ``# include NAME.sh`` brings in that file."""
    folder = files("playbooks.steps")

    def include(match: re.Match[bytes]) -> bytes:
        return folder.joinpath(match[1].decode()).read_bytes()

    prelude = folder.joinpath("prelude.sh").read_bytes()
    body = _INCLUDE.sub(include, folder.joinpath(f"{name}.sh").read_bytes())
    return Script(name, prelude + b"\n" + body)


def quote(words: Sequence[str]) -> str:
    """One command line that a POSIX shell reads back as exactly these words."""
    return " ".join(shlex.quote(word) for word in words)


@dataclass(frozen=True)
class Record:
    """One line of a script's answer."""

    tag: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What a script answered.

    Args:
        host: the inventory name of the host that answered.
        step: the script's name.
        records: its lines, in order.
        seconds: how long the round trip took.
    """

    host: str
    step: str
    records: tuple[Record, ...]
    seconds: float = 0.0

    def all(self, tag: str, width: int) -> Iterator[tuple[str, ...]]:
        """The fields of every record with this tag.

        Raises:
            BadAnswer: one of them has not exactly ``width`` fields.
        """
        for record in self.records:
            if record.tag != tag:
                continue
            if len(record.fields) != width:
                raise self.bad(f"{tag} has {len(record.fields)} fields, expected {width}")
            yield record.fields

    def maybe(self, tag: str, width: int) -> tuple[str, ...] | None:
        """The fields of the last record with this tag, if there is one."""
        found = list(self.all(tag, width))
        return found[-1] if found else None

    def one(self, tag: str, width: int) -> tuple[str, ...]:
        """The fields of the record with this tag.

        Raises:
            BadAnswer: there is none.
        """
        found = self.maybe(tag, width)
        if found is None:
            raise self.bad(f"no {tag} in it")
        return found

    def number(self, text: str) -> int:
        """A whole number out of a field.

        Raises:
            BadAnswer: it isn't one, or it is absurdly long.
        """
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise self.bad(f"'{text[:40]}' is not a number")
        return int(text)

    def bad(self, why: str) -> BadAnswer:
        """The error for an answer that no script of ours gives."""
        return BadAnswer(
            f"the answer to '{self.step}' makes no sense: {why}",
            host=self.host,
            hint="look at the host: its shell, its sudo, or what sits between may add text of its own",
        )


def parse(host: str, step: str, output: bytes, seconds: float) -> Answer:
    """Parse a script's standard output.

    Raises:
        BadAnswer: it isn't text. Lines that are not records become records nobody asks for.
    """
    text = output.decode("utf-8", "replace")
    records = tuple(Record(tag, tuple(rest)) for tag, *rest in (line.split("\t") for line in text.split("\n") if line))
    return Answer(host, step, records, seconds)
