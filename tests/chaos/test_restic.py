"""restic killed in the middle: the next run puts it right by itself, and every backup made before still restores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from testinfra.host import Host

from tests.chaos.faults import a_file, assert_whole, said
from tests.hosts.backups import secret
from tests.hosts.conftest import App, Ran, invoke

pytestmark = pytest.mark.load_sensitive("ends restic in the middle of its work")

On = Callable[[str], Host]
OLD = "20200101T000000Z-0.9.0"

AT, MISSED = "/usr/local/bin/restic", "/usr/local/bin/restic.missed"
TRIES = 5

# Stands before the real restic on PATH: kills it once, at the first moment that the condition holds.
# The moment can be a millisecond, and restic done before the shell runs again: that leaves MISSED.
KILLER = """#!/bin/sh
case " $* " in *' {command} '*) ;; *) exec /usr/bin/restic "$@" ;; esac
mv {at} {missed}
{before}
/usr/bin/restic "$@" &
until {condition}; do kill -0 $! || break; done
kill -KILL $!
wait $!
code=$?
[ $code -ne 137 ] || rm {missed}
exit $code
"""


@dataclass(frozen=True)
class Kill:
    """A command of restic's that is killed.

    Args:
        task: what a person had asked for.
        command: restic's.
        before, condition: shell; {repository} is filled in.
        ends: the task's exit status.
        told: whether a person hears of it; a drill looks twice by itself.
    """

    task: str
    command: str
    before: str
    condition: str
    ends: int
    told: bool = True


LOCKED = "ls {repository}/locks | grep -qv tmp"
COUNT = "count() {{ echo $#; }}; had=$(count {repository}/{what}/*)"
FEWER = "[ $(count {repository}/{what}/*) -lt $had ]"
KILLS = {
    "a backup": Kill("backup", "backup", "", LOCKED, 1),
    "retention, nothing gone yet": Kill("backup", "forget", "", LOCKED, 0),
    "retention, a snapshot gone": Kill(
        "backup", "forget", COUNT.replace("{what}", "snapshots"), FEWER.replace("{what}", "snapshots"), 0
    ),
    "retention, an index gone": Kill(
        "backup", "forget", COUNT.replace("{what}", "index"), FEWER.replace("{what}", "index"), 0
    ),
    "a drill's check": Kill("verify-backups", "check", "", "sleep 0.1", 0, told=False),
    "a drill's restore": Kill("verify-backups", "restore", "", LOCKED, 1),
}


@contextmanager
def killer(host: Host, kill: Kill, repository: str) -> Iterator[None]:
    text = KILLER.format(
        command=kill.command,
        at=AT,
        missed=MISSED,
        before=kill.before.format(repository=repository),
        condition=kill.condition.format(repository=repository),
    )
    with a_file(host, AT, text, "755"):
        yield


def restic(host: Host, app: App, words: str) -> str:
    password = secret(app, "restic").read_text().strip()
    run = host.check_output(f"RESTIC_PASSWORD={password} restic -r /var/backups/slipway/{app.name} --no-cache {words}")
    return str(run)


def add_an_old_one(host: Host, app: App) -> None:
    """A backup so old that the next retention takes it, with much that only it holds."""
    host.check_output(f"head -c 1000000 /dev/urandom >/srv/{app.name}-old")
    tags = f"slipway,app={app.name},id={OLD}"
    restic(host, app, f"backup --time '2020-01-01 00:00:00' --host app1 --tag {tags} /srv/{app.name}-old")
    fields = f'{{id: "{OLD}", created: "2020-01-01T00:00:00Z", repository: .repository}}'
    records = f"cd {app.state}/backups; last=$(ls 2*-1.0.0.json | tail -n 1)"
    host.check_output(f"{records}; jq -c '{fields}' $last >{OLD}.json; : >{OLD}.manifest")


def listed(app: App) -> dict[str, dict[str, Any]]:
    return {str(record["id"]): record for record in invoke("backups", app.env, "--json").json["backups"]}


def kill_in_the_middle(host: Host, app: App, name: str, kill: Kill, repository: str) -> Ran:
    """The task that the kill met: asked for again while restic was quicker than what watches it.

    Raises:
        AssertionError: nothing was killed, so the test would prove nothing.
    """
    for _ in range(TRIES):
        add_an_old_one(host, app)
        host.run(f"rm -f {MISSED}")
        with killer(host, kill, repository):
            met = invoke(kill.task, app.env)
            assert not host.file(AT).exists, f"{name}: restic {kill.command} was never run: {said(met)}"
        if not host.file(MISSED).exists:
            return met
    raise AssertionError(f"{name}: restic was done before it could be killed, {TRIES} times")


def test_restic_killed_in_the_middle(app: App, on: On) -> None:
    """Its lock stops every task after it; or a record stays of a backup that is gone; or an old backup is damaged."""
    app.write(hosts="app1", shared=["data"], backup={"keep": {"within": "7d", "last": 1}})
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    host, repository = on("app1"), f"/var/backups/slipway/{app.name}"
    host.check_output(f"head -c 1000000 /dev/urandom >{app.home}/shared/data/upload")
    assert invoke("backup", app.env).status == 0
    for name, kill in KILLS.items():
        before = listed(app).keys() - {OLD}
        met = kill_in_the_middle(host, app, name, kill, repository)
        assert met.status == kill.ends, (name, said(met))
        assert (f"restic {kill.command} was killed by signal 9" in said(met)) == kill.told, (name, said(met))
        again = invoke("backup", app.env, "--json")
        assert again.status == 0, (name, again.err)
        assert host.check_output(f"ls {repository}/locks") == "", name
        records = listed(app)
        assert records.keys() >= before | {again.json["id"]}, name
        assert OLD not in records, f"{name}: what retention removed has a record still"
        snapshots = {snapshot["id"] for snapshot in json.loads(restic(host, app, "snapshots --json"))}
        assert {record["snapshot"] for record in records.values()} <= snapshots, name

    restic(host, app, "check --read-data")
    verified = invoke("verify-backups", app.env)
    assert verified.status == 0, said(verified)
    for number, id_ in enumerate(sorted(listed(app))):
        restored = invoke("restore", app.env, f"--backup={id_}", f"--to-dir=/srv/{app.name}-{number}")
        assert restored.status == 0, (id_, said(restored))
    assert_whole(app, on, "1.0.0", hosts=["app1"])
    host.run(f"rm -rf {repository} /srv/{app.name}-*")
