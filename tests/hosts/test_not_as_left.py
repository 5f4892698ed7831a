"""What is on hosts is not always as a deploy left it: somebody made, removed, copied or moved something by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testinfra.host import Host

from tests.hosts.conftest import App, Ran, invoke

On = Callable[[str], Host]


@pytest.fixture
def one(app: App) -> App:
    """An application on one host."""
    app.write(hosts="app1")
    return app


def ship(app: App, version: str, *flags: str) -> Ran:
    """Build a version and deploy it."""
    app.build(version)
    return app.deploy(version, *flags)


def current(app: App, on: On) -> str:
    """The id of the release that runs."""
    return on("app1").check_output("readlink %s/current", app.home).removeprefix("releases/")


def test_only_what_slipway_made_is_pruned(one: App, on: On) -> None:
    """Folders that a person made stay, and their names, whatever is in them, cost no release its place."""
    one.write(keep_releases=3)
    host, releases = on("app1"), f"{one.home}/releases"
    assert ship(one, "1.0").status == 0
    first = current(one, on)
    assert ship(one, "1.1").status == 0
    second = current(one, on)
    by_hand = [f"{first}.bak", f"{second} kept", f"{second}\n{second}", "20200101T000000Z-mine"]
    host.check_output(f"cp -a {releases}/{first} {releases}/{first}.bak")
    for name in by_hand[1:]:
        host.check_output("mkdir %s", f"{releases}/{name}")
    done = ship(one, "1.2")
    assert done.status == 0, done.err
    for name in [first, second, *by_hand]:
        assert host.run("test -d %s", f"{releases}/{name}").rc == 0, name
    for name in ("20200101T000000Z-mine", f"{first}.bak"):
        assert f"releases/{name} is none that Slipway made, and is left alone" in done.err
    assert ship(one, "1.3").status == 0
    assert host.run("test -d %s", f"{releases}/{first}").rc == 1, "what Slipway made is pruned as ever"


def test_a_running_release_whose_folder_was_deleted(one: App, on: On) -> None:
    """Any deploy repairs it, and one that fails goes back to what is there; rollback goes to what ran before."""
    host = on("app1")
    assert ship(one, "1.0").status == 0
    first = current(one, on)
    one.settings["services"].append(
        {"name": f"{one.name}-worker", "unit": {"Service": {"ExecStart": "/bin/sleep infinity"}}}
    )
    one.write()
    assert ship(one, "1.1").status == 0
    gone = current(one, on)
    host.check_output(f"rm -rf {one.home}/releases/{gone}")
    (looked,) = invoke("status", one.env, "--json").json["hosts"]
    assert f"the folder of {gone}, which runs, is gone" in looked["warnings"][0], looked

    one.settings["services"].pop()
    one.write()
    one.build("1.2", line="exit 1")
    failed = one.deploy("1.2")
    assert failed.status == 1, failed.out + failed.err
    assert f"one that fails goes back to releases/{first}" in failed.err
    assert current(one, on) == first
    assert host.check_output(f"curl -s localhost:{one.port}/VERSION") == "1.0"
    assert host.run(f"systemctl cat {one.name}-worker").rc == 1, "nothing is left of what is gone"

    assert ship(one, "1.3").status == 0
    host.check_output(f"rm -rf {one.home}/releases/{current(one, on)}")
    back = invoke("rollback", one.env)
    assert back.status == 0, back.err
    assert current(one, on) == first
    host.check_output(f"rm -rf {one.home}/releases/{first}")
    assert one.deploy("1.0").status == 0, "the very version that was deleted"
    assert host.check_output(f"curl -s localhost:{one.port}/VERSION") == "1.0"


def test_current_is_a_folder(one: App, on: On) -> None:
    """It is seen before anything is staged, on a host that is new, too; and what is said to do helps."""
    host = on("app1")
    one.build("1.0")
    host.check_output(f"mkdir -p {one.home}/current")
    for task in (one.deploy("1.0"), one.deploy("1.0", "--check"), invoke("rollback", one.env)):
        assert task.status in (1, 2), task.out + task.err
        assert f"{one.home}/current is a directory, and not the link to the release that runs" in task.err
        assert f"mv {one.home}/current {one.home}/current.by-hand" in task.err
    assert host.check_output(f"ls {one.home}") == "current"
    host.check_output(f"mv {one.home}/current {one.home}/current.by-hand")
    assert one.deploy("1.0").status == 0
    first = current(one, on)
    host.check_output(f"cd {one.home} && cp -rL current copy && rm current && mv copy current")
    refused = ship(one, "1.1")
    assert refused.status == 1 and "current is a directory" in refused.err
    shown = invoke("status", one.env)
    assert shown.status == 3 and "current is a directory" in shown.out + shown.err
    assert host.check_output(f"ls -A {one.home}").split() == ["current", "current.by-hand", "releases", "shared"]
    host.check_output(f"cd {one.home} && mv current current.copy && ln -s releases/{first} current")
    assert one.deploy("1.1").status == 0
