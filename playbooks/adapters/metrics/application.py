"""Read metrics from the application's own page, which each host fetches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from playbooks.adapters.metrics.exposition import Sample, bucket_limit, declared, parse_samples
from playbooks.adapters.metrics.source import MAX_SERIES, Counting, MetricsError, MetricsReading, Snapshot
from playbooks.core.names import cut
from playbooks.judgement.counts import Counts
from playbooks.settings.metrics import MetricsSettings
from playbooks.settings.selector import Selector, parse_selector

MOST = 1e15
MAX_HINT = 500  # characters, because a page may have any number of labels


@dataclass(frozen=True)
class Page:
    """A server's page, or why there is none.

    Args:
        lines: the lines about the metrics that are read.
        problem: why there is no page; "" if there is one.
    """

    lines: Sequence[str] = ()
    problem: str = ""


class ApplicationMetrics:
    """The pages of all hosts.

    Args:
        settings: ``slipway_metrics``.
        fetch: returns every server's page.
    """

    def __init__(self, settings: MetricsSettings, fetch: Callable[[], Mapping[str, Page]]) -> None:
        self._selectors = {key: parse_selector(getattr(settings, key)) for key in ("requests", "errors", "latency")}
        self._milliseconds = 1000.0 if settings.latency_unit == "seconds" else 1.0
        self._fetch = fetch
        self._counting = Counting()
        self._begun = False

    def read(self) -> MetricsReading:
        """See `MetricsSource`."""
        pages = self._fetch()
        good = {server: page for server, page in pages.items() if not page.problem}
        problems = [f"{server}: {page.problem}" for server, page in pages.items() if page.problem]
        if not self._begun:
            self._check(good, problems)
            self._begun = True
        counts: dict[str, Counts] = {}
        for server, page in good.items():
            # No real counter is this large, and a sum of such values would be infinite.
            samples = [sample for sample in parse_samples(page.lines) if abs(sample.value) <= MOST]
            if len(samples) > MAX_SERIES:
                problems.append(f"{server}: its page has more than {MAX_SERIES} series, which is all that is read")
                continue
            found = self._counting.feed(server, self._snapshot(samples))
            if found is not None:
                counts[server] = found
        return MetricsReading(counts, problems=tuple(problems), buckets=self._counting.buckets)

    def _snapshot(self, samples: Sequence[Sample]) -> Snapshot:
        def series(key: str) -> dict[Hashable, float]:
            selector = self._selectors[key]
            return {
                (key, tuple(sorted(sample.labels.items()))): sample.value
                for sample in samples
                if sample.name == selector.name and selector.takes(sample.labels)
            }

        selector = self._selectors["latency"]
        latencies: dict[Hashable, float] = {}
        for sample in samples:
            limit = bucket_limit(sample.labels)
            if sample.name == selector.name and selector.takes(sample.labels) and limit is not None:
                others = tuple(sorted(item for item in sample.labels.items() if item[0] != "le"))
                latencies[others, limit * self._milliseconds] = sample.value
        return Snapshot(series("requests"), series("errors"), latencies)

    def _check(self, pages: Mapping[str, Page], problems: Sequence[str]) -> None:
        """Refuse a metric that no page has, because it would never give data or a verdict."""
        if not pages:
            raise MetricsError(
                f"no server's metrics could be read: {'; '.join(problems) or 'there is no server'}",
                hint="slipway_metrics.application.url says where they are",
            )
        names = set().union(*(declared(page.lines) for page in pages.values()))
        samples = [sample for page in pages.values() for sample in parse_samples(page.lines)]
        for key, selector in self._selectors.items():
            of_name = [sample for sample in samples if sample.name == selector.name]
            if selector.name not in names and not of_name:
                raise MetricsError(
                    f"slipway_metrics.{key}: no page has a metric {selector.name}",
                    hint="look at the page: its names may differ; see docs/metrics.md",
                )
            for label in sorted(missing_labels(selector, of_name)):
                raise MetricsError(
                    f"slipway_metrics.{key}: {selector.name} has no label '{label}'",
                    hint=cut(f"it has {', '.join(sorted(set().union(*(one.labels for one in of_name))))}", MAX_HINT),
                )


def missing_labels(selector: Selector, samples: Sequence[Sample]) -> set[str]:
    """Return the selector's labels that no sample has; none if there is no sample yet."""
    if not samples:
        return set()
    return {label for label in selector.labels if not any(label in sample.labels for sample in samples)}
