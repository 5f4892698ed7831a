"""All output to a person, a log or a program goes through here. Secrets are removed before text is laid out.

A line that is folded, cut or made JSON no longer has a secret in one piece, so text that is laid out must already be
`Shown`. No other module in playbooks writes to standard output or standard error (tests/unit/test_output.py checks).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NewType, TextIO, overload

from playbooks.core import streams
from playbooks.core.errors import SlipwayError
from playbooks.core.invisible import is_invisible, visible
from playbooks.core.phases import Phase
from playbooks.fleet.progress import Look, PassesOn, Side, Trip

# A command to GitHub's runner: ::NAME …::
_GITHUBS = re.compile(r"^(\s*)::(?=[A-Za-z][A-Za-z-]*(?: [^:]*)?::)")
# Text without secrets and without invisible characters. Only `shown` makes it.
Shown = NewType("Shown", str)


def _nothing_secret(text: str) -> str:
    return text


_strike: Callable[[str], str] = _nothing_secret


def strike_with(strike: Callable[[str], str] | None) -> None:
    """From now on use this function to remove secrets from everything that is shown.

    Args:
        strike: returns a text without its secrets; None before any are known.
    """
    global _strike  # a process has one standard output
    _strike = strike or _nothing_secret


def shown(text: str) -> Shown:
    """One line of text, or a cell of a table, as it may be shown."""
    return Shown(visible(_strike(text)))


def shown_lines(text: str) -> list[Shown]:
    """The same for text of several lines: a secret may span more than one."""
    return [Shown(visible(line)) for line in _strike(text).split("\n")]


def shortened(text: str, length: int) -> Shown:
    """The beginning of a text, as it may be shown: it is cut after secrets are removed."""
    whole = shown(text)
    return whole if len(whole) <= length else Shown(whole[: length - 1] + "…")


def in_page(value: object) -> object:
    """What a template puts into an HTML page; for Jinja's ``finalize``. Markup is the template's own."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return "\n".join(shown_lines(value))
    return value


def json_text(document: object) -> Shown:
    """A JSON document, indented, without secrets; invisible characters are escaped.

    JSON is UTF-8. If standard output has another encoding, it is written in ASCII.
    """
    text = json.dumps(_struck(document), indent=2, ensure_ascii=not _is_unicode())
    return Shown("\n".join(_escaped(line) for line in text.split("\n")))


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _struck(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Remove secrets before the text becomes JSON, from each text and each name of a field."""
    if isinstance(value, str):
        return _strike(value)
    if isinstance(value, dict):
        return {_struck(key): _struck(one) for key, one in value.items()}
    return [_struck(one) for one in value] if isinstance(value, list | tuple) else value


def _escaped(line: str) -> str:
    # See `visible`: JSON has another spelling for the same character.
    line = line.replace("##", "#\\u0023")
    if line.isascii() and line.isprintable():
        return line
    return "".join(json.dumps(sign)[1:-1] if is_invisible(sign) else sign for sign in line)


def answer(*lines: Shown) -> None:
    """Print lines of the answer, on standard output."""
    sys.stdout.write("".join(f"{_no_command(line)}\n" for line in lines))


def _no_command(line: Shown) -> str:
    """A line changed so that a CI runner does not read it as a command; see also `visible`."""
    return _GITHUBS.sub(r"\1: :", line)


def answer_json(document: Mapping[str, object]) -> None:
    """Print what `json_text` makes of a document, piece by piece, so that a large fleet needs little memory."""
    from playbooks.report.documents import json_pieces, masked_document

    unicode = _is_unicode()
    pieces = json_pieces(
        masked_document(document, _strike), lambda value: _escaped(json.dumps(value, ensure_ascii=not unicode))
    )
    sys.stdout.writelines(pieces)
    sys.stdout.write("\n")


def answer_line(document: Mapping[str, object]) -> None:
    """Print a JSON document on one line."""
    text = json.dumps(_struck(document), ensure_ascii=not _is_unicode())
    sys.stdout.write(_escaped(text) + "\n")


def answer_at_once() -> None:
    """Flush the answer, so that its reader gets what was printed."""
    sys.stdout.flush()


def nobody_reads() -> bool:
    """Whether the reader of the answer has ended."""
    return streams.is_deserted(sys.stdout)


def nothing_arrives() -> bool:
    """Whether the rest of the answer would be lost: its reader has ended, or the disk is full."""
    return streams.is_unwritable(sys.stdout)


def pass_on(data: bytes) -> None:
    """Write a host program's output to the terminal of a person who opened a console: unchanged, as ssh does."""
    sys.stdout.flush()
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


def answers_terminal() -> TextIO | None:
    """Standard output if it is a terminal; what Rich lays out on it must be `Shown`."""
    return sys.stdout if sys.stdout.isatty() else None


def watchers_width() -> int | None:
    """How many characters a line on standard error may have; None if it is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stderr.isatty() else None


def tell(*lines: Shown) -> None:
    """Print lines on standard error, after flushing the answer that came before."""
    sys.stdout.flush()
    sys.stderr.write("".join(f"{_no_command(line)}\n" for line in lines))
    sys.stderr.flush()


def prompt(text: str) -> str:
    """Ask a person something on standard error, and return what was typed."""
    sys.stderr.write(shown(text))
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def tell_fault(error: BaseException) -> None:
    """Print where in Slipway an error comes from, for a report."""
    tell(*shown_lines("".join(traceback.format_exception(error)).rstrip("\n")))


class ShownOnly(PassesOn):
    """Passes a task's progress on to a watcher, without secrets.

    Args:
        watcher: draws it.
    """

    def hosts(self, names: Sequence[str]) -> None:
        super().hosts([shown(name) for name in names])

    def phase(self, phase: Phase) -> None:
        super().phase(replace(phase, text=shown(phase.text), stage=shown(phase.stage)))

    def begin(self, host: str, step: str) -> None:
        super().begin(shown(host), shown(step))

    def operation(self, host: str, name: str, moment: Literal["sent", "answered"]) -> None:
        super().operation(shown(host), shown(name), moment)

    def trip(self, trip: Trip) -> None:
        super().trip(replace(trip, host=shown(trip.host), name=shown(trip.name)))

    def look(self, look: Look) -> None:
        super().look(
            replace(
                look,
                stage=shown(look.stage),
                new=_side(look.new),
                old=_side(look.old),
                new_so_far=_side(look.new_so_far),
                old_so_far=_side(look.old_so_far),
                outcome=shown(look.outcome),
                sentence=shown(look.sentence),
                lacking=tuple((shown(rule), shown(what)) for rule, what in look.lacking),
                then=shown(look.then),
            )
        )

    def note(self, host: str, text: str) -> None:
        super().note(shown(host), shown(text))

    def end(self, host: str, step: str, error: SlipwayError | None, seconds: float) -> None:
        told = SlipwayError(_on_one_line(error.message)) if error else None
        super().end(shown(host), shown(step), told, seconds)

    def warn(self, text: str) -> None:
        super().warn(_on_one_line(text))


def _on_one_line(text: str) -> Shown:
    """Text of several lines as a part of one line."""
    return Shown(" ".join(line.strip() for line in shown_lines(text)))


@overload
def _side(side: Side) -> Side: ...
@overload
def _side(side: None) -> None: ...
def _side(side: Side | None) -> Side | None:
    return None if side is None else replace(side, version=shown(side.version))
