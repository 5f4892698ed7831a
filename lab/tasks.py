"""The lab's tasks: real hosts on this machine to try Slipway on."""

from __future__ import annotations

import json as document
import sys
from collections.abc import Callable

from invoke import Context, task
from invoke.exceptions import Exit

from lab.spec import DEFAULT_NAME, environment_of, find_lab
from playbooks.core.errors import ControllerError, ExitStatus, Interrupted, SlipwayError, UsageError, error_document

NAME = "which lab; several can be up at once"
DEFAULT_RATE = 100  # of a load, requests a second
JSON = "print one JSON document on standard output, and nothing else"


@task(help={"hosts": "application hosts; one edge and one database host come with them", "name": NAME, "json": JSON})
def up(c: Context, hosts: str = "3", name: str = DEFAULT_NAME, json: bool = False) -> None:
    """Bring real systemd hosts up on this machine (root, Debian)."""
    from lab import up as run
    from playbooks.cli.flag_values import number

    def act() -> None:
        lab, _ = run.up(name, hosts=number("hosts", hosts))
        _show(name, as_json=json)
        if not json:
            env = environment_of(lab)
            sys.stdout.write(f"\nNext: invoke provision --env={env}, then invoke deploy --env={env}\n")

    _told(act, as_json=json)


@task(help={"name": NAME, "all": "every lab there is", "json": JSON})
def down(c: Context, name: str = DEFAULT_NAME, all: bool = False, json: bool = False) -> None:
    """Take the hosts down and remove everything of them."""
    from lab import up as run

    def act() -> None:
        labs = run.labs() if all else [name]
        for one in labs:
            run.down(one)
            sys.stderr.write(f"lab {one} is down\n")
        if all:
            run.remove_old_bases()
        if json:
            sys.stdout.write(document.dumps({"down": labs}, indent=2) + "\n")

    _told(act, as_json=json)


@task(help={"name": NAME, "json": JSON})
def status(c: Context, name: str = DEFAULT_NAME, json: bool = False) -> None:
    """Show the hosts and whether they are up."""
    _told(lambda: _show(name, as_json=json), as_json=json)


@task(
    positional=[],
    help={
        "url": "http://HOST[:PORT] (default: the lab's edge)",
        "name": NAME,
        "seconds": "how long",
        "rate": "requests a second, whatever the answers do",
        "clients": "instead of a rate: so many clients that ask one request after another",
        "path": "ask for this only (default: what people do in the example's shop)",
        "header": "one more request header, e.g. 'Cookie: tester=1'",
        "json": JSON,
    },
)
def load(
    c: Context,
    url: str | None = None,
    name: str = DEFAULT_NAME,
    seconds: str = "10",
    rate: str = "0",
    clients: str = "0",
    path: str | None = None,
    header: str | None = None,
    json: bool = False,
) -> None:
    """Put load on, count what becomes of every request; status 1 if one failed."""
    from lab.load import plan_of, run_load
    from playbooks.cli.flag_values import number

    def act() -> None:
        plan = plan_of(
            url or f"http://{_edge(name)}",
            seconds=number("seconds", seconds),
            rate=number("rate", rate) if rate != "0" else 0 if clients != "0" else DEFAULT_RATE,
            clients=number("clients", clients) if clients != "0" else 0,
            path=path,
            header=header,
        )
        report = run_load(plan)
        sys.stdout.write(document.dumps(report.to_json(), indent=2) + "\n" if json else report.text())
        if report.failed:
            raise Exit(code=int(ExitStatus.FAILED))

    _told(act, as_json=json)


def _edge(name: str) -> str:
    """The address of a lab's balancer; a lab that is not up has none: its network may be somebody else's."""
    from lab import up as run

    address = next((host.address for host, is_up in run.status(name) if host.role == "edge" and is_up), None)
    if address is None:
        raise UsageError(f"lab {name} is down", hint=f"invoke lab.up --name={name}, or give --url=http://HOST")
    return address


def _show(name: str, *, as_json: bool) -> None:
    from lab import up as run

    rows = run.status(name)
    if as_json:
        hosts = [{"host": h.name, "role": h.role, "address": h.address, "up": is_up} for h, is_up in rows]
        answer = {"lab": name, "env": environment_of(find_lab(name)), "hosts": hosts}
        sys.stdout.write(document.dumps(answer, indent=2) + "\n")
        return
    for host, is_up in rows:
        sys.stdout.write(f"{host.name:<8} {host.role:<5} {host.address:<14} {'up' if is_up else 'off'}\n")
    if not rows:
        sys.stdout.write(f"lab {name} is down\n")


def _told(act: Callable[[], None], *, as_json: bool = False) -> None:
    """End the task as all tasks end: a sentence (with --json also a document), and the error's status."""
    error: SlipwayError | None = None
    try:
        act()
    except SlipwayError as caught:
        error = caught
    except KeyboardInterrupt:
        error = Interrupted("stopped by Ctrl-C", hint="invoke lab.up goes on from here, invoke lab.down clears it away")
    except OSError as caught:
        error = ControllerError(f"{caught.strerror}: {caught.filename}" if caught.filename else str(caught))
    if error is None:
        return
    sys.stderr.write(f"error: {error}\n")
    if as_json:
        sys.stdout.write(document.dumps(error_document(error), indent=2, ensure_ascii=False) + "\n")
    raise Exit(code=int(error.exit_status))
