"""Explain in words why a server is unreachable; libraries name only their classes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

MOST = 20  # nested errors
PORTS = {"http": 80, "https": 443}
CLOSED = {"RemoteDisconnected", "ConnectionResetError", "BrokenPipeError", "IncompleteRead", "ChunkedEncodingError"}


def unreached(error: BaseException, url: str, seconds: float | None = None) -> str:
    """Return why a URL's server did not answer, as the second half of a sentence, with its name and port.

    Args:
        error: the library's exception.
        url: the URL; only its server is shown.
        seconds: how long the request waited for an answer.
    """
    found = list(_chain(error))
    names = {type(one).__name__ for one in found}
    server = _server(url)
    if names & {"ProxyError", "ProxyConnectionError"}:
        server = f"the proxy that your environment names, on the way to {server},"
    known = next((told for one in found if (told := _known(one, server))), None)
    if known:
        return known
    if any("Timeout" in name for name in names):
        return f"{server} does not answer" + (f" within {seconds:g} s" if seconds else " in time")
    for one in found:
        if isinstance(one, ssl.SSLError):
            return f"TLS with {server} fails: {(one.reason or str(one)).replace('_', ' ').lower()}"
    if "TooManyRedirects" in names:
        return f"{server} redirects without end"
    if names & CLOSED:
        return f"{server} closed the connection before it had answered"
    said = next((text for one in found if isinstance(one, OSError) and (text := one.strerror)), None)
    return f"{server} cannot be reached: {said.lower()}" if said else f"{server} cannot be asked ({_inner(found)})"


def _known(error: BaseException, server: str) -> str | None:
    """Return the nested error that names the cause."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {server} is not trusted: {error.verify_message.rstrip('.')}"
    if isinstance(error, socket.gaierror):
        return f"there is no host of that name: {server.partition(':')[0]}"
    return f"{server} refuses the connection" if isinstance(error, ConnectionRefusedError) else None


def in_words(error: BaseException) -> str:
    """Return a library's words about a failed connection; some have none."""
    if str(error):
        return str(error)
    return "no answer in time" if isinstance(error, TimeoutError) else "the other end closed the connection"


def _server(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return "the server"
    name = parts.hostname or "the server"
    return f"{f'[{name}]' if ':' in name else name}:{port}" if port and parts.hostname else name


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its nested errors."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < MOST:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        kept = getattr(one, "kwargs", None)
        inner = (*one.args, getattr(one, "reason", None), *(kept.values() if isinstance(kept, dict) else ()))
        waiting += [part for part in (*inner, one.__cause__, one.__context__) if isinstance(part, BaseException)]


def _inner(found: list[BaseException]) -> str:
    """Return the innermost error's own words, if any."""
    own = [one for one in reversed(found) if not any(isinstance(part, BaseException) for part in one.args)]
    return next((str(one)[:200] for one in own if str(one)), "no reason was given")
