"""The process: listen, tell systemd, serve, and finish what was begun when told to stop."""

from __future__ import annotations

import logging
import os
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

from shop.database import Database
from shop.logs import set_up
from shop.settings import Settings, SettingsError, read_settings
from shop.visits import prepare
from shop.web import MAX_BODY, THREADS, Shop

LOG = logging.getLogger(__name__)
FINISH_SECONDS = 20  # less than systemd's TimeoutStopSec


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
    shop = Shop(database, version, root / "static", settings.data_dir)
    server = create_server(
        shop, sockets=[listener], threads=THREADS, ident=None, max_request_body_size=MAX_BODY, expose_tracebacks=False
    )
    threading.Thread(target=database.keep_schema, daemon=True).start()
    _serve(server, f"version {version} listens on {settings.host}:{settings.port}")
    return 0


def _listen(settings: Settings) -> socket.socket:
    """The socket that systemd hands over (sd_listen_fds(3)), or one of our own."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=3)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=1024)


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
    wasyncore.poll2(0.0, server._map)  # who connected before now is served
    server.del_channel(server._map)
    server.socket.close()
    deadline = time.monotonic() + FINISH_SECONDS
    while time.monotonic() < deadline:
        wasyncore.poll2(0.05, server._map)
        for channel in list(server.active_channels.values()):
            if not channel.requests and channel.request is None and not channel.total_outbufs_len:
                channel.handle_close()
        if not server.active_channels:
            break
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
