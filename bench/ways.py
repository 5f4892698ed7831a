"""A connection through the relay: two directions, each with what is under way in it."""

from __future__ import annotations

import socket
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Way:
    """One direction of a connection.

    Args:
        queue: what is under way, with the time at which it arrives; None is the end.
        held: bytes in the queue.
        ended: the source has said all.
        done: and the sink has been told so.
        blocked: the sink takes no more at present.
        hungry: waits for the uplink.
    """

    connection: Connection
    upward: bool
    source: socket.socket | None
    sink: socket.socket | None
    queue: deque[tuple[float, memoryview | None]] = field(default_factory=deque)
    held: int = 0
    ended: bool = False
    done: bool = False
    blocked: bool = False
    hungry: bool = False
    ringing: bool = False
    last: float = 0.0


class Connection:
    """A client's connection and the one to its host."""

    def __init__(self, client: socket.socket) -> None:
        self.client: socket.socket = client
        self.host: socket.socket | None = None
        self.up = Way(self, upward=True, source=client, sink=None)
        self.down = Way(self, upward=False, source=None, sink=client)
        self.connecting = False
        self.closed = False
