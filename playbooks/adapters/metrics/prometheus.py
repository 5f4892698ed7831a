"""Read metrics from a Prometheus server, by instant queries."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from playbooks.adapters.metrics.exposition import Sample, bucket_limit
from playbooks.adapters.metrics.source import Counting, MeasuredServer, MetricsError, MetricsReading, Snapshot
from playbooks.core.names import cut
from playbooks.judgement.counts import Counts
from playbooks.judgement.verdict import Signal
from playbooks.settings.metrics import MetricsSettings, Prometheus, Query
from playbooks.settings.selector import Selector, parse_selector

RETRY_SECONDS = 1.0
MAX_TOLD = 300  # characters of a server's message
SCRAPED = "max by ({label}) (up)"


@dataclass(frozen=True)
class Replied:
    """The server's reply to a query.

    Args:
        status: the HTTP status; 0 without a reply.
        body: the body, or why there is none.
    """

    status: int
    body: str


# Sends several queries (PromQL) to the server and returns as many replies.
Ask = Callable[[Sequence[str]], Sequence[Replied]]


class QueryFailed(Exception):
    """A query failed; the message is a part of a sentence."""


class PrometheusMetrics:
    """A Prometheus server.

    Args:
        settings: ``slipway_metrics``.
        servers: the servers to read metrics of.
        ask: sends queries to the server.
    """

    def __init__(self, settings: MetricsSettings, servers: Sequence[MeasuredServer], ask: Ask) -> None:
        if settings.prometheus is None:
            raise MetricsError("slipway_metrics.prometheus is not set")
        self._metrics = settings
        self._settings: Prometheus = settings.prometheus
        self._servers = {_instance(self._settings, server): server.name for server in servers}
        self._ask = ask
        self._counting = Counting()
        self._milliseconds = 1000.0 if settings.latency_unit == "seconds" else 1.0
        self._begun = False

    def read(self) -> MetricsReading:
        """See `MetricsSource`. A failed query is tried once more; else its counts come with the next reading."""
        if not self._begun:
            self._check()
            self._begun = True
        totals = {key: self._filled(getattr(self._settings, key)) for key in ("requests", "errors", "latency")}
        totals["up"] = self._filled(SCRAPED)
        own = {query.name: self._filled(query.text) for query in self._settings.queries}
        replies, failed = self._patiently({**totals, **own})
        problems = [f"Prometheus: query {name} failed: {why}" for name, why in failed.items()]
        counts: dict[str, Counts] = {}
        # Use all three or none, because requests and errors of different moments give a wrong rate.
        if not failed.keys() & totals.keys():
            counts = self._counts(replies)
        return MetricsReading(counts, self._signals(replies), tuple(problems), self._counting.buckets)

    def _signals(self, replies: Mapping[str, Sequence[Sample]]) -> tuple[Signal, ...]:
        """Judge the servers' own numbers. A missing one, or NaN from a rate without data, is neither good nor bad."""
        return tuple(
            held_against(query, server, sample.value)
            for query in self._settings.queries
            for sample in replies.get(query.name, ())
            if (server := self._server(sample)) is not None and sample.value == sample.value
        )

    def _counts(self, replies: Mapping[str, Sequence[Sample]]) -> dict[str, Counts]:
        # A scraped server without series has had no requests yet, so its counts start at 0.
        up = {self._server(sample) for sample in replies["up"] if sample.value == 1}
        totals: dict[str, dict[str, dict[Hashable, float]]] = {server: {} for server in up if server is not None}
        for key in ("requests", "errors", "latency"):
            for sample in replies[key]:
                server = self._server(sample)
                limit = bucket_limit(sample.labels) if key == "latency" else 0.0
                if server is None or limit is None or not math.isfinite(sample.value):
                    continue
                # A person's query may return several series for a server; each of them counts separately.
                others = tuple(sorted(item for item in sample.labels.items() if item[0] != "le"))
                place = totals.setdefault(server, {}).setdefault(key, {})
                place[others, limit * self._milliseconds] = sample.value
        found = {
            server: self._counting.feed(
                server, Snapshot(now.get("requests", {}), now.get("errors", {}), now.get("latency", {}))
            )
            for server, now in totals.items()
        }
        return {server: counts for server, counts in found.items() if counts is not None}

    def _patiently(self, queries: Mapping[str, str]) -> tuple[dict[str, list[Sample]], dict[str, str]]:
        """Return the answers by name, and the errors; try failed queries once more."""
        answers: dict[str, list[Sample]] = {}
        failed = dict.fromkeys(queries, "")
        for attempt in range(2):
            if attempt:
                time.sleep(RETRY_SECONDS)
            names = list(failed)
            for name, reply in zip(names, self._ask([queries[name] for name in names]), strict=True):
                try:
                    answers[name] = read_vector(reply)
                except QueryFailed as error:
                    failed[name] = str(error)
                else:
                    del failed[name]
            if not failed:
                break
        return answers, failed

    def _check(self) -> None:
        """Refuse metrics that do not exist, because a mistyped name would never give data."""
        selectors = {key: parse_selector(getattr(self._metrics, key)) for key in ("requests", "errors", "latency")}
        own = {f"queries.{query.name}": query for query in self._settings.queries}
        queries = {
            # A person's query without the selector cannot be checked in advance.
            **{
                key: f"count by ({', '.join(sorted({self._settings.label, *selector.labels}))}) ({selector.name})"
                for key, selector in selectors.items()
                if f"{{{key}}}" in getattr(self._settings, key)
            },
            **{
                key: self._filled(getattr(self._settings, key))
                for key in selectors
                if f"{{{key}}}" not in getattr(self._settings, key)
            },
            **{name: self._filled(query.text) for name, query in own.items()},
        }
        answers, failed = self._patiently(queries)
        for name, why in failed.items():
            raise MetricsError(
                f"Prometheus at {self._settings.url} does not answer the query {name}: {why}",
                hint=f"the query: {queries[name]}",
            )
        for name, samples in answers.items():
            if name == "errors" and "{errors}" not in self._settings.errors:
                continue  # a server may have had no errors yet
            self._check_answer(name, queries[name], samples, selectors.get(name), own.get(name))

    def _check_answer(
        self, name: str, query: str, samples: Sequence[Sample], selector: Selector | None, own: Query | None
    ) -> None:
        setting = "slipway_metrics.prometheus" if own is not None else "slipway_metrics"
        if not samples:
            raise MetricsError(
                f"{setting}.{name}: Prometheus at {self._settings.url} has nothing for it: {query}",
                hint="try the query there; a name may be mistyped, or the application is not scraped yet",
            )
        if not any(self._server(sample) for sample in samples):
            label = self._settings.label
            known = [
                cut(one, MAX_TOLD) for one in sorted({sample.labels.get(label, "") for sample in samples} - {""})[:5]
            ]
            raise MetricsError(
                f"{setting}.{name}: Prometheus knows none of the application's servers; by '{label}' it has "
                f"{', '.join(known) or 'nothing'}, expected {', '.join(list(self._servers)[:5])}",
                hint="slipway_metrics.prometheus: label and instance say how servers are called there",
            )
        if selector is not None and f"{{{name}}}" in getattr(self._settings, name):
            for label in sorted(label for label in selector.labels if not any(label in one.labels for one in samples)):
                raise MetricsError(f"slipway_metrics.{name}: in Prometheus {selector.name} has no label '{label}'")

    def _server(self, sample: Sample) -> str | None:
        return self._servers.get(sample.labels.get(self._settings.label, ""))

    def _filled(self, query: str) -> str:
        values = {
            "requests": self._metrics.requests,
            "errors": self._metrics.errors,
            "latency": self._metrics.latency,
            "label": self._settings.label,
            "window": self._settings.window,
        }
        # Not str.format, because PromQL uses braces.
        for name, value in values.items():
            query = query.replace(f"{{{name}}}", value)
        return query


def held_against(query: Query, server: str, value: float) -> Signal:
    """Compare one of a server's own numbers with its limits.

    Args:
        query: the query with its limits.
        server: the server's name.
        value: the query's value.
    """
    if query.max is not None and value > query.max:
        return Signal(server, query.name, bad=True, sentence=f"{query.name} is {value:.4g}, limit {query.max:g}")
    if query.min is not None and value < query.min:
        expected = f"{query.name} is {value:.4g}, expected {query.min:g} at least"
        return Signal(server, query.name, bad=True, sentence=expected)
    return Signal(server, query.name, bad=False, sentence=f"{query.name} is {value:.4g}")


def read_vector(reply: Replied) -> list[Sample]:
    """Read the samples in an instant query's answer.

    Raises:
        QueryFailed: the answer is malformed.
    """
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("status") != "success":
        said = document.get("error") if isinstance(document, dict) else None
        told = cut(str(said or reply.body[:200] or "no answer").strip(), MAX_TOLD)
        raise QueryFailed(f"HTTP {reply.status}: {told}" if reply.status else told)
    data = document.get("data")
    if not isinstance(data, dict) or data.get("resultType") != "vector":
        raise QueryFailed("it gives no vector: expected a number for each server")
    try:
        return [
            Sample("", {str(key): str(value) for key, value in one["metric"].items()}, float(one["value"][1]))
            for one in data["result"]
        ]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise QueryFailed("its answer is invalid") from None


def _instance(settings: Prometheus, server: MeasuredServer) -> str:
    values = {"server": server.name, "host": server.host, "address": server.address, "port": str(server.port)}
    text = settings.instance
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
