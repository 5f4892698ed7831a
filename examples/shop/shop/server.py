"""The process: listen, tell systemd, serve, and finish what was begun when told to stop."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from waitress import wasyncore
from waitress.server import create_server
from waitress.task import WSGITask

from shop.database import Database
from shop.logs import set_up
from shop.settings import Settings, SettingsError, read_settings
from shop.visits import prepare
from shop.web import MAX_BODY, THREADS, Shop

LOG = logging.getLogger(__name__)
BACKLOG = 1024
CONNECTIONS = 1000  # waitress stops at 100: idle ones would keep health checks out
FINISH_SECONDS = 20  # less than systemd's TimeoutStopSec
LINGER_SECONDS = 0.5  # for a request that is under way on a connection that looks idle


class LastAnswer(WSGITask):  # type: ignore[misc]  # waitress has no types
    """An answer that tells its client that the connection ends here, so that no request is sent into a closed one."""

    def build_response_header(self) -> bytes:
        """As if the client had asked for it."""
        self.request.headers["CONNECTION"] = "close"
        return bytes(super().build_response_header())


def main(root: Path) -> int:
    """Run the shop.

    Args:
        root: the release's folder.

    Returns:
        The process's exit status.
    """
    try:
        settings = read_settings(os.environ)
        set_up(settings.log_level)
        version = (root / "VERSION").read_text(encoding="utf-8").strip()
        listener = _listen(settings)
    except (SettingsError, OSError) as error:
        print(f"shop: {error}", file=sys.stderr)  # noqa: T201  # there is nothing to log to yet
        return 2
    prepare(settings.data_dir)
    database = Database(settings, root / "shop" / "sql")
    shop = Shop(database, version, root / "static", settings)
    server = create_server(
        shop,
        sockets=[listener],
        threads=THREADS,
        connection_limit=CONNECTIONS,
        ident=None,
        max_request_body_size=MAX_BODY,
        expose_tracebacks=False,
    )
    _serve(server, f"version {version} listens on {settings.host}:{settings.port}")
    return 0


def _is_handed_over() -> bool:
    """Whether systemd listens for us (sd_listen_fds(3))."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1"


def _listen(settings: Settings) -> socket.socket:
    """The socket that systemd hands over, or one of our own."""
    if _is_handed_over():
        return socket.socket(fileno=3)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)


def _serve(server: Any, ready: str) -> None:  # noqa: ANN401  # waitress has no types
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        server.pull_trigger()  # wakes the poll below

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    LOG.info(ready)
    _notify("READY=1\nSTATUS=" + ready)
    while not stop.is_set():
        wasyncore.poll2(1.0, server._map)
    _notify("STOPPING=1")
    _finish(server)
    LOG.info("stopped")


def _finish(server: Any) -> None:  # noqa: ANN401  # as above
    """Take no more connections, answer what was asked, close what is idle."""
    queue = select.poll()
    queue.register(server.socket, select.POLLIN)
    for _ in range(BACKLOG):  # who connected before now is served: closing would reset whom the kernel still queues
        if not queue.poll(0):
            break
        server.handle_accept()
    server.del_channel(server._map)
    server.socket.close()
    deadline = time.monotonic() + FINISH_SECONDS
    while server.active_channels and time.monotonic() < deadline:
        quiet = time.time() - LINGER_SECONDS
        for channel in list(server.active_channels.values()):
            channel.task_class = LastAnswer
            busy = channel.requests or channel.request is not None or channel.total_outbufs_len
            if not busy and channel.last_activity < quiet:
                channel.handle_close()
        wasyncore.poll2(0.05, server._map)
    server.task_dispatcher.shutdown(timeout=1)


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), where it wants to know."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
        try:
            to.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            LOG.warning("systemd was not told: %s", error)
