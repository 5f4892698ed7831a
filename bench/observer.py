"""Somebody else, who asks hosts what they run, over and over: knows nothing of Slipway, and believes only answers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

INTERVAL = 0.1  # seconds between two questions to a host


@dataclass
class Seen:
    """What was seen.

    Args:
        versions: by address, each change with its time by the monotonic clock.
    """

    versions: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    def since(self, address: str, version: str) -> float | None:
        """When a host began to answer a version that it has answered ever since."""
        changes = self.versions.get(address, [])
        return changes[-1][0] if changes and changes[-1][1] == version else None

    def all_since(self, addresses: Sequence[str], version: str) -> float | None:
        """When the last of the hosts did."""
        times = [self.since(address, version) for address in addresses]
        known = [moment for moment in times if moment is not None]
        return max(known) if len(known) == len(times) else None


@contextmanager
def observing(addresses: Sequence[str], port: int) -> Iterator[Seen]:
    """Ask hosts for /VERSION until the block ends."""
    seen, ended = Seen(), threading.Event()

    async def watch(address: str) -> None:
        while not ended.is_set():
            begun = time.monotonic()
            answer = await ask(address, port)
            changes = seen.versions.setdefault(address, [])
            if answer and (not changes or changes[-1][1] != answer):
                changes.append((time.monotonic(), answer))
            await asyncio.sleep(max(0.0, INTERVAL - (time.monotonic() - begun)))

    async def watch_all() -> None:
        await asyncio.gather(*map(watch, addresses))

    thread = threading.Thread(target=asyncio.run, args=(watch_all(),))
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


async def ask(address: str, port: int) -> str:
    """What a host answers, or nothing."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                writer.write(b"GET /VERSION HTTP/1.0\r\n\r\n")
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
            return body.decode().strip() if b" 200 " in head.split(b"\r\n")[0] else ""
    return ""
