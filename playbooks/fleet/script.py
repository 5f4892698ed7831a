"""Load a step's shell script, pass its arguments, and parse its answer.

The wire format, both ways on one channel and so in one round trip:

- out: the script's own text with its values in front, then the payload (an artifact, rendered files, secrets), on the
  standard input of a shell (remote_shell.sh);
- back: on standard output one record a line, ``tag<TAB>field<TAB>…``; on standard error whatever a person may want to
  see.

A script gets its values by name. ``# needs: home release`` at its head declares them, and they are sent as quoted
assignments, ``home='/srv/shop'``, so that nothing depends on an order. Words are for lists, which ``# words: PATH...``
declares; they are ``$1``, ``$2`` and so on.

A script succeeds only with exit status 0. ``error<TAB>code<TAB>sentence`` says why it failed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from playbooks.core.errors import BadAnswer
from playbooks.fleet.lock_owner import FencingToken

# head reads exactly the script's bytes and leaves the payload on standard input for the script. If the connection
# breaks, a part of a script must not run, so the host runs only a text that has the last line.
_LAST = "# whole"
BOOTSTRAP = f'slipway=$(head -c "$0"); case $slipway in *"{_LAST}") eval "$slipway" ;; *) exit 125 ;; esac'
MAX_RECORDS = 100_000
MAX_FIELDS = 1_000_000
MAX_OF_A_KIND = 1000
_INCLUDE = re.compile(r"^# include ([a-z_]+\.sh)$", re.MULTILINE)
# Comments are not sent, because they are a third of the bytes. A line that begins with # is a comment, also inside
# an awk or jq program in quotes.
_COMMENT = re.compile(r"^[ \t]*#.*\n", re.MULTILINE)
_WORDS = re.compile(r"^# words: ", re.MULTILINE)
_NEEDS = re.compile(r"^# needs:((?: [a-z][a-z0-9_]*)+)$", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A step's script with the prelude that all scripts share.

    Args:
        name: the step's name.
        prelude, body: shell text.
        needs: the names of the values that the body reads, which ``# needs:`` declares.
        takes_words: whether it reads words, which ``# words:`` declares.
    """

    name: str
    prelude: str
    body: str
    needs: tuple[str, ...] = ()
    takes_words: bool = False

    def check(self, values: Mapping[str, str], words: Sequence[str] = ()) -> None:
        """Check that these are the values that the script declares, none more and none less, and no words for nobody.

        Raises:
            ValueError: they are others.
        """
        missing = [f"{name} is missing" for name in self.needs if name not in values]
        unknown = [f"it knows no {name}" for name in values if name not in self.needs]
        if missing or unknown:
            raise ValueError(f"{self.name}.sh needs other values: {', '.join([*missing, *unknown])}")
        if words and not self.takes_words:
            raise ValueError(f"{self.name}.sh takes no words, and was given {len(words)}")

    def given(self, values: Mapping[str, str]) -> Script:
        """Return the script with its values in front, each as a quoted assignment.

        Raises:
            ValueError: these are not the values that it needs.
        """
        self.check(values)
        return replace(self, prelude="".join(f"{n}={shlex.quote(v)}\n" for n, v in values.items()) + self.prelude)

    def reading(self) -> bytes:
        """Return the text for a step that changes nothing, or whose answer may be lost with the connection."""
        return f"{self.prelude}\n{self.body}\n{_LAST}".encode()

    def acting(self, answer: str, fencing_token: FencingToken) -> bytes:
        """Return the text for a step in a unit: it checks the lock, and keeps its answer on the host.

        Args:
            answer: the folder on the host that keeps the answer in case the connection breaks (see result.sh).
            fencing_token: the fencing token of the lock.
        """
        return (
            f"{self.prelude}\nkeep_answer {shlex.quote(answer)}\n"
            f"set +e\n(\nset -e\n{_fence(fencing_token)}\n{self.body}\n)\nend_step $?\n{_LAST}"
        ).encode()

    def leaving(self, fencing_token: FencingToken) -> bytes:
        """Return the text for a step that begins under a lock and continues without it; its answer is not kept."""
        return f"{self.prelude}\n{_fence(fencing_token)}\n{self.body}\n{_LAST}".encode()

    def alone(self) -> bytes:
        """Return the text as a file on the host, which runs without the controller."""
        return self.reading() + b"\n"


def _fence(fencing_token: FencingToken) -> str:
    return f"fence {shlex.quote(fencing_token.state)} {fencing_token.token}"


def command(text: bytes) -> list[str]:
    """Return the words that run a script whose text follows on standard input."""
    return ["/bin/sh", "-c", BOOTSTRAP, str(len(text))]


@cache
def load(name: str) -> Script:
    """Load ``playbooks/steps/<name>.sh`` behind the prelude, without comments.

    ``# include NAME.sh`` inserts that file of ``playbooks/steps/lib/``, once, at its first mention.
    """
    folder = files("playbooks.steps")
    fragments = folder.joinpath("lib")
    included: set[str] = set()

    def include(match: re.Match[str]) -> str:
        if match[1] in included:
            return ""
        included.add(match[1])
        return _INCLUDE.sub(include, fragments.joinpath(match[1]).read_text(encoding="utf-8"))

    prelude = fragments.joinpath("prelude.sh").read_text(encoding="utf-8")
    text = folder.joinpath(f"{name}.sh").read_text(encoding="utf-8")
    needs = tuple(need for line in _NEEDS.findall(text) for need in line.split())
    body = _COMMENT.sub("", _INCLUDE.sub(include, text))
    return Script(name, _COMMENT.sub("", prelude), body, needs, _WORDS.search(text) is not None)


@cache
def shell_loop() -> bytes:
    """Return the script of the shell on the host; see `playbooks.fleet.remote_shell`."""
    return files("playbooks.fleet").joinpath("remote_shell.sh").read_bytes().strip()


def quote(words: Sequence[str]) -> str:
    """Return a command line that a POSIX shell reads as exactly these words."""
    return " ".join(shlex.quote(word) for word in words)


@dataclass(frozen=True)
class Record:
    """One line of a script's answer."""

    tag: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class StepResult:
    """A script's answer.

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

    def all(self, tag: str, width: int, most: int = MAX_OF_A_KIND) -> Iterator[tuple[str, ...]]:
        """Return the fields of every record with this tag.

        Args:
            tag: the tag.
            width: how many fields each record must have.
            most: how many records are allowed, because each may become a line of output.

        Raises:
            BadAnswer: a record does not have ``width`` fields, or there are too many records.
        """
        for number, record in enumerate((record for record in self.records if record.tag == tag), start=1):
            if number > most:
                raise self.bad(f"more than {most} times {tag}")
            if len(record.fields) != width:
                raise self.bad(f"{tag} has {len(record.fields)} fields, expected {width}")
            yield record.fields

    def maybe(self, tag: str, width: int) -> tuple[str, ...] | None:
        """Return the fields of the last record with this tag, if there is one."""
        found = list(self.all(tag, width))
        return found[-1] if found else None

    def one(self, tag: str, width: int) -> tuple[str, ...]:
        """Return the fields of the record with this tag.

        Raises:
            BadAnswer: there is no such record.
        """
        found = self.maybe(tag, width)
        if found is None:
            raise self.bad(f"no {tag} in it")
        return found

    def number(self, text: str) -> int:
        """Read a whole number, 0 or more, from a field.

        Raises:
            BadAnswer: the field is not a number, or is too long.
        """
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise self.bad(f"'{text[:40]}' is not a number")
        return int(text)

    def fitting(self, pattern: re.Pattern[str], text: str, what: str) -> str:
        """Return a field that matches a pattern.

        Args:
            pattern: one of `playbooks.core.names`.
            text: the field.
            what: the field's meaning for the message, e.g. "unit".

        Raises:
            BadAnswer: the field does not match.
        """
        if not pattern.fullmatch(text):
            raise self.bad(f"'{text[:40]}' is no {what}")
        return text

    def bad(self, why: str) -> BadAnswer:
        """Make the error for an answer that none of our scripts gives."""
        return BadAnswer(
            f"the answer to '{self.step}' is invalid: {why}",
            host=self.host,
            hint="look at the host: its shell, its sudo, or what sits between may add text of its own",
        )


def parse(host: str, step: str, output: bytes, seconds: float) -> StepResult:
    """Parse a script's standard output. Lines that are not records become records with an unknown tag.

    Raises:
        BadAnswer: there are too many records or fields, which would fill the controller's memory.
    """
    if output.count(b"\n") > MAX_RECORDS or output.count(b"\t") > MAX_FIELDS:
        raise BadAnswer(f"'{step}' answers without end; its answer is not read", host=host)
    text = output.decode("utf-8", "replace")
    records = tuple(Record(tag, tuple(rest)) for tag, *rest in (line.split("\t") for line in text.split("\n") if line))
    return StepResult(host, step, records, seconds)
