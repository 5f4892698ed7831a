"""The relay that the benchmarks run through: what it hands over is what was sent, whatever it delays."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.uplink import Uplink, uplink

SIZE = 3_000_000


@pytest.fixture
def door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.2", 0)) as door:
        door.settimeout(20)
        yield door


def relayed(door: socket.socket) -> tuple[dict[str, tuple[str, str]], int]:
    """A relay's own address for the door: another one in 127/8, with the same port."""
    return {"host": ("127.0.0.3", "127.0.0.2")}, door.getsockname()[1]


def read_all(way: socket.socket) -> bytes:
    way.settimeout(20)
    return b"".join(iter(lambda: way.recv(65536), b""))


def send_all(way: socket.socket, data: bytes) -> None:
    way.sendall(data)
    way.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(("round_trip", "rate"), [(0.0, 0.0), (0.02, 0.0), (0.02, 400.0), (0.0, 400.0)])
def test_bytes_arrive_whole_and_in_order_both_ways_at_once(door: socket.socket, round_trip: float, rate: float) -> None:
    hosts, port = relayed(door)
    up, down = os.urandom(SIZE), os.urandom(SIZE)
    with uplink(hosts, port=port) as relay, ThreadPoolExecutor() as pool:
        relay.set(round_trip=round_trip, rate=rate)
        for _ in range(2):
            client = socket.create_connection(relay.doors["host"])
            host, _ = door.accept()
            with client, host:
                threads = [threading.Thread(target=send_all, args=pair) for pair in ((client, up), (host, down))]
                for thread in threads:
                    thread.start()
                there, here = pool.submit(read_all, host), pool.submit(read_all, client)
                assert there.result() == up
                assert here.result() == down
                for thread in threads:
                    thread.join()
        assert (relay.count()["up"], relay.count()["down"]) == (2 * SIZE, 2 * SIZE)


def test_a_side_that_has_said_all_still_hears(door: socket.socket) -> None:
    hosts, port = relayed(door)
    with uplink(hosts, port=port) as relay:
        relay.set(round_trip=0.02)
        client = socket.create_connection(relay.doors["host"])
        host, _ = door.accept()
        with client, host:
            send_all(client, b"question")
            assert read_all(host) == b"question"
            send_all(host, b"answer")
            assert read_all(client) == b"answer"


def test_a_host_that_refuses_is_told_to_the_client(door: socket.socket) -> None:
    hosts, port = relayed(door)
    door.close()
    with uplink(hosts, port=port) as relay, socket.create_connection(relay.doors["host"]) as client:
        client.settimeout(20)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_what_was_sent_before_a_change_of_delay_is_not_overtaken(door: socket.socket) -> None:
    hosts, port = relayed(door)
    with uplink(hosts, port=port) as relay:
        client = socket.create_connection(relay.doors["host"])
        host, _ = door.accept()
        with client, host:
            relay.set(round_trip=0.2)
            client.sendall(b"first ")
            wait_until_counted(relay, 6)
            relay.set(round_trip=0)
            send_all(client, b"second")
            assert read_all(host) == b"first second"


def wait_until_counted(relay: Uplink, count: int) -> None:
    while relay.count()["up"] < count:
        pass
