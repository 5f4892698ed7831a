"""Send one request at a time over a connection, with just enough HTTP to detect every failure."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from lab.load_plan import Kind, Plan
from lab.load_report import NOBODY, OK

LONGEST_HEAD = 65536
GOODBYE_SECONDS = 1.0
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Garbled(Exception):
    """The answer is not HTTP."""


class Short(Exception):
    """The answer is incomplete."""


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    version: str
    body: bytes
    closes: bool


class Client:
    """Sends requests, and keeps idle connections in a pool.

    Args:
        plan: the load's plan.
    """

    def __init__(self, plan: Plan) -> None:
        host, port = plan.place
        self._place = host, port
        self._timeout = plan.timeout
        self._header = plan.version_header.lower()
        self._requests = [kind.request(host if port == 80 else f"{host}:{port}") for kind in plan.mix]
        self._kinds = plan.mix
        self._idle: deque[Stream] = deque()
        self._leaving: set[asyncio.Task[None]] = set()

    async def ask(self, turn: int) -> tuple[str, str]:
        """Send one request.

        Args:
            turn: the number of its kind.

        Returns:
            The outcome (see `Sample`) and the version that answered.
        """
        kind = self._kinds[turn]
        stream = self._kept() if kind.keep else None
        was_kept = stream is not None
        answer: Answer | None = None
        try:
            async with asyncio.timeout(self._timeout):
                stream = stream or await asyncio.open_connection(*self._place, limit=LONGEST_HEAD)
                stream[1].write(self._requests[turn])
                answer = await _read(stream[0], self._header, kind.method)
        except TimeoutError:
            return "timeout", NOBODY
        except (Garbled, ValueError, asyncio.LimitOverrunError):
            return "garbled", NOBODY
        except (Short, asyncio.IncompleteReadError, OSError) as error:
            return _broken(error, was_kept=was_kept), NOBODY
        finally:
            if stream is not None:
                self._done(stream, answer, kind)
        return _judged(answer, kind), answer.version

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop()[1].close()
        await asyncio.gather(*self._leaving)

    def _kept(self) -> Stream | None:
        # Take the one that was idle for longest, so that some connections are old, as in a browser's pool.
        while self._idle:
            stream = self._idle.popleft()
            if not stream[0].at_eof() and not stream[1].is_closing():
                return stream
            stream[1].close()
        return None

    def _done(self, stream: Stream, answer: Answer | None, kind: Kind) -> None:
        if answer is None:
            stream[1].transport.abort()
        elif kind.keep and not answer.closes:
            self._idle.append(stream)
        else:
            task = asyncio.create_task(_goodbye(stream))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


async def _goodbye(stream: Stream) -> None:
    """Let the server close first. The side that closes keeps its port for a minute, and ours would run out."""
    try:
        async with asyncio.timeout(GOODBYE_SECONDS):
            await stream[0].read()
    except (TimeoutError, OSError):
        pass
    finally:
        stream[1].close()


async def _read(reader: asyncio.StreamReader, version_header: str, method: str) -> Answer:
    status, headers = await _head(reader)
    while 100 <= status < 200:
        status, headers = await _head(reader)
    closes = headers.get("connection", "").lower() == "close"
    endless = "content-length" not in headers and "transfer-encoding" not in headers
    try:
        body = b"" if method == "HEAD" or status in (204, 304) else await _body(reader, headers)
    except (asyncio.IncompleteReadError, OSError):
        raise Short from None
    return Answer(status, headers.get(version_header, NOBODY), body, closes or endless)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read()


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    protocol, _, rest = first.partition(" ")
    if not protocol.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise Garbled
    pairs = (line.partition(":") for line in lines)
    return int(rest[:3]), {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
        pass
    return b"".join(parts)


def _broken(error: Exception, *, was_kept: bool) -> str:
    """Name the outcome of a broken connection. Without an answer on a kept one, a client might silently send again,
    but the server may have taken an order, so it counts as failed."""
    if isinstance(error, Short):
        return "short"
    if isinstance(error, asyncio.IncompleteReadError):
        return "dropped" if was_kept and not error.partial else "short"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "dropped" if was_kept else "reset"
    return "unreachable"


def _judged(answer: Answer, kind: Kind) -> str:
    if answer.status >= 400:
        return f"{answer.status // 100}xx"
    return OK if kind.expect in answer.body else "wrong"
