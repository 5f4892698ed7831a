"""Query a Prometheus server from a host, if the controller cannot reach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from playbooks.adapters.metrics.prometheus import Replied
from playbooks.adapters.metrics.prometheus_http import login, query_url
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings.metrics import Prometheus


def queries_call(settings: Prometheus, secrets: Mapping[str, str], queries: Sequence[str]) -> StepCall:
    """Build the step that asks several queries, in one round trip."""
    header = login(settings, secrets)
    lines = [f"header Authorization: {header}\n"] if header else []
    lines += [f"url {query_url(settings, query)}\n" for query in queries]
    return StepCall(
        "http_get",
        values={"seconds": f"{settings.timeout:g}", "ca": settings.ca or "-", "served_by": settings.served_by or ""},
        payload="".join(lines).encode(),
        timeout=settings.timeout * len(queries) + 30.0,
    )


def read_replies(answer: StepResult) -> list[Replied]:
    """Read the replies, in the order of the queries.

    Raises:
        BadAnswer: the answer is malformed.
    """
    return [Replied(answer.number(status), body) for status, body in answer.all("reply", 2)]
