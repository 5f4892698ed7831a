"""Draws a run's plots as SVG. Runs in bench/.venv: python -m bench.plots RESULTS.json FOLDER."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]
import matplotlib.pyplot as plt  # type: ignore[import-not-found, unused-ignore]

from bench import judgement_plots
from bench.goals import fit, median

COLOURS = {
    "slipway": "#0969da",
    "by hand": "#57606a",
    "pyinfra": "#1a7f37",
    "ansible-core": "#cf222e",
    "ansible-core + mitogen": "#bc4c00",
    "fabric": "#8250df",
}
OTHER = "#bf8700"
INK = "#1f2328"


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what the results have data for; returns the files."""
    mpl.rcParams.update(
        {
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 10,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": "#d0d7de",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#eaeef2",
            "xtick.color": INK,
            "ytick.color": INK,
            "figure.facecolor": "white",
            "svg.hashsalt": "slipway",  # the same results are the same file
            "svg.fonttype": "path",
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    small = [table for table in results.get("full", []) if table["megabytes"] == 1]
    if len(small) > 1:
        found.append(_save(_latency(small), folder / "latency.svg"))
    # Of 1 MB one round trip is enough here: the others are in the plot above.
    tables = [table for table in results.get("full", []) if table["megabytes"] != 1 or table["round_trip"] == 50]
    tables += [results["changed"]] if "changed" in results else []
    if tables:
        found.append(_save(_scenarios(tables), folder / "scenarios.svg"))
    if len(results.get("crowd", [])) > 1:
        found.append(_save(_growth(results["crowd"], "`invoke status`, sshd processes"), folder / "sshd.svg"))
    if len(results.get("fan_out", [])) > 1:
        found.append(_save(_growth(results["fan_out"], "`invoke deploy`, lab hosts, 1 MB"), folder / "fan-out.svg"))
    if "judgement" in results:
        for name, figure in judgement_plots.figures(results["judgement"]):
            found.append(_save(figure, folder / f"judgement-{name}.svg"))
    return found


def _save(figure: Any, path: Path) -> Path:  # noqa: ANN401 - the drawing library has no types here
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return path


def _latency(tables: list[dict[str, Any]]) -> Any:  # noqa: ANN401
    figure, axes = plt.subplots(figsize=(8, 4.6))
    tables = sorted(tables, key=lambda table: int(table["round_trip"]))
    trips = [table["round_trip"] for table in tables]
    ends = []
    for name in tables[0]["rows"]:
        rows = [table["rows"][name]["wall"] for table in tables]
        middle = [statistics.median(row) for row in rows]
        colour = COLOURS.get(name, OTHER)
        width = 2.6 if name == "slipway" else 1.6
        axes.plot(trips, middle, marker="o", markersize=5, linewidth=width, color=colour)
        axes.vlines(trips, [min(row) for row in rows], [max(row) for row in rows], color=colour, alpha=0.4)
        ends.append((middle[-1], name, colour))
    axes.set_ylim(bottom=0)
    axes.set_xlim(-5, trips[-1] * 1.02)
    axes.set_xticks(trips)
    axes.set_xlabel("round trip, ms")
    axes.set_ylabel("seconds")
    _title(
        axes, f"A deploy of 1 MB to {tables[0]['hosts']} hosts", "median, and from the quickest to the slowest round"
    )
    _beside(axes, trips[-1], ends)
    return figure


def _beside(axes: Any, x: float, ends: list[tuple[float, str, str]]) -> None:  # noqa: ANN401
    """Names at the ends of their lines, pushed apart where they would lie on each other."""
    gap = axes.get_ylim()[1] * 0.062
    at = -gap
    for value, name, colour in sorted(ends):
        at = max(value, at + gap)
        axes.annotate(
            f"{name}  {value:.1f} s",
            (x, at),
            xytext=(10, 0),
            textcoords="offset points",
            color=colour,
            va="center",
            weight="bold" if name == "slipway" else "normal",
            annotation_clip=False,
        )


def _title(axes: Any, title: str, below: str) -> None:  # noqa: ANN401
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=24)
    axes.text(0, 1.02, below, transform=axes.transAxes, fontsize=9, color="#57606a", va="bottom")


def _scenarios(tables: list[dict[str, Any]]) -> Any:  # noqa: ANN401
    heights = [len(table["rows"]) for table in tables]
    figure, places = plt.subplots(
        len(tables), 1, figsize=(8, 0.34 * sum(heights) + 0.85 * len(tables)), height_ratios=heights, squeeze=False
    )
    for axes, table in zip(places[:, 0], tables, strict=True):
        names = list(table["rows"])[::-1]
        values = [median(table, name) for name in names]
        colours = [COLOURS.get(name.partition(",")[0], OTHER) for name in names]
        axes.barh(names, values, color=colours, height=0.68)
        for row, value in enumerate(values):
            axes.text(value + max(values) * 0.01, row, f"{value:.2f} s", va="center", fontsize=9)
        axes.set_xlim(0, max(values) * 1.13)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        rate = f", {table['rate']:g} Mbit/s shared" if table["rate"] else ""
        changed = ", 1 % changed" if "size" in table else ""
        title = f"{table['megabytes']:g} MB{changed}, {table['hosts']} hosts, {table['round_trip']} ms{rate}"
        axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold")
    places[-1, 0].set_xlabel("seconds, median; each part has a scale of its own")
    figure.tight_layout(h_pad=1.4)
    return figure


def _growth(rows: list[dict[str, Any]], what: str) -> Any:  # noqa: ANN401
    figure, places = plt.subplots(1, 2, figsize=(9, 3.6))
    counts = [row["hosts"] for row in rows]
    for axes, key, title, unit, short, factor, each in (
        (places[0], "cpu", "Controller's CPU", "seconds", "s", 1000, "ms"),
        (places[1], "memory", "Controller's memory", "MB", "MB", 1, "MB"),
    ):
        values = [statistics.median(row[key]) for row in rows]
        line = fit(counts, values)
        ends = [0, counts[-1]]
        told = f"{line.start:.1f} {short} and {line.slope * factor:.2f} {each} a host"
        axes.plot(ends, [line.at(x) for x in ends], color="#8c959f", linestyle="--", linewidth=1.4, label=told)
        axes.plot(counts, values, marker="o", linestyle="none", color=COLOURS["slipway"], label="measured")
        axes.set_xlim(0, counts[-1] * 1.05)
        axes.set_ylim(0, max(values) * 1.3)
        axes.set_xticks([0, *(count for count in counts if count >= counts[-1] / 10)])
        axes.set_xlabel("hosts")
        axes.set_ylabel(unit)
        axes.legend(loc="upper left", frameon=False, fontsize=9)
        _title(axes, title, what.replace("`", ""))
    figure.tight_layout(w_pad=3)
    return figure


if __name__ == "__main__":
    for drawn in draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])):
        sys.stdout.write(f"{drawn}\n")
