"""A load on a web application, from a process of its own, that counts what became of every single request.

    with loading(Plan("http://10.83.0.10", rate=200)) as load:
        ...
    assert load.report().failed == 0

`python -m lab.load` and `invoke lab.load` do the same by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import multiprocessing
import resource
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from lab.load_client import Client
from lab.load_plan import SHOPPERS, Kind, Plan
from lab.load_report import Report, Sample
from playbooks.core.errors import SlipwayError, UsageError

START_SECONDS = 30.0


class Load:
    """A load that runs in another process until `report` is called.

    Args:
        pipe: the pipe to that process. Closing it ends the load, so the load does not outlive its caller.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._report: Report | None = None

    def report(self) -> Report:
        """End the load, wait for outstanding answers, and return the report.

        Raises:
            SlipwayError: its process has died.
        """
        if self._report is None:
            with contextlib.suppress(OSError):
                self._pipe.send("stop")
            try:
                report = self._pipe.recv()
            except (EOFError, OSError):
                raise SlipwayError("the load's own process has died: what it counted is lost") from None
            if not isinstance(report, Report):
                raise SlipwayError(f"the load failed: {report}")
            self._report = report
        return self._report


@contextmanager
def loading(plan: Plan) -> Iterator[Load]:
    """Run a load until the block ends.

    Raises:
        SlipwayError: the load cannot begin.
    """
    context = multiprocessing.get_context("spawn")  # without the caller's threads and files
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(plan, theirs), daemon=True)
    process.start()
    theirs.close()
    load = Load(ours)
    try:
        if not ours.poll(START_SECONDS) or ours.recv() != "started":
            raise SlipwayError("the load's own process does not start")
        yield load
        load.report()
    finally:
        ours.close()
        process.join(plan.timeout + START_SECONDS)
        if process.is_alive():
            process.kill()


def run_load(plan: Plan) -> Report:
    """Run a load in this process, for as long as the plan says.

    Raises:
        SlipwayError: the plan has no end.
    """
    if plan.seconds is None:
        raise SlipwayError("a load in one's own process needs an end", hint="give --seconds=…")
    return asyncio.run(_run(plan, None))


def _serve(plan: Plan, pipe: Connection) -> None:
    try:
        answer: object = asyncio.run(_run(plan, pipe))
    except Exception as error:  # noqa: BLE001 - told in the other process
        answer = repr(error)
    with contextlib.suppress(OSError):
        pipe.send(answer)


async def _run(plan: Plan, pipe: Connection | None) -> Report:
    _allow_files()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if pipe is not None:
        loop.add_reader(pipe.fileno(), _stopped, pipe, stop)
        pipe.send("started")
    else:
        loop.add_signal_handler(signal.SIGINT, stop.set)  # what was counted until then is told
    if plan.seconds is not None:
        loop.call_later(plan.seconds, stop.set)
    run = _Run(plan, Client(plan), stop)
    began = time.monotonic()
    await (run.open_loop() if plan.rate else run.closed_loop())
    await run.client.close()
    if pipe is not None:
        loop.remove_reader(pipe.fileno())
    lag = sorted(run.lags)[int(0.99 * len(run.lags))] * 1000 if run.lags else 0.0
    return Report(began, time.monotonic(), lag, run.samples)


def _stopped(pipe: Connection, stop: asyncio.Event) -> None:
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    stop.set()


def _allow_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class _Run:
    """The requests of a load."""

    def __init__(self, plan: Plan, client: Client, stop: asyncio.Event) -> None:
        self.client = client
        self.samples: list[Sample] = []
        self.lags: list[float] = []
        self._plan = plan
        self._names = [kind.name for kind in plan.mix]
        self._turns = plan.turns()
        self._stop = stop

    async def open_loop(self) -> None:
        """Send requests on schedule, even if earlier ones are outstanding, so that a slow server gets as many."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in itertools.count():
                due = began + number / self._plan.rate
                late = time.monotonic() - due
                if late < 0:
                    await self._pause(-late)
                if self._stop.is_set():
                    return
                tasks.create_task(self._one(due))

    async def closed_loop(self) -> None:
        """Let each client send its next request after its answer."""
        await asyncio.gather(*(self._client() for _ in range(self._plan.clients)))

    async def _client(self) -> None:
        while not self._stop.is_set():
            await self._one(time.monotonic())
            await asyncio.sleep(0)

    async def _one(self, due: float) -> None:
        self.lags.append(max(0.0, time.monotonic() - due))
        turn = next(self._turns)
        outcome, version = await self.client.ask(turn)
        # Measure from the scheduled time, because waiting for the client would hide a pause (coordinated omission).
        self.samples.append(Sample(due, int((time.monotonic() - due) * 1e6), self._names[turn], outcome, version))

    async def _pause(self, seconds: float) -> None:
        if seconds < 0.05:
            await asyncio.sleep(seconds)
            return
        waiting: Coroutine[Any, Any, bool] = self._stop.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waiting, seconds)


def plan_of(
    url: str, *, seconds: float, rate: float, clients: int, path: str | None = None, header: str | None = None
) -> Plan:
    """Make the plan from the command line.

    Args:
        url: the URL of the application or its balancer.
        seconds, rate, clients: see `Plan`.
        path: request only this path, half on kept connections and half on new ones; default: the shop's mix.
        header: an additional request header, as NAME: VALUE.
    """
    mix = SHOPPERS if path is None else (Kind("kept", path=path), Kind("new", path=path, keep=False))
    name, colon, value = (header or "").partition(":")
    if header and not (colon and name.strip()):
        raise UsageError(f"--header={header} is no header", hint="give NAME: VALUE, e.g. 'Cookie: tester=1'")
    more = {name.strip(): value.strip()} if header else {}
    kinds = [
        Kind(one.name, one.share, one.method, one.path, one.body, {**one.headers, **more}, one.keep, one.expect)
        for one in mix
    ]
    return Plan(url, rate=rate, clients=clients, seconds=seconds, mix=kinds)


def main() -> int:
    """Read the command line and run a load."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("url", help="http://HOST[:PORT]")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second, whatever the answers do")
    parser.add_argument("--clients", type=int, default=0, help="instead: clients that ask one request after another")
    parser.add_argument("--path", help="ask for this only (default: what people do in the example's shop)")
    parser.add_argument("--header", help="one more request header, e.g. 'Cookie: tester=1'")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        plan = plan_of(
            given.url,
            seconds=given.seconds,
            rate=given.rate,
            clients=given.clients,
            path=given.path,
            header=given.header,
        )
        report = run_load(plan)
    except SlipwayError as error:
        sys.stderr.write(f"error: {error}\n")
        return int(error.exit_status)
    sys.stdout.write(json.dumps(report.to_json(), indent=2) + "\n" if given.json else report.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
