"""Fetch the application's metrics pages from its own host, so that no other machine needs access to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from playbooks.adapters.metrics.application import Page
from playbooks.adapters.metrics.exposition import PARTS
from playbooks.adapters.metrics.source import MeasuredServer
from playbooks.core.names import cut
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings.metrics import MetricsSettings
from playbooks.settings.selector import parse_selector


def app_metrics_call(settings: MetricsSettings, servers: Sequence[MeasuredServer]) -> StepCall:
    """Build the step that reads a host's pages, in one round trip.

    Args:
        settings: ``slipway_metrics``.
        servers: the servers on this host.
    """
    application = settings.application
    lines = [f"{server.name}\t{application.url.replace('{port}', str(server.port))}\n" for server in servers]
    return StepCall(
        "app_metrics",
        values={"seconds": f"{application.timeout:g}", "names": "|".join(sorted(_names(settings)))},
        payload="".join(lines).encode(),
        timeout=application.timeout * len(servers) + 30.0,
    )


def read_app_metrics(answer: StepResult) -> dict[str, Page]:
    """Read the pages, by server.

    Raises:
        BadAnswer: the answer is malformed.
    """
    pages: dict[str, Page] = {}
    lines: list[str] = []
    for record in answer.records:
        if record.tag == "server":
            if len(record.fields) != 2:
                raise answer.bad("a server without name or word")
            lines = []
            pages[record.fields[0]] = Page(lines, cut(record.fields[1].strip()))
        elif record.tag == "line":
            lines.append("\t".join(record.fields))
    return pages


def _names(settings: MetricsSettings) -> Iterable[str]:
    """Return the metrics' names, and the names under which pages declare them."""
    for text in (settings.requests, settings.errors, settings.latency):
        name = parse_selector(text).name
        yield name
        yield from (name.removesuffix(part) for part in PARTS if name.endswith(part))
