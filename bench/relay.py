"""A TCP relay before hosts: what goes through takes a round trip more, and what goes to them fits through one uplink.

Usage: python -m bench.relay LISTEN=TARGET...   each of the form ADDRESS:PORT

On standard input, a line each; every one is answered by one line of JSON:

  set SECONDS BITS   round trip added to each connection, and bits a second to the hosts for all together; 0 is none
  count              bytes that went to the hosts and came from them, and the relay's own processor time in seconds

It ends when standard input does.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import selectors
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable

from bench.ways import Connection, Way

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
PIECE = 256 * 1024
LIMITED_PIECE = 16 * 1024  # smaller, so that connections that share the uplink take turns
ROOM = 32 * 1024 * 1024  # under way in one direction of a connection: more than any window of SSH
BURST = 0.005  # seconds of the rate that may go at once
Endpoint = tuple[str, int]


class Relay:
    """All connections, in one thread."""

    def __init__(self, pairs: list[tuple[Endpoint, Endpoint]]) -> None:
        self.delay, self.rate = 0.0, 0.0
        self.sent = {True: 0, False: 0}
        self.tokens, self.filled = 0.0, time.monotonic()
        self.waiting: deque[Way] = deque()
        self.alarms: list[tuple[float, int, Callable[[], None]]] = []
        self.number = 0
        self.selector = selectors.DefaultSelector()
        self.masks: dict[socket.socket, int] = {}
        self.listening: list[Endpoint] = []
        for listen, target in pairs:
            door = socket.create_server(listen, backlog=1024)
            # A deep buffer of ours would be an uplink's whose modem takes seconds to say no.
            door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
            door.setblocking(False)
            self.listening.append(door.getsockname())
            self.selector.register(door, READ, lambda _, door=door, target=target: self.accept(door, target))

    def run(self, commands: int) -> None:
        """Relay until the file of commands ends."""
        os.set_blocking(commands, False)
        rest = b""
        self.selector.register(commands, READ, None)
        while True:
            wait = max(0.0, self.alarms[0][0] - time.monotonic()) if self.alarms else None
            for key, mask in self.selector.select(wait):
                if key.data is not None:
                    key.data(mask)
                    continue
                said = os.read(commands, 4096)
                if not said:
                    return
                *lines, rest = (rest + said).split(b"\n")
                for line in lines:
                    self.obey(line.decode().split())
            while self.alarms and self.alarms[0][0] <= time.monotonic():
                heapq.heappop(self.alarms)[2]()

    def obey(self, words: list[str]) -> None:
        """One command."""
        if words[0] == "set":
            self.delay, self.rate = float(words[1]) / 2, float(words[2]) / 8
            self.tokens = 0.0
        answer = {"up": self.sent[True], "down": self.sent[False], "cpu": time.process_time()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Do something later."""
        self.number += 1
        heapq.heappush(self.alarms, (moment, self.number, act))

    def accept(self, door: socket.socket, target: Endpoint) -> None:
        """A client comes. It takes itself for connected at once, so a round trip is put before its first byte: the
        host is connected to when the last part of the handshake would have come there."""
        client, _ = door.accept()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(client)
        self.arm(connection)
        self.at(time.monotonic() + 3 * self.delay, lambda: self.connect(connection, target))

    def connect(self, connection: Connection, target: Endpoint) -> None:
        """Go to the host."""
        if connection.closed:
            return
        host = socket.socket()
        host.setblocking(False)
        host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.host, connection.connecting = host, True
        with contextlib.suppress(BlockingIOError):
            host.connect(target)
        self.arm(connection)

    def connected(self, connection: Connection) -> None:
        """The host has answered, or refused."""
        host = connection.host
        assert host is not None  # noqa: S101
        connection.connecting = False
        if host.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort(connection)
            return
        connection.up.sink = connection.down.source = host
        self.flush(connection.up)

    def arm(self, connection: Connection) -> None:
        """Tell the selector what each socket waits for."""
        if connection.closed:
            return
        up, down = connection.up, connection.down
        self._arm(connection, connection.client, self._reads(up), down.blocked)
        if connection.host is not None:
            self._arm(connection, connection.host, self._reads(down), up.blocked or connection.connecting)

    def _reads(self, way: Way) -> bool:
        return way.source is not None and not way.ended and not way.hungry and way.held < ROOM

    def _arm(self, connection: Connection, sock: socket.socket, reads: bool, writes: bool) -> None:
        mask = (READ if reads else 0) | (WRITE if writes else 0)
        before = self.masks.get(sock, 0)
        if mask == before:
            return
        if not before:
            self.selector.register(sock, mask, lambda found: self.ready(connection, sock, found))
        elif not mask:
            self.selector.unregister(sock)
        else:
            self.selector.modify(sock, mask, self.selector.get_key(sock).data)
        self.masks[sock] = mask

    def ready(self, connection: Connection, sock: socket.socket, mask: int) -> None:
        """A socket has something, or takes something."""
        if connection.closed:
            return
        reader, writer = connection.up, connection.down
        if sock is connection.host:
            reader, writer = writer, reader
        try:
            if mask & WRITE and connection.connecting:
                self.connected(connection)
            elif mask & WRITE:
                writer.blocked = False
                self.flush(writer)
            if mask & READ and not connection.closed and self._reads(reader):
                self.read(reader)
        except OSError:
            self.abort(connection)
        self.arm(connection)

    def read(self, way: Way) -> None:
        """Take what the source has, as far as the uplink allows."""
        size = PIECE
        if way.upward and self.rate:
            self.refill()
            if self.tokens <= 0:
                way.hungry = True
                self.waiting.append(way)
                if len(self.waiting) == 1:
                    self.at(time.monotonic() + BURST, self.feed)
                return
            size = LIMITED_PIECE
        assert way.source is not None  # noqa: S101
        try:
            data = way.source.recv(size)
        except BlockingIOError:
            return
        now = time.monotonic()
        way.last = max(way.last, now + self.delay)  # nothing overtakes, whatever was set in between
        way.queue.append((way.last, memoryview(data) if data else None))
        way.held += len(data)
        self.sent[way.upward] += len(data)
        if way.upward:
            self.tokens -= len(data)
        way.ended = not data
        self.flush(way)

    def refill(self) -> None:
        """What the uplink could have sent since last time, at most a burst."""
        now = time.monotonic()
        self.tokens = min(self.tokens + (now - self.filled) * self.rate, self.rate * BURST + LIMITED_PIECE)
        self.filled = now

    def feed(self) -> None:
        """The uplink is free again: those that wait have their turn, in the order they came."""
        self.refill()
        while self.waiting and (self.tokens > 0 or not self.rate):
            way = self.waiting.popleft()
            way.hungry = False
            if way.connection.closed:
                continue
            try:
                self.read(way)
            except OSError:
                self.abort(way.connection)
            self.arm(way.connection)
        if self.waiting:
            self.at(time.monotonic() + BURST / 2, self.feed)

    def flush(self, way: Way) -> None:
        """Hand over what has arrived by now."""
        if way.connection.closed or way.sink is None or way.blocked:
            return
        now = time.monotonic()
        while way.queue and way.queue[0][0] <= now:
            due, data = way.queue.popleft()
            if data is None:
                way.sink.shutdown(socket.SHUT_WR)
                way.done = True
                continue
            try:
                count = way.sink.send(data)
            except BlockingIOError:
                count = 0
            way.held -= count
            if count < len(data):
                way.queue.appendleft((due, data[count:]))
                way.blocked = True
                return
        if way.queue and not way.ringing:
            way.ringing = True
            self.at(way.queue[0][0], lambda: self.ring(way))
        if way.connection.up.done and way.connection.down.done:
            self.close(way.connection)

    def ring(self, way: Way) -> None:
        """Something under way has arrived."""
        way.ringing = False
        try:
            self.flush(way)
        except OSError:
            self.abort(way.connection)
        self.arm(way.connection)

    def abort(self, connection: Connection) -> None:
        """One side is gone without a word: so is the other."""
        for sock in (connection.client, connection.host):
            if sock is not None and not connection.closed:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close(connection)

    def close(self, connection: Connection) -> None:
        """Forget a connection."""
        if connection.closed:
            return
        connection.closed = True
        for sock in (connection.client, connection.host):
            if sock is not None:
                if self.masks.pop(sock, 0):
                    self.selector.unregister(sock)
                sock.close()


def endpoint(text: str) -> Endpoint:
    """An address and a port."""
    address, _, port = text.rpartition(":")
    return address, int(port)


def main() -> None:
    """Listen, say where, and relay."""
    pairs = [
        (endpoint(listen), endpoint(target)) for listen, _, target in (pair.partition("=") for pair in sys.argv[1:])
    ]
    try:
        relay = Relay(pairs)
    except OSError as error:
        sys.exit(f"the relay cannot listen: {error}")
    sys.stdout.write(json.dumps({"listening": relay.listening}) + "\n")
    sys.stdout.flush()
    relay.run(sys.stdin.fileno())


if __name__ == "__main__":
    main()
