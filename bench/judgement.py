"""Judgement by simulation: when bad releases are found, how often good ones are stopped, beside fixed thresholds."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from bench.trials import STAGES, TICK, Burst, Chance, Release, others, slipway, ticks
from playbooks.settings.judgement import Criteria, Judgement
from playbooks.settings.rollout import RolloutSettings

TRAFFIC = (10.0, 100.0, 1000.0)  # requests a second, of which 5 % are the new release's
RATES = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
# Errors of new and old version: the same, well within the limit of 1 %; and the worst that is still allowed, limit and
# comparison both, where a false alarm is likeliest.
GOOD = ((0.0, 0.0), (0.001, 0.001), (0.003, 0.003), (0.005, 0.005), (0.008, 0.008), (0.01, 0.01 / 1.2475))
STAGE = 30  # ticks: 15 minutes
NAME = "Slipway"
PLANTED = {
    "errors 1 %": Release(0, errors=0.01, slower=1.0),
    "errors 3 %": Release(0, errors=0.03, slower=1.0),
    "errors 20 %": Release(0, errors=0.2, slower=1.0),
    "30 % slower (80 → 104 ms)": Release(0, errors=0.001, slower=1.3),
    "200 % slower": Release(0, errors=0.001, slower=3.0),
    "errors 5 %, from minute 8 on": Release(0, errors=0.05, slower=1.0, good_for=16),
    "good": Release(0, errors=0.001, slower=1.0),
    "good, 3 ms slower than 10 ms": Release(0, errors=0.001, slower=1.0, plus=3.0, median=10.0),
    "good, 10 % slower": Release(0, errors=0.001, slower=1.1),
}
# Good releases with one bad tick, in minute 5. Within the limits, with answers of 10 ms, and beyond them, with 80 ms.
HICCUP = 10
BURSTS = {
    "its only host 20 times slower (10 → 200 ms)": (10.0, Burst(HICCUP, slower=20.0)),
    "its only host 20 times slower (80 → 1,600 ms)": (80.0, Burst(HICCUP, slower=20.0)),
    "one of its four hosts 20 times slower (10 → 200 ms)": (10.0, Burst(HICCUP, part=0.25, slower=20.0)),
    "both versions 20 times slower (10 → 200 ms)": (10.0, Burst(HICCUP, slower=20.0, both=True)),
    "a tenth of its requests fails": (80.0, Burst(HICCUP, part=0.1, fails=True)),
    "every request of both versions fails": (80.0, Burst(HICCUP, fails=True, both=True)),
}


def simulate(scale: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Every scenario.

    Args:
        scale: 1 for thousands of runs of each, less for a look.
        tell: what is going on.
    """

    def runs(count: int) -> int:
        return max(10, round(count * scale))

    tell("judgement: detection")
    detection = [_stage(traffic, rate, runs(250)) for traffic in TRAFFIC for rate in RATES]
    tell("judgement: false alarms")
    alarms = [_good(traffic, new, old, runs(1000)) for traffic in TRAFFIC[:2] for new, old in GOOD]
    tell("judgement: planted releases")
    planted = [_planted(name, release, traffic, runs(60)) for name, release in PLANTED.items() for traffic in TRAFFIC]
    tell("judgement: bursts")
    hiccups = {
        name: Release(0, errors=0.001, slower=1.0, median=median, burst=burst)
        for name, (median, burst) in BURSTS.items()
    }
    bursts = [_planted(name, release, traffic, runs(60)) for name, release in hiccups.items() for traffic in TRAFFIC]
    tell("judgement: how good releases end")
    ends = [_ends(traffic, runs(100)) for traffic in (3.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 100.0)]
    return {"detection": detection, "alarms": alarms, "planted": planted, "bursts": bursts, "ends": ends}


def errors_only() -> Criteria:
    """What all contenders can judge by."""
    return Criteria.model_validate({"errors": "1%", "worse_latency": None})


def _chance(*what: object) -> Chance:
    return Chance(sum(map(ord, repr(what))))


def _stage(traffic: float, rate: float, runs: int) -> dict[str, Any]:
    """A stage with so many errors: seconds until each stops it, None where it passes."""
    chance, criteria = _chance("stage", traffic, rate), errors_only()
    seconds: dict[str, list[float | None]] = {name: [] for name in (NAME, *others())}
    held = 0
    for _ in range(runs):
        seen = ticks(Release(traffic, rate), STAGE, chance)
        outcome, after, _ = slipway(criteria, seen)
        held += outcome == "inconclusive"
        seconds[NAME].append(after)
        for name, judge in others().items():
            seconds[name].append(judge(seen))
    return {"traffic": traffic, "rate": rate, "runs": runs, "seconds": seconds, "held": held}


def _good(traffic: float, rate: float, old: float, runs: int) -> dict[str, Any]:
    """A release that keeps to what is asked: how often each stops it."""
    chance, criteria = _chance("good", traffic, rate), errors_only()
    stopped: Counter[str] = Counter()
    for _ in range(runs):
        seen = ticks(Release(traffic, rate, old_errors=old), STAGE, chance)
        stopped[NAME] += slipway(criteria, seen, every_tick=False)[0] == "bad"
        for name, judge in others().items():
            stopped[name] += judge(seen) is not None
    return {
        "traffic": traffic,
        "rate": rate,
        "old": old,
        "runs": runs,
        "stopped": {name: stopped[name] for name in (NAME, *others())},
    }


def _planted(name: str, release: Release, traffic: float, runs: int) -> dict[str, Any]:
    """The first stage of the stock ladder, with a release that is bad in some way, or has a bad moment."""
    planted = replace(release, per_second=traffic)
    chance, criteria = _chance("planted", name, traffic), RolloutSettings.model_validate({}).canary[0].criteria
    ended: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    seconds, met = [], []
    for _ in range(runs):
        seen = ticks(planted, STAGE, chance)
        outcome, after, rule = slipway(criteria, seen)
        ended[outcome] += 1
        if after is not None:
            rules[rule] += 1
            seconds.append(after - TICK * planted.turned)
            met.append(sum(new.requests for new, _ in seen[planted.turned : round(after / TICK)]))
    return {
        "name": name,
        "traffic": traffic,
        "runs": runs,
        "ended": dict(ended),
        "seconds": seconds,
        "met": met,
        "rule": rules.most_common(1)[0][0] if rules else "",
    }


def _ends(traffic: float, runs: int) -> dict[str, Any]:
    """The first stage of the stock ladder with a good release: how it ends."""
    chance, criteria = _chance("ends", traffic), RolloutSettings.model_validate({}).canary[0].criteria
    release = Release(traffic, 0.001, slower=1.0)
    ended = Counter(slipway(criteria, ticks(release, STAGE, chance), every_tick=False)[0] for _ in range(runs))
    return {"traffic": traffic, "runs": runs, "ended": dict(ended)}


def text(results: dict[str, Any]) -> str:
    """The tables, as Markdown."""
    stated = Judgement.model_validate({}).false_alarms / STAGES
    return (
        "\n\n".join(
            [
                f"**Good releases that were stopped** in a stage of 15 minutes; stated for Slipway: {100 * stated:g} %",
                _table(
                    ["errors", "of the old version", "requests/s, new release", *results["alarms"][0]["stopped"]],
                    _alarms(results),
                ),
                "**Bad releases that passed** a stage of 15 minutes; the old version's errors are 0.1 %",
                _table(["errors", "requests/s, new release", *results["detection"][0]["seconds"]], _passed(results)),
                "**Planted releases**, in the first stage of the stock ladder (5 %, 15 minutes)",
                _table(
                    [
                        "release",
                        "requests/s, new release",
                        "stopped",
                        "passed",
                        "inconclusive",
                        "s until stopped, median",
                        "requests that met it, median",
                        "by rule",
                    ],
                    _planted_rows(results["planted"]),
                ),
                "**Good releases with one bad tick** of 30 s, in the same stage",
                _table(
                    ["in that tick", "requests/s, new release", "stopped", "passed", "inconclusive", "by rule"],
                    ([*row[:5], row[-1]] for row in _planted_rows(results["bursts"])),
                ),
            ]
        )
        + "\n"
    )


def _alarms(results: dict[str, Any]) -> Iterator[list[str]]:
    for row in results["alarms"]:
        shares = [_percent(count / row["runs"]) for count in row["stopped"].values()]
        yield [f"{100 * row['rate']:g} %", f"{100 * row['old']:.1g} %", f"{row['traffic'] * 0.05:g}", *shares]


def _passed(results: dict[str, Any]) -> Iterator[list[str]]:
    for row in results["detection"]:
        if row["rate"] in (0.01, 0.02, 0.03, 0.05, 0.2):
            shares = [_percent(found.count(None) / len(found)) for found in row["seconds"].values()]
            passed = row["seconds"][NAME].count(None) - row["held"]
            shares[0] = f"{_percent(passed / row['runs'])}, held {_percent(row['held'] / row['runs'])}"
            yield [f"{100 * row['rate']:g} %", f"{row['traffic'] * 0.05:g}", *shares]


def _planted_rows(rows: list[dict[str, Any]]) -> Iterator[list[str]]:
    for row in rows:
        shares = [_percent(row["ended"].get(name, 0) / row["runs"]) for name in ("bad", "good", "inconclusive")]
        often = len(row["seconds"]) > row["runs"] / 20
        numbers = [f"{statistics.median(row[key]):,.0f}" if often else "" for key in ("seconds", "met")]
        yield [row["name"], f"{row['traffic'] * 0.05:g}", *shares, *numbers, row["rule"] if often else ""]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def _table(head: list[str], rows: Iterator[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
