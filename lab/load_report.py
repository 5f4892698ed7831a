"""Report a load: every request, by outcome, version and second."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

OK = "ok"
NOBODY = "-"  # the version if no release answered, or the answer has no version
MAX_FAILURES = 20


class Sample(NamedTuple):
    """One request.

    Args:
        at: its scheduled time, by the monotonic clock (seconds; the same for all processes of the machine).
        micros: microseconds from then until the complete answer or the failure.
        kind: its name in the mix.
        outcome: "ok", or how it failed: "4xx", "5xx", "wrong" (not the text that was expected), "refused",
            "unreachable", "reset", "dropped" (a kept connection closed when it was sent), "short" (incomplete answer),
            "garbled" (no HTTP), "timeout".
        version: the version that answered.
    """

    at: float
    micros: int
    kind: str
    outcome: str
    version: str


@dataclass(frozen=True)
class Second:
    """One second of one version; latencies of good answers in milliseconds, None if there are none."""

    second: int
    version: str
    ok: int
    failed: int
    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class Report:
    """The report of a load.

    Args:
        began, ended: times by the monotonic clock.
        lag: the generator's own delay of requests in milliseconds, at the 99th percentile, which adds to
            latencies. A large lag means that this machine is too busy for measurements.
        samples: all requests, in the order of their ends.
    """

    began: float
    ended: float
    lag: float
    samples: Sequence[Sample]

    @property
    def seconds(self) -> float:
        """Return the duration in seconds."""
        return self.ended - self.began

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Count requests by outcome."""
        return Counter(sample.outcome for sample in self.samples)

    @property
    def failed(self) -> int:
        """Count failed requests."""
        return sum(sample.outcome != OK for sample in self.samples)

    @property
    def versions(self) -> Mapping[str, int]:
        """Count requests by the version that answered."""
        return Counter(sample.version for sample in self.samples)

    def between(self, since: float, until: float) -> Report:
        """Return the requests scheduled between two times of the monotonic clock."""
        return replace(
            self, began=since, ended=until, samples=[sample for sample in self.samples if since <= sample.at < until]
        )

    def of(self, *, version: str | None = None, kind: str | None = None) -> Report:
        """Return the requests of a version or a kind."""
        return replace(
            self,
            samples=[
                sample for sample in self.samples if version in (None, sample.version) and kind in (None, sample.kind)
            ],
        )

    def quantile(self, share: float) -> float | None:
        """Return the latency in milliseconds that this share of good answers does not exceed."""
        return _quantile(sorted(sample.micros for sample in self.samples if sample.outcome == OK), share)

    def timeline(self) -> list[Second]:
        """Return each second from the beginning, by version."""
        cells: defaultdict[tuple[int, str], list[Sample]] = defaultdict(list)
        for sample in self.samples:
            cells[int(sample.at - self.began), sample.version].append(sample)
        return [_second(second, version, cells[second, version]) for second, version in sorted(cells)]

    def failures(self) -> list[Sample]:
        """Return the first failed requests."""
        return sorted(sample for sample in self.samples if sample.outcome != OK)[:MAX_FAILURES]

    def to_json(self) -> dict[str, Any]:
        """As a JSON document; latencies in milliseconds."""
        return {
            "seconds": round(self.seconds, 3),
            "requests": len(self.samples),
            "failed": self.failed,
            "outcomes": dict(self.outcomes),
            "kinds": {
                kind: dict(self.of(kind=kind).outcomes) for kind in sorted({sample.kind for sample in self.samples})
            },
            "versions": {
                version: {"requests": len(one.samples), "failed": one.failed, "p50": one.quantile(0.5)}
                | {"p95": one.quantile(0.95), "p99": one.quantile(0.99)}
                for version in sorted(self.versions)
                for one in [self.of(version=version)]
            },
            "p50": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "p99": self.quantile(0.99),
            "generator_lag": self.lag,
            "timeline": [asdict(second) for second in self.timeline()],
            "failures": [
                {"second": round(one.at - self.began, 3), "kind": one.kind, "outcome": one.outcome}
                | {"version": one.version, "milliseconds": one.micros / 1000}
                for one in self.failures()
            ],
        }

    def text(self) -> str:
        """Return a table with a line for each second and version."""
        lines = [f"{'second':>6}  {'version':<16} {'ok':>7} {'failed':>7} {'p50 ms':>8} {'p99 ms':>8}"]
        lines += [
            f"{one.second:>6}  {one.version:<16} {one.ok:>7} {one.failed:>7} {_shown(one.p50)} {_shown(one.p99)}"
            for one in self.timeline()
        ]
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items())) or "none"
        rate = len(self.samples) / self.seconds if self.seconds else 0.0
        lines.append(f"\n{len(self.samples)} requests in {self.seconds:.1f} s ({rate:.0f} a second): {told}")
        lines.append(f"p50 {_shown(self.quantile(0.5)).strip()} ms, p99 {_shown(self.quantile(0.99)).strip()} ms")
        lines += [f"{one.at - self.began:8.3f} s  {one.kind}: {one.outcome}" for one in self.failures()]
        lines.append(f"\n{'answered by':<16} {'requests':>8} {'failed':>7} {'p50 ms':>8} {'p99 ms':>8}")
        for version in sorted(self.versions):
            one = self.of(version=version)
            # Other applications may not send their version.
            unnamed = "nobody" if one.failed == len(one.samples) else "not told"
            who = unnamed if version == NOBODY else version
            times = f"{_shown(one.quantile(0.5))} {_shown(one.quantile(0.99))}"
            lines.append(f"{who:<16} {len(one.samples):>8} {one.failed:>7} {times}")
        return "\n".join(lines) + "\n"


def _second(second: int, version: str, samples: Sequence[Sample]) -> Second:
    good = sorted(sample.micros for sample in samples if sample.outcome == OK)
    return Second(second, version, len(good), len(samples) - len(good), _quantile(good, 0.5), _quantile(good, 0.99))


def _quantile(ordered: Sequence[int], share: float) -> float | None:
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000


def _shown(milliseconds: float | None) -> str:
    return f"{'-':>8}" if milliseconds is None else f"{milliseconds:8.1f}"
