"""Describe artifacts that hosts fetch: the hosts' request, and the checksum that the controller reads."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from playbooks.core.artifact import FetchRequest
from playbooks.core.errors import UsageError
from playbooks.core.unreached import unreached
from playbooks.settings.pull import Pull

if TYPE_CHECKING:
    import requests

ANSWER_SECONDS = 10
MAX_REDIRECTS = 5
UNREACHED = (
    "is the URL right, and does `curl --head URL` work here? With --sha256=… only the hosts ask it. A certificate "
    "of your own authority is trusted here if REQUESTS_CA_BUNDLE names it, and on hosts by update-ca-certificates"
)
# A checksum with a file name is shorter.
MAX_BYTES = 1024
_SECRET_NAME = re.compile(r"\{([^{}]+)\}")
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f\"\\<>^`|]")


def is_remote(source: str) -> bool:
    """Return whether hosts fetch it themselves."""
    return source.startswith(("http://", "https://", "s3://"))


def shown(source: str) -> str:
    """Return a path or URL for display: a web server's without user, password, query and fragment.

    Raises:
        UsageError: the text is no URL.
    """
    parts = _web_parts(source)
    return urlunsplit((parts.scheme, _place(parts), parts.path, "", "")) if parts else source


def secret_parts(source: str) -> list[str]:
    """Return the parts that `shown` leaves out, which other output must strike out too."""
    parts = _web_parts(source)
    if parts is None:
        return []
    return [text for text in (parts.query, parts.fragment, parts.password, unquote(parts.password or "")) if text]


def _web_parts(source: str) -> SplitResult | None:
    """Split a web server's URL; a key in an object store may have any character."""
    if not source.startswith(("http://", "https://")):
        return None
    try:
        parts = urlsplit(source)
        _ = parts.port
    except ValueError:
        parts = None
    if parts is None or not parts.hostname or _NOT_IN_URLS.search(source):
        place = source.partition("?")[0].rpartition("@")[2]
        raise UsageError(f"'{place}' is no URL of a web server", hint="write blanks and quotes in it as %20 and %22")
    return parts


def _place(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


class WebStore:
    """An artifact on a web server.

    Args:
        url: its URL. A user and password in it become a header; hosts see them nowhere else.
        pull: ``slipway_pull``.
        secrets: by name, for the headers.
    """

    def __init__(self, url: str, pull: Pull, secrets: Mapping[str, str]) -> None:
        parts = _web_parts(url)
        if parts is None:
            raise UsageError(f"'{url}' is no URL of a web server")
        self._parts = parts
        self._pull = pull
        self._secrets = secrets

    def request(self) -> FetchRequest:
        """Return the URL as it is, with the headers of ``slipway_pull``."""
        return self._of("")

    def checksum(self) -> str:
        """Fetch the checksum with the same query and headers."""
        import requests  # only a fetched artifact needs it

        about = f"no checksum for {shown(self._of('').url)}: {shown(self._of('.sha256').url)}"
        hint = "put a .sha256 file beside the artifact, or give --sha256=…"
        try:
            answer = _get(self._of(".sha256"))
            text = next(answer.iter_content(MAX_BYTES), b"").decode("utf-8", "replace") if answer.ok else ""
        except requests.RequestException as error:
            why = unreached(error, _asked(error) or self._of("").url, ANSWER_SECONDS)
            raise UsageError(f"{about} could not be asked for, {why}", hint=UNREACHED) from None
        if not answer.ok:
            raise UsageError(f"{about}: HTTP {answer.status_code}", hint=hint)
        return text

    def _of(self, ending: str) -> FetchRequest:
        parts = self._parts
        headers = {name: self._filled(value) for name, value in self._pull.headers.items()}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._[]{}") + ending
        url = urlunsplit((parts.scheme, _place(parts), path, parts.query, ""))
        return FetchRequest(url, tuple(headers.items()))

    def _filled(self, value: str) -> str:
        return _SECRET_NAME.sub(lambda match: self._secrets[match[1]], value)


def _get(request: FetchRequest) -> requests.Response:
    """Fetch a URL and follow redirects; secret headers go only to the first server."""
    import requests

    url, headers = request.url, dict(request.headers)
    with requests.Session() as session:
        # A ~/.netrc would replace the header, and hosts have no ~/.netrc.
        session.auth = _as_it_is if headers else None
        for _ in range(MAX_REDIRECTS + 1):
            answer = session.get(url, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=False, stream=True)
            if not answer.is_redirect:
                return answer
            further = urljoin(url, answer.headers["Location"])
            if urlsplit(further)[:2] != urlsplit(url)[:2]:
                headers = {}
            url = further
    raise requests.TooManyRedirects


def _asked(error: requests.RequestException) -> str | None:
    """Return the URL of the failed request, which may be a redirect's target."""
    return error.request.url if error.request is not None else None


def _as_it_is(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    return prepared
