"""A look at a watched stage, as one line for logs and as a block of lines for a terminal. All its texts are `Shown`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playbooks.fleet.progress import Look, Side

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {"good": "green", "bad": "bold red", "inconclusive": "yellow"}
MAX_LINES = 11  # of a block
MAX_RULES = 3  # that lack something and are named
MAX_SAID = 3  # lines that a verdict's sentence may have
MIN_VERSION = 7
HEAD = ("", "version", "traffic", "requests", "errors", "p50", "p95", "p99")


def in_words(look: Look) -> str:
    """One line, for logs."""
    sides = [look.new_so_far, *([look.old_so_far] if look.old_so_far else [])]
    told = "; ".join(_side(side) for side in sides)
    why = "; ".join(f"{rule}: {lacking}" for rule, lacking in look.lacking)
    if look.outcome == "bad":
        why = look.sentence
    outcome = f"{look.outcome} ({why})" if why else look.outcome
    return f"{look.stage}, {_when(look, look.passed)}: {told}: {outcome}"


def in_short(look: Look) -> str:
    """The result of a stage, in a line that stays on the screen."""
    told = "; ".join(_side(side) for side in (look.new_so_far, look.old_so_far) if side)
    return f"{look.stage}: {look.outcome} after {_clock(look.passed)}: {told}"


def in_lines(look: Look, passed: float, width: int, *, titled: bool = True) -> list[Text]:
    """A block of lines, none longer than the screen is wide, and never more than `MAX_LINES`.

    Args:
        look: the last one.
        passed: seconds of the stage, by now.
        width: of the screen, in characters.
        titled: whether the stage is to be named.
    """
    from rich.text import Text

    title = f"{look.stage}  " if titled else ""
    when = _when(look, passed)
    bar = _bar(passed, look.seconds, min(40, width - len(title) - len(when) - 2))
    lines = [
        Text(f"{title}{bar}  {when}"),
        *(Text(line, style="dim" if number == 0 else "") for number, line in enumerate(_table(look, width))),
        *(Text(line, style=STYLES.get(look.outcome, "")) for line in _verdict(look, width)),
    ]
    if look.then:
        lines.append(Text(look.then if look.held else f"then: {look.then}", style="dim"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _table(look: Look, width: int) -> list[str]:
    """The table's lines. A version that is too long is cut; numbers never are."""
    new, old = look.new_so_far, look.old_so_far
    both = new.requests + (old.requests if old else 0)
    rows = [HEAD]
    for what, side in (("new", new), ("old", old)):
        if side is not None:
            part = f"{100 * side.requests / both:.0f} %" if both else "–"
            rows.append((what, side.version, part, f"{side.requests:,}", _errors(side), *_times(side)))
    widths = [max(len(row[index]) for row in rows) for index in range(len(HEAD))]
    others = sum(widths) - widths[1] + 2 * (len(widths) - 1)
    widths[1] = max(MIN_VERSION, min(widths[1], width - others))
    return ["  ".join(_cell(text, index, widths[index]) for index, text in enumerate(row)).rstrip() for row in rows]


def _cell(text: str, index: int, width: int) -> str:
    text = text if len(text) <= width else text[: width - 1] + "…"
    return text.ljust(width) if index < 2 else text.rjust(width)


def _verdict(look: Look, width: int) -> list[str]:
    from textwrap import wrap

    if look.outcome == "inconclusive" and look.lacking:
        more = len(look.lacking) - MAX_RULES
        named = [f"  {rule}: {lacking}" for rule, lacking in look.lacking[:MAX_RULES]]
        said = "inconclusive: too little to judge by" + (f" (and {more} more)" if more > 0 else "")
        return [said, *named]
    told = f"{look.outcome}: {look.sentence}"
    return wrap(told, width, max_lines=MAX_SAID, placeholder=" …") or [told]


def _when(look: Look, passed: float) -> str:
    if look.held:
        return f"held; taken back in {_clock(max(0.0, look.seconds - passed))}"
    return f"{_clock(min(passed, look.seconds))} of {_clock(look.seconds)}"


def _side(side: Side) -> str:
    times = f", p95 {_time(side.p95)}" if side.p95 is not None else ""
    return f"{side.version} {side.requests:,} requests, {_errors(side)} errors{times}"


def _errors(side: Side) -> str:
    return f"{100 * side.errors / side.requests:.2f} %" if side.requests else "–"


def _times(side: Side) -> tuple[str, str, str]:
    return _time(side.p50), _time(side.p95), _time(side.p99)


def _time(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    return f"{milliseconds:.0f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:.0f} s"


def _bar(passed: float, seconds: float, width: int) -> str:
    width = max(0, width)
    done = min(width, int(width * passed / seconds)) if seconds else width
    return "━" * done + "╌" * (width - done)


def _clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
