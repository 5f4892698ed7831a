"""What a host must fetch. It is sent on standard input, since the URL may be signed and a header may hold a token."""

from __future__ import annotations

from playbooks.core.artifact import FetchRequest
from playbooks.settings.pull import Pull


def fetch_order(request: FetchRequest, pull: Pull) -> bytes:
    """The lines that fetch.sh reads.

    Args:
        request: what to ask for.
        pull: how patiently.
    """
    lines = [
        f"patience {pull.retries} {pull.timeout:.0f}",
        f"url {request.url}",
        *(f"header {name}: {value}" for name, value in request.headers),
        # A connection that breaks in between must not make a request of half.
        "end",
    ]
    return "".join(f"{line}\n" for line in lines).encode()
