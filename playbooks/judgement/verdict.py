"""The result of judging: findings with all their numbers for the ledger, and sentences for a person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["good", "bad", "inconclusive"]

# Without a rule there is nothing that a release could be good by.
UNMEASURED = (
    "No request was judged: no source counts requests (slipway_balancer, slipway_metrics), or no limit is set. "
    "Only the hosts' own signals were checked, and none is bad."
)


@dataclass(frozen=True)
class Signal:
    """A signal of a host besides its requests: a unit restarts, health fails, a metric is above its limit.

    Args:
        host: its inventory name; HOST-SLOT if the metrics distinguish slots.
        rule: what was checked, e.g. "restarts".
        bad: whether it ends the stage.
        sentence: what a person reads, without the host's name.
    """

    host: str
    rule: str
    bad: bool
    sentence: str


@dataclass(frozen=True)
class Finding:
    """The finding of one rule.

    Args:
        rule: its name: errors, p95, worse errors, worse latency p95, …
        outcome: "left out" if there was nothing to compare with.
        sentence: what a person reads.
        numerator, denominator: events and requests of the new release.
        seconds: the window they were counted in.
        baseline_numerator, baseline_denominator: the old release's, at the same time; None without comparison.
        limit: a share of requests, or in a comparison an odds ratio.
        threshold: milliseconds that make a request an event; None if errors are the events.
        evidence: the evidence against the release: the peak of the e-value.
        needed: the evidence at which the release is bad: 1 over the rule's share of the false alarms.
        lacking: what is missing for a decision; empty if nothing is.
    """

    rule: str
    outcome: Literal["good", "bad", "inconclusive", "left out"]
    sentence: str
    numerator: int = 0
    denominator: int = 0
    seconds: float = 0.0
    baseline_numerator: int | None = None
    baseline_denominator: int | None = None
    limit: float | None = None
    threshold: float | None = None
    evidence: float = 1.0
    needed: float = 1.0
    lacking: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a release is good, by the data so far.

    Args:
        outcome: "bad" ends a stage at any time. "good" and "inconclusive" count at its end.
        rule: the rule that decided; empty if all did.
        sentence: why, for a person; each finding has more.
        findings: every rule's, in their order.
        signals: the bad ones.
    """

    outcome: Outcome
    rule: str
    sentence: str
    findings: tuple[Finding, ...] = ()
    signals: tuple[Signal, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The verdict as the ledger keeps it."""
        return asdict(self)


def concluded(findings: Iterable[Finding], signals: Iterable[Signal]) -> Verdict:
    """One verdict from all findings: bad if one of them is bad, good only if every rule calls it good."""
    found, bad_signals = tuple(findings), tuple(signal for signal in signals if signal.bad)
    if bad_signals:
        first = bad_signals[0]
        return Verdict("bad", first.rule, f"{first.host}: {first.sentence}", found, bad_signals)
    for finding in found:
        if finding.outcome == "bad":
            return Verdict("bad", finding.rule, finding.sentence, found)
    if not found:
        return Verdict("inconclusive", "", UNMEASURED)
    missing = [finding for finding in found if finding.outcome == "inconclusive"]
    left_out = [finding.sentence for finding in found if finding.outcome == "left out"]
    if missing:
        told = "; ".join(f"{finding.rule}: {finding.lacking}" for finding in missing)
        return Verdict("inconclusive", missing[0].rule, " ".join([f"Not enough data. {told}.", *left_out]), found)
    good = [finding for finding in found if finding.outcome == "good"]
    if not good:
        return Verdict("inconclusive", found[0].rule, " ".join(["No rule could be judged.", *left_out]), found)
    held = ", ".join(finding.rule for finding in good)
    requests = max(finding.denominator for finding in good)
    return Verdict("good", "", " ".join([f"Within all limits over {requests:,} requests: {held}.", *left_out]), found)
