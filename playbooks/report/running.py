"""Answers about what runs: changes made by hand, logs, commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from playbooks.report.output import (
    answer_at_once,
    answer_line,
    answers_terminal,
    shown,
    shown_lines,
    tell,
)
from playbooks.report.tables import put, say, show_table

if TYPE_CHECKING:
    from playbooks.console import Console
    from playbooks.drift import FleetDrift
    from playbooks.exec import Executed
    from playbooks.logs import Logs
    from playbooks.steps.logs import LogLine

WORST = 3  # syslog(3): errors, and what is worse
SIGNALLED = 255  # systemd-run(1)
# Colours of hosts, different ones while they last. Colours with a meaning of their own are not among them.
COLOURS = ("cyan", "magenta", "blue", "bright_cyan", "bright_magenta", "bright_blue")


def show_drift(found: FleetDrift) -> None:
    """What is not as it was deployed, host by host."""
    from playbooks.steps.drift import WORDS

    rows: list[tuple[str | None, ...]] = []
    for host in found.hosts:
        if not host.changes:
            stand = " ".join((host.error or "").split()) or ("as it was deployed" if host.version else "nothing runs")
            rows.append((host.host, host.version or "–", "", stand))
        rows += [(host.host, host.version, change.name, WORDS[change.kind]) for change in host.changes]
        if host.more:
            rows.append((host.host, host.version, "…", f"and {host.more} more"))
    show_table(("host", "version", "file", "what of it"), rows)
    _show_diffs("Changed by hand on {}:", {host.host: host.by_hand for host in found.hosts})
    _show_diffs(
        "Not drift, but not deployed yet: what the inventory of today changes on {}:",
        {host.host: host.undeployed for host in found.hosts},
    )
    if found.next:
        say("\n" + "\n".join(f"Next: {step}" for step in found.next))


def _show_diffs(head: str, found: Mapping[str, tuple[str, ...]]) -> None:
    """The hosts' diffs; hosts with the same diff share one."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for host, diffs in found.items():
        if diffs:
            alike.setdefault(diffs, []).append(host)
    for diffs, hosts in alike.items():
        say("\n" + head.format(", ".join(hosts)))
        for diff in diffs:
            say("\n".join(f"    {line}" for line in diff.split("\n")))


def show_logs(found: Logs) -> None:
    """Messages of all hosts."""
    if not found.followed:
        teller(list(dict.fromkeys(line.host for line in found.lines)))(found.lines)
        if not found.lines and not found.failed:
            tell(shown("nothing was written"))
    for host in found.cut:
        tell(shown(f"warning: {host} has more than is read at once; ask for less with --since, --unit or --lines"))
    if not found.followed:
        for host, why in found.failed.items():
            tell(shown(f"warning: {host}: {why}"))


def teller(hosts: Sequence[str], *, as_json: bool = False) -> Callable[[Sequence[LogLine]], None]:
    """A function that shows messages as they arrive.

    Args:
        hosts: that they are of.
        as_json: print one JSON object on each line.
    """
    widest = max(map(len, hosts), default=0)
    colours = {host: COLOURS[number % len(COLOURS)] for number, host in enumerate(hosts)}

    def tell_json(lines: Sequence[LogLine]) -> None:
        for line in lines:
            answer_line({"schema": "slipway.log-line/1", **line.to_json()})
        answer_at_once()

    def tell_lines(lines: Sequence[LogLine]) -> None:
        for line in lines:
            unit = line.unit.removesuffix(".service")
            time = line.time[5:-1].replace("T", " ") if answers_terminal() else line.time
            head = shown(f"{time}  {line.host.ljust(widest)}  {'systemd: ' if line.systemd else ''}{unit}: ")
            style = "red" if line.priority <= WORST else "dim" if line.systemd else ""
            put(head, shown_lines(line.text.rstrip("\n")), colours.get(line.host, ""), style)
        answer_at_once()

    return tell_json if as_json else tell_lines


def output_teller(hosts: Sequence[str]) -> Callable[[str, str], None]:
    """A function that shows a command's output as it arrives, with the host's name if there are several hosts.

    Args:
        hosts: that it runs on.
    """
    widest = max(map(len, hosts), default=0)
    colours = {host: COLOURS[number % len(COLOURS)] for number, host in enumerate(hosts)}

    def tell_line(host: str, line: str) -> None:
        head = shown(f"{host.ljust(widest)}  ") if len(hosts) > 1 else shown("")
        put(head, [shown(line.rstrip("\r"))], colours.get(host, ""))
        answer_at_once()

    return tell_line


def show_console(done: Console) -> None:
    """How a console ended, on standard error."""
    if done.status is None:
        tell(shown(f"{done.host}: the connection ended"))
    elif done.status:
        # systemd-run gives this status for a signal, too.
        by = "by a signal, or with status" if done.status == SIGNALLED else "with status"
        tell(shown(f"{done.host}: it ended {by} {done.status}"))


def show_executed(done: Executed) -> None:
    """How a command ended, on standard error: standard output is the command's own."""
    several = len(done.hosts) > 1
    for run in done.hosts:
        if run.error is not None or run.status is None:
            tell(shown(f"{run.host}: {run.error or (done.ended if run.begun else f'not run: {done.ended}')}"))
        elif run.status or several:
            tell(shown(f"{run.host}: {run.told}"))
    for host, why in done.unreachable.items():
        tell(shown(f"{host}: not run: {why.message}"))
    if done.hint:
        tell(shown(f"  → {done.hint}"))
