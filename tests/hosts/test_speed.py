"""What a deploy sends and waits for, counted; and that what saves it never costs the backup or the old release."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.conftest import APPS, App, Ran, invoke, wait_until

pytestmark = pytest.mark.load_sensitive("the network is slow on purpose, and time limits hold")

On = Callable[[str], Host]
MEGABYTE = 1024 * 1024
FILES = 100
# Bytes of the scripts of a whole deploy: they are sent each time.
SCRIPTS = 360_000
MAX_ROUND_TRIPS = 8


def large(app: App, version: str, changed: Mapping[str, bytes] | None = None) -> Path:
    """An artifact of 10 MB that cannot be compressed, the same each time but for what is changed."""
    noise = random.Random(1)  # noqa: S311 - the same bytes each time are wanted
    files = {f"data/{number:03}": noise.randbytes(10 * MEGABYTE // FILES) for number in range(FILES)}
    return app.build(version, {**files, **(changed or {})})


def timings(ran: Ran) -> dict[str, Any]:
    assert ran.status == 0, ran.err
    found: dict[str, Any] = ran.json["timings"]["hosts"]
    return found


def sent(ran: Ran) -> dict[str, int]:
    """Bytes that went to each host."""
    return {host: one["bytes_out"] for host, one in timings(ran).items()}


def backups(app: App) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = invoke("backups", app.env, "--json").json["backups"]
    return found


@pytest.fixture
def shop(app: App) -> App:
    """An application of 10 MB, deployed. On a lab's line a delta of it would not pay."""
    app.write(deltas="always")
    artifact = large(app, "1.0.0")
    first = app.deploy("1.0.0", "--timings", "--json")
    assert min(sent(first).values()) > artifact.stat().st_size, "the first deploy cannot have sent less than all of it"
    return app


def test_a_deploy_waits_for_eight_round_trips_a_host(shop: App) -> None:
    """At 50 ms each more one is 50 ms of every deploy."""
    large(shop, "1.1.0")
    found = {host: one["round_trips"] for host, one in timings(shop.deploy("1.1.0", "--timings", "--json")).items()}
    assert set(found) == set(APPS)
    assert max(found.values()) <= MAX_ROUND_TRIPS


def test_what_has_not_changed_is_not_sent(shop: App, on: On) -> None:
    """Sending all of 200 MB to fifty hosts for one changed file is what keeps people from deploying often."""
    new = bytes(reversed(range(250))) * 400
    artifact = large(shop, "1.1.0", {"data/007": new})
    ran = shop.deploy("1.1.0", "--timings", "--json")
    assert max(sent(ran).values()) < SCRIPTS + 0.005 * artifact.stat().st_size
    for name in APPS:
        current = f"{shop.home}/current"
        assert on(name).file(f"{current}/data/007").content == new
        assert on(name).file(f"{current}/VERSION").content_string == "1.1.0\n"
        assert on(name).run(f"cd {current} && sha256sum --check --quiet .slipway/manifest").rc == 0
        listed = on(name).check_output(f"cut -c67- {current}/.slipway/manifest | grep -v '^./.slipway/'").splitlines()
        there = (
            on(name).check_output(f"cd -P {current} && find . -path ./.slipway -prune -o -type f -print").splitlines()
        )
        assert listed == sorted(there), "what was not read belongs to the release all the same"
        # What is shared by two releases is as it was in the first.
        assert on(name).run(f"cd {shop.home}/releases/*-1.0.0 && sha256sum --check --quiet .slipway/manifest").rc == 0


def test_an_artifact_that_hosts_have_is_not_sent_again(shop: App, on: On) -> None:
    """A change of the configuration alone resent all of it; on a fast line a delta that does not pay is not made."""
    templates = shop.folder / "inventory" / "templates"
    templates.mkdir(parents=True)
    (templates / "own.j2").write_text("changed\n")
    shop.write(deltas=True, config=[{"template": "own.j2", "dest": "data/own.env"}])
    ran = shop.deploy("1.0.0", "--timings", "--json")
    assert max(sent(ran).values()) < SCRIPTS, "no more than scripts and what is rendered"
    for name in APPS:
        current = f"{shop.home}/current"
        assert on(name).file(f"{current}/data/own.env").content_string == "changed\n"
        assert on(name).run(f"cd {current} && sha256sum --check --quiet .slipway/manifest").rc == 0
        assert on(name).check_output(f"ls {current}/data | wc -l") == str(FILES + 1)


def test_a_few_bytes_in_a_large_file_are_sent_as_a_few_bytes(shop: App, on: On) -> None:
    """A program that is one large file would be sent whole for every change."""
    large_file = bytearray(random.Random(3).randbytes(8 * MEGABYTE))  # noqa: S311
    large(shop, "1.1.0", {"program": bytes(large_file)})
    assert shop.deploy("1.1.0").status == 0
    large_file[5 * MEGABYTE : 5 * MEGABYTE + 1000] = bytes(1000)
    artifact = large(shop, "1.2.0", {"program": bytes(large_file)})
    assert max(sent(shop.deploy("1.2.0", "--timings", "--json")).values()) < SCRIPTS + 0.005 * artifact.stat().st_size
    assert on("app2").file(f"{shop.home}/current/program").content == bytes(large_file)


def test_a_base_that_is_not_what_it_was_costs_bytes_and_nothing_else(shop: App, on: On) -> None:
    """A release put together from a damaged one would be damaged in the same place, and healthy."""
    on("app2").run(f"printf x | dd of={shop.home}/current/data/042 bs=1 seek=100 conv=notrunc")
    artifact = large(shop, "1.1.0", {"data/007": b"new"})
    found = sent(shop.deploy("1.1.0", "--timings", "--json"))
    assert found["app2"] > artifact.stat().st_size
    assert found["app1"] < SCRIPTS + 0.005 * artifact.stat().st_size
    for name in APPS:
        assert on(name).run(f"cd {shop.home}/current && sha256sum --check --quiet .slipway/manifest").rc == 0
    one, two = (on(name).file(f"{shop.home}/current/data/042").content for name in ("app1", "app2"))
    assert one == two


def test_hooks_that_write_into_their_release_leave_the_one_before_alone(shop: App, on: On) -> None:
    """A file that is linked into two releases, and written to by one's hook, changes what a rollback goes back to."""
    shop.write(hooks={"install": [{"run": "printf y | dd of=data/001 bs=1 conv=notrunc 2>/dev/null"}]})
    large(shop, "1.1.0", {"data/007": b"new"})
    assert shop.deploy("1.1.0").status == 0
    for name in APPS:
        assert on(name).file(f"{shop.home}/current/data/001").content[:1] == b"y"
        assert on(name).run(f"cd {shop.home}/releases/*-1.0.0 && sha256sum --check --quiet .slipway/manifest").rc == 0


def test_a_release_is_backed_up_after_its_deploy_and_only_proven_before_the_next(app: App, on: On) -> None:
    """A backup that is believed to hold what it does not is worse than a slow one (A2)."""
    app.write(backup={"paths": ["/srv/speed"]})
    for name in APPS:
        on(name).run("mkdir -p /srv/speed; echo one >/srv/speed/data")
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0

    def ids() -> list[set[str]]:
        listed = backups(app)
        return [{record["id"] for record in listed if record["host"] == name} for name in APPS]

    # The first deploy found data and no release, and left a backup of both.
    wait_until(lambda: all(len(found) == 2 for found in ids()), seconds=60)
    before = max(set.union(*ids()))

    app.build("1.1.0")
    second = app.deploy("1.1.0", "--json")
    assert second.json["backup"] == before, "nothing had changed, and yet a new backup was made"
    wait_until(lambda: all(len(found) == 3 for found in ids()), seconds=60)

    # Of the same size, within the same second or not: it counts on one host, so it counts for all.
    on("app3").run("echo two >/srv/speed/data")
    app.build("1.2.0")
    third = app.deploy("1.2.0", "--json").json["backup"]
    assert third not in {before, *set.union(*ids()) - {third}}
    records = [record for record in backups(app) if record["id"] == third]
    assert {record["host"] for record in records} == set(APPS)

    # A release that somebody has changed behind our back is not what was backed up either.
    on("app1").run(f"echo changed >>{app.home}/current/VERSION")
    wait_until(lambda: all(len(found) == 5 for found in ids()), seconds=60)
    newest = max(set.union(*ids()))
    app.build("1.3.0")
    assert app.deploy("1.3.0", "--json").json["backup"] not in (newest, None)


def test_a_backup_that_failed_in_the_background_is_told_and_made_up_for(app: App, on: On) -> None:
    """Nobody watches a background task; what it could not do must show where people look."""
    app.write(backup={})
    app.build("1.0.0")
    # As staging does beside the backup.
    on("app1").check_output(f"mkdir -p {app.home}/shared/uploads")
    first = app.deploy("1.0.0", "--json")
    assert (first.status, first.json["backup"]) == (0, None), "there was nothing to back up"
    wait_until(
        lambda: all({r["host"] for r in backups(app) if r["version"] == "1.0.0"} >= {n} for n in APPS), seconds=60
    )
    app.build("1.1.0")
    broken = "printf '#!/bin/sh\\nexit 1\\n' >/usr/bin/restic; chmod 755 /usr/bin/restic"
    on("app2").run(f"mv /usr/bin/restic /usr/bin/restic.away; {broken}")
    try:
        assert app.deploy("1.1.0").status == 0
        wait_until(lambda: "not backed up" in invoke("status", app.env).out, seconds=60)
    finally:
        on("app2").run("mv /usr/bin/restic.away /usr/bin/restic")
    app.build("1.2.0")
    third = app.deploy("1.2.0", "--json")
    assert third.status == 0
    assert {r["host"] for r in backups(app) if r["id"] == third.json["backup"]} == set(APPS)
    wait_until(lambda: "not backed up" not in invoke("status", app.env).out, seconds=60)
