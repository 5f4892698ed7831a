"""Opens the source of metrics that the settings name, and the connection to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from playbooks.adapters.metrics.application import ApplicationMetrics, Page
from playbooks.adapters.metrics.prometheus import Ask, PrometheusMetrics, Replied
from playbooks.adapters.metrics.prometheus_http import ask_from_here
from playbooks.adapters.metrics.source import MeasuredServer, MetricsError, MetricsSource
from playbooks.fleet.fleet import Fleet
from playbooks.settings.metrics import MetricsSettings, Prometheus
from playbooks.steps.app_metrics import app_metrics_call, read_app_metrics
from playbooks.steps.http_get import queries_call, read_replies


def open_metrics(
    settings: MetricsSettings,
    servers: Sequence[MeasuredServer],
    fleet: Fleet,
    secrets: Mapping[str, str],
    *,
    via: str | None = None,
) -> MetricsSource:
    """The source that the settings name, except the balancer's own (see observers.py).

    Args:
        settings: ``slipway_metrics``.
        servers: whom to ask about.
        fleet: sessions with the servers' hosts, and with `via`.
        secrets: by name, for logins.
        via: the host that ``slipway_metrics.prometheus.via`` selects, if any.

    Raises:
        MetricsError: the source is the balancer's.
    """
    if settings.source == "application":
        return ApplicationMetrics(settings, lambda: _pages(settings, servers, fleet))
    if settings.source == "prometheus" and settings.prometheus is not None:
        asked = ask_from_here(settings.prometheus, secrets)
        if via is not None:
            asked = _ask_through(settings.prometheus, secrets, fleet, via)
        return PrometheusMetrics(settings, servers, asked)
    raise MetricsError(f"slipway_metrics.source: {settings.source} is read from the balancer's hosts")


def _pages(settings: MetricsSettings, servers: Sequence[MeasuredServer], fleet: Fleet) -> dict[str, Page]:
    by_host: dict[str, list[MeasuredServer]] = {}
    for server in servers:
        by_host.setdefault(server.host, []).append(server)
    reachable = [host for host in by_host if host in fleet.remotes]
    results = fleet.each(
        "metrics",
        lambda remote: read_app_metrics(next(remote.chain([app_metrics_call(settings, by_host[remote.name])]))),
        hosts=reachable,
    )
    # A host has no metrics of servers on other hosts.
    asked = {server.name: server.host for server in servers}
    pages = {
        name: page for host, found in results.ok.items() for name, page in found.items() if asked.get(name) == host
    }
    for server in servers:
        failed = results.failed.get(server.host)
        why = failed.message if failed is not None else "its host cannot be reached"
        pages.setdefault(server.name, Page(problem=why))
    return pages


def _ask_through(settings: Prometheus, secrets: Mapping[str, str], fleet: Fleet, via: str) -> Ask:
    def ask(queries: Sequence[str]) -> list[Replied]:
        def one(host: str) -> list[Replied]:
            return read_replies(next(fleet.remotes[host].chain([queries_call(settings, secrets, queries)])))

        results = fleet.each("metrics", lambda remote: one(remote.name), hosts=[via])
        replies = results.ok.get(via, [])
        failed = results.failed.get(via)
        missing = Replied(0, failed.message if failed is not None else "no reply")
        return [*replies, *[missing] * (len(queries) - len(replies))]

    return ask
