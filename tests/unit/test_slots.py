"""Two releases beside each other on a host: settings, what is rendered for a slot, and which slot is next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from playbooks.check_rollback import rollback_actions
from playbooks.core.artifact import Release
from playbooks.core.errors import ConfigError
from playbooks.environments.environment import Environment
from playbooks.environments.load import load_environment
from playbooks.releases.find_artifact import find_artifact
from playbooks.releases.render import new_release
from playbooks.releases.renderings import for_next, render_all
from playbooks.rollback import takes_the_place
from playbooks.rollout.mover import Move
from playbooks.rollout.planning.strategy import plan_deploy, plan_rollback
from playbooks.steps.check_release import Checked
from playbooks.steps.facts import Facts, ReleaseOnHost
from playbooks.traffic.host_backends import places_of
from playbooks.traffic.shares import TrafficSplit, guard_weights, server_weights

WEB = {"name": "web@", "unit": {"Service": {"ExecStart": "/opt/app/current/run --port=${PORT}"}}}
SLOTS = {"blue": 8001, "green": 8002}
MIXED = {"h1": "blue", "h2": "green", "h3": None}
CHECK = {"type": "http", "url": "http://127.0.0.1:{port}/"}


def environment(folder: Path, **settings: Any) -> Environment:
    """An inventory of four hosts with these settings."""
    place = folder / "inventory" / "some"
    place.mkdir(parents=True, exist_ok=True)
    variables = {f"slipway_{key}": value for key, value in {"app": "app", "services": [WEB], **settings}.items()}
    document = {
        "all": {
            "hosts": dict.fromkeys(("h1", "h2", "h3", "edge")),
            "vars": {**variables, "slipway_artifact": "app-{version}.tar.gz"},
        }
    }
    (place / "hosts.yml").write_text(yaml.safe_dump(document))
    (folder / "app-1.0.0.tar.gz").write_bytes(b"x")
    if not (folder / "templates").exists():
        (folder / "templates").symlink_to(Path(__file__).resolve().parent.parent.parent / "templates")
    return load_environment("some", folder)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs instances, or slots"),
        ({"slots": {"blue": 8001}}, "exactly two"),
        ({"slots": {"blue": 8001, "green": 8001}}, "a port of its own"),
        ({"slots": {"blue": 8001, "Green 2": 8002}}, "slots"),
        ({"slots": SLOTS, "services": [{**WEB, "name": "web"}]}, "no service runs in them"),
        ({"slots": SLOTS, "services": [{**WEB, "socket": "8000"}]}, "ports of their own"),
        ({"services": [{**WEB, "name": "web"}], "health": {"checks": [CHECK]}}, "there are no slots"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    """Each would be met on a host in the middle of a deploy."""
    with pytest.raises(ConfigError, match=said):
        environment(tmp_path, **settings)


@pytest.mark.parametrize(
    ("runs", "goes", "told"),
    [
        # in a slot, from the other one
        (
            ("green", "app@green.service"),
            ("blue", "app@blue.service"),
            [
                "start 1-1 in slot blue on port 8001, beside what runs in slot green, which goes on serving until the "
                "traffic moves",
                "wait for http://127.0.0.1:8001/, 300 s at the most",
                "once it has moved: stop what runs in slot green (app@green.service)",
            ],
        ),
        # in the very slot that is taken
        (
            ("blue", "app@blue.service"),
            ("blue", "app@blue.service"),
            [
                "out",
                "switch to 1-1, by a rename; it runs in slot blue",
                "restart app@blue.service on port 8001",
                "wait",
            ],
        ),
        # from a slot to in place, and the other way round
        (
            ("green", "app@green.service"),
            (None, "app.service"),
            [
                "out",
                "stop what runs in slot green (app@green.service)",
                "switch to 1-1, by a rename; it runs in place",
                "start app.service",
                "leave out http://127.0.0.1:{port}/: a release in place has no port of a slot",
                "wait",
            ],
        ),
        (
            (None, "app.service"),
            ("blue", "app@blue.service"),
            [
                "out",
                "stop what runs in place (app.service)",
                "switch to 1-1, by a rename; it runs in slot blue",
                "start app@blue.service on port 8001",
                "wait",
            ],
        ),
    ],
)
def test_a_rollback_says_what_it_would_do(
    tmp_path: Path, runs: tuple[str | None, str], goes: tuple[str | None, str], told: list[str]
) -> None:
    """A dry run that tells of a rename alone hides that what runs is stopped, and that nobody asks what comes."""
    balancer = {"hosts": "edge", "health_path": "/"}
    env = environment(tmp_path, slots=SLOTS, health={"checks": [CHECK]}, balancer=balancer, hosts="h1:h2:h3")
    running = ReleaseOnHost("2-2", "proven", None, {"version": "2", **({"slot": runs[0]} if runs[0] else {})})
    fact = replace(on_host_bare(), current="2-2", releases={"2-2": running})
    move = Move("h1", "2-2", "1-1", (goes[1],), (runs[1],), goes[0], fallback="2-2")
    plan = plan_rollback(env, ["h1"], None, in_place=takes_the_place(fact, goes[0]))
    checked = Checked("intact", "", (goes[1],), goes[0])
    said = list(rollback_actions(env.target("h1").settings, fact, move, checked, plan))
    short = {"out": "take the host out of the traffic"}
    assert len(said) == len(told), said
    assert all(
        one == short.get(wanted, wanted) or one.startswith("wait ") for one, wanted in zip(said, told, strict=True)
    )


def on_host_bare() -> Facts:
    return Facts("h1", "", 252, "running", 0, 0, 0, (), {}, None, 0, {}, (), (), None, None, None)


def on_host(release: Release, slot: str | None) -> Facts:
    """A host that runs a release."""
    about = {"version": release.version, **({"slot": slot} if slot else {})}
    running = ReleaseOnHost(release.id, "proven", None, about)
    return Facts(
        "h1", "", 252, "running", 0, 0, 0, (), {}, release.id, 0, {release.id: running}, (), (), None, None, None
    )


def test_a_release_is_made_for_a_slot_and_names_itself(tmp_path: Path) -> None:
    """A unit of the old slot that restarts through current would come up as the new release."""
    env = environment(tmp_path, slots=SLOTS, health={"checks": [CHECK]})
    release = new_release(find_artifact(env))
    both = render_all(env, release)
    blue, green = both["h1"]["blue"], both["h1"]["green"]
    unit = green.units["web@green.service"].decode()
    assert f"ExecStart=/opt/app/releases/{release.id}/run" in unit
    assert f"WorkingDirectory=/opt/app/releases/{release.id}\n" in unit
    assert "PORT=8002" in unit
    assert (green.start, blue.start) == (("web@green.service",), ("web@blue.service",))
    later = render_all(env, replace(release, id="20300101T000000Z-1.0.0"))
    assert later["h1"]["green"].digest == green.digest != blue.digest, "or the same version would be deployed for ever"

    assert for_next(both, {})["h1"] is blue
    assert for_next(both, {"h1": on_host(release, "blue")})["h1"] is green
    assert for_next(both, {"h1": on_host(release, "green")})["h1"] is blue
    assert for_next(both, {"h1": on_host(release, None)})["h1"] is blue, "it turns from running in place"


@pytest.mark.parametrize(
    ("now", "then", "stops"),
    [("blue", None, True), (None, "blue", True), ("blue", "blue", True), (None, None, True), ("green", "blue", False)],
)
def test_only_from_slot_to_slot_nothing_has_to_stop_for_the_way_back(
    tmp_path: Path, now: str | None, then: str | None, stops: bool
) -> None:
    """From slots to one place it was planned as if the two could run at once, and all hosts stopped in one second."""
    env = environment(tmp_path, slots=SLOTS, balancer={"hosts": "all", "port": 80})
    fact = on_host(new_release(find_artifact(env)), now)
    found = takes_the_place(fact, then)
    assert found == stops
    plan = plan_rollback(env, ["h1", "h2", "h3", "h4"], None, in_place=found)
    assert plan.host_by_host == stops
    assert [len(stage.hosts) for stage in plan.stages] == ([2, 2] if stops else [4, 0])


def test_a_fleet_that_turns_has_its_traffic_where_each_host_runs(tmp_path: Path) -> None:
    """After a deploy of hosts in slots and in none all of it was left on the one old slot that was about to stop."""
    env = environment(tmp_path, slots=SLOTS, balancer={"hosts": "edge", "port": 80}, hosts="h1:h2:h3")
    release = new_release(find_artifact(env))
    hosts = {host: replace(on_host(release, slot), host=host) for host, slot in MIXED.items()}
    plan = plan_deploy(env, list(hosts), in_place=True)
    places = places_of(env, hosts, {"h1": "green", "h2": None, "h3": "blue"}, host_by_host=plan.host_by_host)

    def asked(moved: str = "", out: str = "") -> set[str]:
        shares = server_weights(places, TrafficSplit(frozenset(moved.split()), frozenset(out.split())))
        assert not any(share.on and share.idle for share in shares)
        return {share.server.name for share in shares if share.on and share.weight}

    assert asked() == {"h1-blue", "h2-green", "h3-blue"}
    assert asked(out="h1") == {"h2-green", "h3-blue"}
    assert asked(moved="h1", out="h2") == {"h1-green", "h3-blue"}
    assert asked(moved="h1 h2", out="h3") == {"h1-green", "h2-blue"}
    assert asked(moved="h1 h2 h3") == {"h1-green", "h2-blue", "h3-blue"}
    now, then = guard_weights(places, TrafficSplit(frozenset({"h1"})))
    assert {share.server.name for share in now if share.on} == {"h2-green", "h3-blue"}
    assert {share.server.name for share in then if share.on} == {"h1-blue", "h2-green", "h3-blue"}
    _, then = guard_weights(places, TrafficSplit(frozenset({"h1"})), forward=True)
    assert {share.server.name for share in then if share.on} == {"h1-green", "h2-blue", "h3-blue"}
