"""Why a server could not be asked, in words: libraries tell it as names of their classes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

MOST = 20  # errors in errors
PORTS = {"http": 80, "https": 443}
CLOSED = {"RemoteDisconnected", "ConnectionResetError", "BrokenPipeError", "IncompleteRead", "ChunkedEncodingError"}


def unreached(error: BaseException, url: str, seconds: float | None = None) -> str:
    """Why a URL's server did not answer, as the second half of a sentence, with its name and port.

    Args:
        error: what a library raised.
        url: that was asked; of it only the server is told.
        seconds: that were waited for an answer.
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
    """What tells the cause by itself, however deep it lies."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {server} is not trusted: {error.verify_message.rstrip('.')}"
    if isinstance(error, socket.gaierror):
        return f"there is no host of that name: {server.partition(':')[0]}"
    return f"{server} refuses the connection" if isinstance(error, ConnectionRefusedError) else None


def in_words(error: BaseException) -> str:
    """What a library says of a connection that failed; some say nothing at all."""
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
    """An error, and what it was made of."""
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
    """The innermost error's own words, if it has any that are not another error."""
    own = [one for one in reversed(found) if not any(isinstance(part, BaseException) for part in one.args)]
    return next((str(one)[:200] for one in own if str(one)), "no reason was given")
