"""A run's results as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

from bench.goals import fit, goals


def text(results: dict[str, Any]) -> str:
    """Everything a run came to: goals first, then the tables they are made from."""
    parts = [_goals(results), *(_deploys(table) for table in results.get("full", []))]
    if table := results.get("changed"):
        parts.append(_deploys(table))
    for key, title in (("fan_out", "Deploys of 1 MB"), ("crowd", "`status` of sshd without hosts behind them")):
        if rows := results.get(key):
            parts.append(_growth(title, rows))
    if row := results.get("rollback"):
        parts.append(_rollback(row))
    if found := results.get("startup"):
        parts.append(_startup(found))
    parts.append(_machine(results))
    return "\n\n".join(parts) + "\n"


def spread(values: list[float], digits: int = 2) -> str:
    """Median, and the least and the most."""
    middle = statistics.median(values)
    return f"{middle:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def _table(head: list[str], rows: Iterator[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _goals(results: dict[str, Any]) -> str:
    verdict = {True: "met", False: "**missed**", None: "not judged: another size"}
    return _table(["goal", "measured", ""], ([goal.text, goal.measured, verdict[goal.met]] for goal in goals(results)))


def _deploys(table: dict[str, Any]) -> str:
    floor = statistics.median(table["rows"]["by hand"]["wall"])
    relay = table["relay"]
    limited = f", {table['rate']:g} Mbit/s to the hosts (measured {relay['rate']:.0f})" if table["rate"] else ""
    share = ", 1 % of it changed" if "size" in table else ""
    title = (
        f"**{table['megabytes']:g} MB in {table['files']} files{share}, {table['hosts']} hosts, "
        f"{table['round_trip']} ms of round trip (measured {1000 * relay['round_trip']:.1f}){limited}**"
    )
    head = ["", "wall s, median (min–max)", "÷ by hand", "controller CPU s", "hosts' CPU s, background included"]
    head += ["MB sent to a host", "rounds"]

    def rows() -> Iterator[list[str]]:
        for name, row in table["rows"].items():
            wall = statistics.median(row["wall"])
            sent = statistics.median(row["sent"]) / table["hosts"] / 1e6
            cells = [name, spread(row["wall"]), f"{wall / floor:.2f}", f"{statistics.median(row['cpu']):.2f}"]
            yield [*cells, f"{statistics.median(row['hosts_cpu']):.1f}", f"{sent:.2f}", str(len(row["wall"]))]

    return f"{title}\n\n{_table(head, rows())}"


def _growth(title: str, found: list[dict[str, Any]]) -> str:
    def rows() -> Iterator[list[str]]:
        for row in found:
            cpu, memory = statistics.median(row["cpu"]), statistics.median(row["memory"])
            cells = [str(row["hosts"]), spread(row["wall"]), spread(row["cpu"]), f"{memory:.0f}"]
            yield [*cells, f"{1000 * cpu / row['hosts']:.0f}", f"{memory / row['hosts']:.2f}"]

    head = ["hosts", "wall s", "controller CPU s", "memory MB", "CPU ms a host", "MB a host"]
    lines = [f"**{title}**", _table(head, rows())]
    if len(found) > 1:
        counts = [row["hosts"] for row in found]
        cpu = fit(counts, [statistics.median(row["cpu"]) for row in found])
        memory = fit(counts, [statistics.median(row["memory"]) for row in found])
        lines.append(f"One more host: {1000 * cpu.slope:.1f} ms of CPU, {memory.slope:.2f} MB.")
    return "\n\n".join(lines)


def _rollback(row: dict[str, Any]) -> str:
    head = ["", "s, median (min–max)"]
    said = [
        ["command to the old version on every host, seen from outside", spread(row["back"])],
        ["the application's own start: `systemctl restart` on all hosts at once, to an answer", spread(row["start"])],
        ["command to its end", spread(row["ended"])],
    ]
    return f"**Rollback, {row['hosts']} hosts**\n\n{_table(head, iter(said))}"


def _startup(found: dict[str, Any]) -> str:
    rows = ([f"`{name}`", spread(row["cpu"]), f"`{_plain(row['line'])}`"] for name, row in found.items())
    return f"**Start-up**\n\n{_table(['', 'CPU s until the first output', 'its first line'], rows)}"


def _plain(line: str) -> str:
    return line.replace("|", "¦").replace("`", "'")[:60]


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    return (
        f"On {machine['cores']} cores ({machine['model']}), {machine['memory']:.0f} GiB, Linux {machine['kernel']}, "
        f"shared by controller, relay and hosts; load average before the run {machine['load']:.1f}, {machine['when']}, "
        f"{machine['minutes']:.0f} minutes. {', '.join(machine['versions'])}."
    )
