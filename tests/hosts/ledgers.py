"""Write ledgers on lab hosts with append.sh, and verify and repair them with the command line."""

from __future__ import annotations

import json
from typing import Any

from testinfra.backend.base import CommandResult
from testinfra.host import Host

from playbooks.fleet.script import load
from tests.hosts.conftest import App, Ran, invoke

SCRIPT = load("lib/append")
APPEND = f"{SCRIPT.prelude}\n{SCRIPT.body}"


def verify(app: App, *flags: str) -> Ran:
    """Verify the application's ledgers."""
    return invoke("history", app.env, "--verify", "--json", *flags)


def repair(app: App, *flags: str) -> Ran:
    """Repair the application's ledgers."""
    return invoke("history", app.env, "--repair", "--json", *flags)


def verdicts(ran: Ran) -> dict[str, dict[str, Any]]:
    """Return the result by host."""
    return {host["host"]: host for host in ran.json["hosts"]}


def append(host: Host, state: str, *records: dict[str, Any]) -> CommandResult:
    """Append records on a host with append.sh, as any root user can."""
    texts = [json.dumps(record, ensure_ascii=False) for record in records]
    loop = 'state=$1; shift; for text in "$@"; do append_record "$state" "$text"; done'
    return host.run("sh -c %s sh %s" + " %s" * len(texts), f"{APPEND}\n{loop}", state, *texts)
