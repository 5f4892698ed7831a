"""What is on hosts is not always as a deploy left it: somebody made, removed, copied or moved something by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from testinfra.host import Host

from tests.hosts.conftest import App, Ran

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
