"""The plots of docs/judgement.md, from the simulation's results. Runs in bench/.venv, like bench.plots."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt  # type: ignore[import-not-found, unused-ignore]

SLIPWAY = "Slipway"
SHARE = 0.05
COLOURS = ("#0969da", "#cf222e", "#bc4c00", "#8250df", "#57606a")
TRAFFIC = ("#8c959f", "#0969da", "#1a7f37")
ENDS = {"good": "#1a7f37", "inconclusive": "#d4a72c", "bad": "#cf222e"}
TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


def figures(results: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every plot, by its name."""
    yield "detection", _detection(results["detection"])
    yield "judges", _judges(results["detection"])
    yield "ends", _ends(results["ends"])


def _detection(rows: list[dict[str, Any]]) -> Any:  # noqa: ANN401 - the drawing library has no types here
    figure, axes = plt.subplots(figsize=(8, 4.4))
    for colour, traffic in zip(TRAFFIC, sorted({row["traffic"] for row in rows}), strict=True):
        xs, low, middle, high = [], [], [], []
        for row in rows:
            found = [one for one in row["seconds"][SLIPWAY] if one is not None]
            if row["traffic"] != traffic or len(found) < 0.9 * row["runs"]:
                continue
            parts = statistics.quantiles(found, n=10)
            xs.append(row["rate"])
            low.append(parts[0])
            middle.append(statistics.median(found))
            high.append(parts[-1])
        axes.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(xs, middle, color=colour, marker="o", markersize=4, label=f"{traffic * SHARE:g} requests/s")
    axes.set_yscale("log")
    axes.set_yticks([30, 60, 120, 300, 600, 900], ["30 s", "1 min", "2 min", "5 min", "10 min", "15 min"])
    axes.minorticks_off()
    axes.set_ylim(25, 1000)
    _rates(axes)
    axes.legend(frameon=False, title="of the new release", alignment="left")
    _title(
        axes,
        "Seconds until a bad release is found",
        "median and 10–90 %, where 9 of 10 are found within 15 min; the old version's errors are 0.1 %",
    )
    return figure


def _judges(rows: list[dict[str, Any]]) -> Any:  # noqa: ANN401
    traffics = sorted({row["traffic"] for row in rows})
    figure, places = plt.subplots(1, len(traffics), figsize=(11, 3.9), sharey=True)
    for axes, traffic in zip(places, traffics, strict=True):
        chosen = [row for row in rows if row["traffic"] == traffic]
        for colour, name in zip(COLOURS, chosen[0]["seconds"], strict=True):
            stopped = [100 * (1 - row["seconds"][name].count(None) / row["runs"]) for row in chosen]
            width = 2.6 if name == SLIPWAY else 1.5
            style = "--" if name == "ratio of means" else "-"
            order = 3 if name == SLIPWAY else 2
            xs = [row["rate"] for row in chosen]
            axes.plot(xs, stopped, style, color=colour, linewidth=width, label=name, zorder=order)
        axes.set_ylim(-3, 103)
        axes.axvline(0.001, color="#d0d7de", linestyle=":", linewidth=1.4)
        _rates(axes)
        axes.set_title(f"{traffic * SHARE:g} requests/s", loc="left", fontsize=10.5, fontweight="bold")
    places[0].set_ylabel("% of releases stopped within 15 min")
    handles, names = places[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=len(names), frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    return figure


def _ends(rows: list[dict[str, Any]]) -> Any:  # noqa: ANN401
    figure, axes = plt.subplots(figsize=(8, 3.4))
    names = [f"{row['traffic'] * SHARE * 900:,.0f}" for row in rows]
    bottom = [0.0] * len(rows)
    for outcome, colour in ENDS.items():
        shares = [100 * row["ended"].get(outcome, 0) / row["runs"] for row in rows]
        axes.bar(names, shares, bottom=bottom, color=colour, width=0.7, label=outcome)
        bottom = [one + other for one, other in zip(bottom, shares, strict=True)]
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("requests of the new release within the stage")
    axes.set_ylabel("% of releases")
    axes.legend(frameon=False, ncols=3, loc="upper right", bbox_to_anchor=(1, 1.14), fontsize=9)
    _title(axes, "How a good release ends its first stage", "15 min; errors, p95, both comparisons")
    return figure


def _rates(axes: Any) -> None:  # noqa: ANN401
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{100 * tick:g} %" for tick in TICKS])
    axes.minorticks_off()
    axes.set_xlabel("errors of the new release")


def _title(axes: Any, title: str, below: str) -> None:  # noqa: ANN401
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=24)
    axes.text(0, 1.02, below, transform=axes.transAxes, fontsize=9, color="#57606a", va="bottom")
