"""Root on one host lies in every file that Slipway reads there: the others deploy, back up and go back as ever.

Each lie is put where Slipway itself keeps the truth, so it comes out of the real scripts and goes the real way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from testinfra.host import Host

from tests.hosts.conftest import App, Ran, invoke

On = Callable[[str], Host]
LIAR, HONEST = "app1", "app2"
BACKUP_ID = re.compile(r"\d{8}T\d{6}Z(-[A-Za-z0-9][A-Za-z0-9._+-]{0,63})?")
FUTURE = "99991231T235958Z-9.9.9"


@pytest.fixture
def pair(app: App) -> App:
    """Two hosts that run 1.0.0 of an application with backups; 1.1.0 and 1.2.0 are built."""
    app.write(hosts=f"{LIAR}:{HONEST}", backup={})
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        app.build(version)
    assert app.deploy("1.0.0").status == 0
    return app


def said(ran: Ran) -> str:
    return ran.out + ran.err


def runs(on: On, app: App, host: str = HONEST) -> str:
    """The version that a host's application answers from."""
    return str(on(host).check_output(f"cat {app.home}/current/VERSION"))


def tags(on: On, app: App) -> list[list[str]]:
    """The tags of every snapshot in the honest host's repository."""
    password = (app.folder / "secrets" / "restic").read_text().strip()
    restic = f"RESTIC_PASSWORD={password} restic -r /var/backups/slipway/{app.name} --no-cache"
    return [snapshot["tags"] for snapshot in json.loads(on(HONEST).check_output(f"{restic} snapshots --json"))]


def say_interrupted(on: On, app: App, **words: str) -> None:
    """The liar says that a task ended there without a word."""
    owner = {"who": "eve@x", "what": "deploy 1.1.0", "since": "2026-01-01T00:00:00Z", "task": "deploy", **words}
    on(LIAR).run("printf '%%s\\n' %s >%s", json.dumps(owner), f"{app.state}/interrupted")
    assert on(LIAR).file(f"{app.state}/interrupted").size


def test_a_version_that_is_none_stays_on_its_host(pair: App, on: On) -> None:
    """It became everybody's backup id, file name and tag: `a/b` broke all backups, a comma made tags of another's."""
    about = f"{pair.home}/current/.slipway/release.json"
    for version in ("a/b", "1.5.0,app=other,id=x", "9" * 300):
        on(LIAR).check_output(f"jq -c --arg v '{version}' '.version = $v' {about} >/run/lie && cat /run/lie >{about}")
        made = invoke("backup", pair.env, "--json")
        assert made.status == 0, said(made)
        assert all(BACKUP_ID.fullmatch(record["id"]) for record in made.json["backups"]), made.out
        assert {record["version"] for record in made.json["backups"]} == {"1.0.0"}
        assert f"{LIAR}: the release.json of" in made.err, "a damaged one is told"
    for found in tags(on, pair):
        kinds = sorted(tag.partition("=")[0] for tag in found if not tag.startswith("release="))
        assert (kinds, f"app={pair.name}" in found) == (["app", "id", "slipway"], True), found
    assert pair.deploy("1.1.0").status == 0
    assert runs(on, pair) == "1.1.0"
    # What was changed is no release to go back to; the others go without it, and a person is told.
    went = invoke("rollback", pair.env)
    assert went.status == 3 and f"{LIAR} stays on 1.1.0" in said(went), said(went)
    assert (runs(on, pair), runs(on, pair, LIAR)) == ("1.0.0", "1.1.0")


def test_a_release_named_for_the_far_future_moves_no_other_id(pair: App, on: On) -> None:
    """All later ids were made one second later than it, until the calendar ended and all had the same."""
    old = on(LIAR).check_output(f"readlink {pair.home}/current").removeprefix("releases/")
    on(LIAR).check_output(
        f"cp -a {pair.home}/releases/{old} {pair.home}/releases/{FUTURE} && "
        f"sed -i 's/{old}/{FUTURE}/; s/1\\.0\\.0/9.9.9/g' {pair.home}/releases/{FUTURE}/.slipway/release.json"
    )
    for version in ("1.1.0", "1.2.0"):
        done = pair.deploy(version, "--json")
        assert done.status == 0, said(done)
        assert done.json["id"] < "99"
        assert runs(on, pair) == runs(on, pair, LIAR) == version
        assert f"{LIAR}" in str(done.json["warnings"])
        assert FUTURE in str(done.json["warnings"]), "a person is told what is odd there"
    assert invoke("rollback", pair.env).status == 0
    assert runs(on, pair) == runs(on, pair, LIAR) == "1.1.0"
    # It is the first that goes when there are too many, and never in the place of one that is a way back.
    pair.write(keep_releases=2)
    assert pair.deploy("1.2.0").status == 0
    kept = on(LIAR).check_output(f"ls {pair.home}/releases").split()
    assert FUTURE not in kept
    assert len(kept) == len(on(HONEST).check_output(f"ls {pair.home}/releases").split())


def test_a_host_that_runs_the_future_takes_nobody_s_way_back(pair: App, on: On) -> None:
    """Hosts on the newest release go back, and the others stay: with it there, only the liar ever went back."""
    assert pair.deploy("1.1.0").status == 0
    now = on(LIAR).check_output(f"readlink {pair.home}/current").removeprefix("releases/")
    on(LIAR).check_output(
        f"cd {pair.home} && cp -a releases/{now} releases/{FUTURE} && ln -sfn releases/{FUTURE} current"
    )
    back = invoke("rollback", pair.env)
    assert back.status == 0, said(back)
    assert runs(on, pair) == "1.0.0"
    assert pair.deploy("1.2.0").status == 0, "the liar can be brought back into the fleet by a deploy"
    assert runs(on, pair) == runs(on, pair, LIAR) == "1.2.0"


def test_an_interrupted_task_that_names_a_folder_removes_nothing(pair: App, on: On) -> None:
    """Rollback removes what an interrupted deploy has staged; its id was one host's word, and a path on all of them."""
    victim = f"/srv/{pair.name}-victim"
    on(HONEST).check_output(f"mkdir -p {victim}/.slipway && touch {victim}/dear")
    say_interrupted(on, pair, id=f"../../../srv/{pair.name}-victim", version="1.1.0")
    ran = invoke("rollback", pair.env)
    assert on(HONEST).file(f"{victim}/dear").exists, said(ran)
    assert "is invalid" in said(ran), "a person is told which host says what cannot be"
    resumed = invoke("deploy", pair.env, "--resume")
    assert on(HONEST).file(f"{victim}/dear").exists, said(resumed)
    assert runs(on, pair) == "1.0.0"
    assert pair.deploy("1.1.0").status == 0
    assert runs(on, pair) == "1.1.0"


def test_an_interrupted_task_that_names_a_good_release_removes_it_nowhere(pair: App, on: On) -> None:
    """What is discarded is what a host itself has staged and never proven: not what it could go back to."""
    first = on(HONEST).check_output(f"readlink {pair.home}/current").removeprefix("releases/")
    assert pair.deploy("1.1.0").status == 0
    assert pair.deploy("1.2.0").status == 0
    say_interrupted(on, pair, id=first, version="1.0.0")
    # Going on with it would make it anew, and remove it should the liar fail then.
    resumed = invoke("deploy", pair.env, "--resume")
    assert (resumed.status, "was interrupted there" in resumed.err) == (2, True), said(resumed)
    assert runs(on, pair) == "1.2.0"
    ran = invoke("rollback", pair.env)
    assert on(HONEST).file(f"{pair.home}/releases/{first}/.slipway/complete").exists, said(ran)


def test_what_others_wrote_into_a_shared_repository_deletes_no_file(pair: App, on: On) -> None:
    """Ids came back out of tags: one with a path made root delete that file, one of a good backup its record."""
    host, victim = on(HONEST), f"/etc/{pair.name}-docker"
    pair.write(backup={"keep": {"within": "1d", "last": 1}})
    good = next(r for r in invoke("backup", pair.env, "--json").json["backups"] if r["host"] == HONEST)
    password = (pair.folder / "secrets" / "restic").read_text().strip()
    restic = f"RESTIC_PASSWORD={password} restic -r /var/backups/slipway/{pair.name} --no-cache"
    host.check_output(f"mkdir -p {victim} && echo '{{}}' >{victim}/daemon.json && touch {victim}/daemon.manifest")
    for id_ in (
        f"../../../../..{victim}/daemon",
        f"../../../../../{victim}/*",
        "20200101T000000Z-1/../x",
        good["id"],
        "-rf",
    ):
        host.check_output(
            f"{restic} backup --time '2020-01-01 00:00:00' --host {HONEST}"
            f" --tag 'slipway,app={pair.name},id={id_}' /etc/hostname"
        )
    made = invoke("backup", pair.env, "--json")
    assert made.status == 0, said(made)
    assert host.file(f"{victim}/daemon.json").exists
    assert host.file(f"{victim}/daemon.manifest").exists
    assert host.file(f"{pair.state}/backups/{good['id']}.json").exists, "its snapshot is still there"
    assert made.json["expired"] == []
    assert "tags" in made.err, "what is ignored is told"
    restored = invoke("restore", pair.env, f"--backup={good['id']}", f"--to-dir=/srv/look-{pair.name}")
    assert restored.status == 0, said(restored)


def test_records_that_cannot_be_are_the_liar_s_alone(pair: App, on: On) -> None:
    """A record that lacks what a restore needs ended the task in a fault; one dated 9999 hid all other backups."""
    good = invoke("backup", pair.env, "--json").json["id"]
    records = {
        "99990101T000000Z-9": {"id": "99990101T000000Z-9", "snapshot": "ab" * 32, "repository": "/x", "created": "now"},
        "broken": {"id": "20260101T000000Z-1.0.0", "release": "../../../etc", "created": "2026-01-01T00:00:00Z"},
        "odd": {"id": ["x"], "created": {"a": 1}, "databases": "no", "host": HONEST},
    }
    for name, record in records.items():
        on(LIAR).run("printf '%%s\\n' %s >%s", json.dumps(record), f"{pair.state}/backups/{name}.json")
    listed = invoke("backups", pair.env, "--json")
    assert listed.status == 0, said(listed)
    assert all(BACKUP_ID.fullmatch(record["id"]) for record in listed.json["backups"])
    assert {record["host"] for record in listed.json["backups"] if record["id"] == good} == {LIAR, HONEST}
    restored = invoke("restore", pair.env, f"--to-dir=/srv/newest-{pair.name}", "--json")
    assert (restored.status, restored.json["backup"]) == (0, good), said(restored)
    status = invoke("status", pair.env, "--json")
    (liar,) = (host for host in status.json["hosts"] if host["host"] == LIAR)
    assert len(liar["warnings"]) == len(records), liar
    assert invoke("verify-backups", pair.env).status == 0
