"""restic killed in the middle: the next run puts it right by itself, and every backup made before still restores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from testinfra.host import Host

from tests.chaos.faults import a_file, assert_whole, said
from tests.hosts.backups import secret
from tests.hosts.conftest import App, invoke

On = Callable[[str], Host]
OLD = "20200101T000000Z-0.9.0"

# Stands before the real restic on PATH: kills it once, at the first moment that the condition holds.
KILLER = """#!/bin/sh
case " $* " in *' {command} '*) ;; *) exec /usr/bin/restic "$@" ;; esac
rm -f /usr/local/bin/restic
{before}
/usr/bin/restic "$@" &
until {condition}; do kill -0 $! || exit 99; done
kill -KILL $!
wait $!
"""


@dataclass(frozen=True)
class Kill:
    """A command of restic's that is killed.

    Args:
        task: what a person had asked for.
        command: restic's.
        before, condition: shell; {repository} is filled in.
        ends: the task's exit status.
    """

    task: str
    command: str
    before: str
    condition: str
    ends: int


LOCKED = '[ -n "$(ls {repository}/locks)" ]'
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
    "a drill's check": Kill("verify-backups", "check", "", "sleep 0.3", 1),
    "a drill's restore": Kill("verify-backups", "restore", "", LOCKED, 1),
}


@contextmanager
def killer(host: Host, kill: Kill, repository: str) -> Iterator[None]:
    text = KILLER.format(
        command=kill.command,
        before=kill.before.format(repository=repository),
        condition=kill.condition.format(repository=repository),
    )
    with a_file(host, "/usr/local/bin/restic", text, "755"):
        yield


@pytest.fixture
def kept(app: App, on: On) -> App:
    """1.0.0 with data and a backup of it; and a backup so old that the next retention takes it."""
    app.write(hosts="app1", shared=["data"], backup={"keep": {"within": "7d", "last": 1}})
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    host = on("app1")
    host.check_output(f"head -c 3000000 /dev/urandom >{app.home}/shared/data/upload")
    made = invoke("backup", app.env, "--json")
    assert made.status == 0, made.err
    host.check_output(f"head -c 3000000 /dev/urandom >/srv/{app.name}-old")
    tags = f"slipway,app={app.name},id={OLD}"
    restic(host, app, f"backup --time '2020-01-01 00:00:00' --host app1 --tag {tags} /srv/{app.name}-old")
    last = f"{app.state}/backups/{made.json['id']}"
    host.check_output(
        f"jq -c '.id = \"{OLD}\"' {last}.json >{app.state}/backups/{OLD}.json; : >{app.state}/backups/{OLD}.manifest"
    )
    return app


def restic(host: Host, app: App, words: str) -> str:
    password = secret(app, "restic").read_text().strip()
    run = host.check_output(f"RESTIC_PASSWORD={password} restic -r /var/backups/slipway/{app.name} --no-cache {words}")
    return str(run)


@pytest.mark.parametrize("name", KILLS)
def test_restic_killed_in_the_middle(kept: App, on: On, name: str) -> None:
    """Its lock stops every task after it; or a record stays of a backup that is gone; or an old backup is damaged."""
    kill, host = KILLS[name], on("app1")
    repository = f"/var/backups/slipway/{kept.name}"
    before = {record["id"] for record in invoke("backups", kept.env, "--json").json["backups"]} - {OLD}
    with killer(host, kill, repository):
        met = invoke(kill.task, kept.env)
        assert not host.file("/usr/local/bin/restic").exists, "nothing was killed; the test proves nothing"
    assert met.status == kill.ends, said(met)
    assert f"restic {kill.command} was killed by signal 9" in said(met)

    again = invoke("backup", kept.env, "--json")
    assert again.status == 0, again.err
    verified = invoke("verify-backups", kept.env)
    assert verified.status == 0, said(verified)
    assert host.check_output(f"ls {repository}/locks") == ""
    restic(host, kept, "check --read-data")

    records = {record["id"]: record for record in invoke("backups", kept.env, "--json").json["backups"]}
    assert records.keys() >= before | {again.json["id"]}
    assert OLD not in records, "what retention removed has no record any more"
    snapshots = {snapshot["id"] for snapshot in json.loads(restic(host, kept, "snapshots --json"))}
    assert {record["snapshot"] for record in records.values()} <= snapshots
    for number, id_ in enumerate(sorted(before)):
        restored = invoke("restore", kept.env, f"--backup={id_}", f"--to-dir=/srv/{kept.name}-{number}")
        assert restored.status == 0, said(restored)
    assert_whole(kept, on, "1.0.0", hosts=["app1"])
    host.run(f"rm -rf {repository} /srv/{kept.name}-*")
