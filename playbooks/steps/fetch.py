"""Tell a host what to fetch, on standard input: the URL may be signed, and a header may hold a token."""

from __future__ import annotations

from playbooks.core.artifact import FetchRequest
from playbooks.settings.pull import Pull


def fetch_order(request: FetchRequest, pull: Pull) -> bytes:
    """Build the lines that fetch.sh reads.

    Args:
        request: the URL and headers.
        pull: the settings for retries and timeouts.
    """
    lines = [
        f"patience {pull.retries} {pull.timeout:.0f}",
        f"url {request.url}",
        *(f"header {name}: {value}" for name, value in request.headers),
        # The end mark keeps a broken connection from making an incomplete request.
        "end",
    ]
    return "".join(f"{line}\n" for line in lines).encode()
