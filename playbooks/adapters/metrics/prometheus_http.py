"""Send requests to a Prometheus server: URLs, headers, and requests from the controller."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from playbooks.adapters.metrics.prometheus import Ask, Replied
from playbooks.core.unreached import unreached
from playbooks.settings.metrics import Prometheus

if TYPE_CHECKING:
    import requests

MAX_BYTES = 8 * 1024 * 1024  # of a reply; http_get.sh has the same limit


def query_url(settings: Prometheus, query: str) -> str:
    """Return a query's URL."""
    return f"{settings.url.rstrip('/')}/api/v1/query?{urlencode({'query': query})}"


def login(settings: Prometheus, secrets: Mapping[str, str]) -> str:
    """Return the value of the Authorization header, which is secret; "" without a login."""
    if settings.token is not None:
        return f"Bearer {secrets[settings.token]}"
    if settings.user is not None and settings.password is not None:
        pair = f"{settings.user}:{secrets[settings.password]}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
    return ""


def ask_from_here(settings: Prometheus, secrets: Mapping[str, str]) -> Ask:
    """Send the queries from the controller."""
    headers = {"Authorization": login(settings, secrets)} if login(settings, secrets) else {}

    def ask(queries: Sequence[str]) -> list[Replied]:
        import requests  # only this source needs it

        with requests.Session() as session:
            session.auth = _as_it_is  # a ~/.netrc would take the header's place
            session.headers.update(headers)
            return [_get(session, settings, query) for query in queries]

    return ask


def _get(session: requests.Session, settings: Prometheus, query: str) -> Replied:
    import requests

    until = time.monotonic() + settings.timeout
    body = bytearray()
    try:
        with session.get(
            query_url(settings, query),
            timeout=settings.timeout,  # of each read
            allow_redirects=False,  # it would be given the login
            verify=settings.ca or True,
            stream=True,
        ) as answer:
            for chunk in answer.iter_content(65536):
                body += chunk
                if len(body) > MAX_BYTES:
                    return Replied(0, "its answer is larger than 8 MB, which is all that is read")
                if time.monotonic() > until:
                    return Replied(0, f"its answer took longer than {settings.timeout:g} s")
    except (requests.RequestException, OSError) as error:
        return Replied(0, unreached(error, settings.url, settings.timeout))
    return Replied(answer.status_code, body.decode("utf-8", "replace"))


def _as_it_is(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    return prepared
