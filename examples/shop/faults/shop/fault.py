"""Shops that are bad in one way each, to be found out and taken back. Only builds with --fault have this file."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from http import HTTPStatus
from typing import Any

from shop.web import Answer, Environ, Shop

LOG = logging.getLogger(__name__)
LEAK_KB = 64  # for each request, unless the fault says otherwise
CRASHED = 3  # exit status


def bad_shop(fault: str) -> type[Shop]:
    """The shop with a fault.

    Args:
        fault: as given to the build, e.g. "errors:3".
    """
    kind, _, value = fault.partition(":")
    if kind == "errors":
        return _failing(float(value) / 100)
    if kind == "slow":
        return _slow(float(value) / 100)
    if kind == "leak":
        return _leaking(int(value or LEAK_KB) * 1024)
    if kind == "crash":
        return _crashing(float(value))
    return _broken(HTTPStatus.OK if value == "text" else HTTPStatus.INTERNAL_SERVER_ERROR)


def _failing(share: float) -> type[Shop]:
    # Not by chance: of any hundred requests just so many fail, so that what is measured can be compared.
    turns = itertools.count(1)

    class FailingShop(Shop):
        def _work(self, statement: str, **values: int) -> list[dict[str, Any]]:
            turn = next(turns)
            if int(turn * share) > int((turn - 1) * share):
                raise RuntimeError("planted: this request fails")
            return super()._work(statement, **values)

    return FailingShop


def _slow(more: float) -> type[Shop]:
    class SlowShop(Shop):
        def _work(self, statement: str, **values: int) -> list[dict[str, Any]]:
            began = time.perf_counter()
            try:
                return super()._work(statement, **values)
            finally:
                time.sleep((time.perf_counter() - began) * more)

    return SlowShop


def _leaking(size: int) -> type[Shop]:
    kept: list[bytes] = []

    class LeakingShop(Shop):
        def _work(self, statement: str, **values: int) -> list[dict[str, Any]]:
            kept.append(os.urandom(1) * size)
            return super()._work(statement, **values)

    return LeakingShop


def _crashing(seconds: float) -> type[Shop]:
    def crash() -> None:
        LOG.critical("planted: the shop ends after %g s", seconds)
        os._exit(CRASHED)

    class CrashingShop(Shop):
        def __init__(self, *given: Any) -> None:  # noqa: ANN401  # what the shop takes
            super().__init__(*given)
            timer = threading.Timer(seconds, crash)
            timer.daemon = True
            timer.start()

    return CrashingShop


def _broken(status: HTTPStatus) -> type[Shop]:
    class BrokenShop(Shop):
        def _page(self, _: Environ) -> Answer:
            return Answer(status, b"Fatal error: the page could not be made\n", "text/html; charset=utf-8")

    return BrokenShop
