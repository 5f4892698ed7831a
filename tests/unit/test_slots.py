"""Two releases beside each other on a host: settings, what is rendered for a slot, and which slot is next."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from playbooks.deploy import render_all
from playbooks.environment import Environment, load_environment
from playbooks.errors import ConfigError
from playbooks.release.artifact import find_artifact
from playbooks.release.release import Release, new_release
from playbooks.release.slots import for_next
from playbooks.rollout.planning import plan_rollback
from playbooks.steps.facts import Facts, ReleaseOnHost

WEB = {"name": "web@", "unit": {"Service": {"ExecStart": "/opt/app/current/run --port=${PORT}"}}}
SLOTS = {"blue": 8001, "green": 8002}
CHECK = {"type": "http", "url": "http://127.0.0.1:{port}/"}


def environment(folder: Path, **settings: Any) -> Environment:
    """An inventory of one host with these settings."""
    place = folder / "inventory" / "some"
    place.mkdir(parents=True, exist_ok=True)
    variables = {f"slipway_{key}": value for key, value in {"app": "app", "services": [WEB], **settings}.items()}
    document = {"all": {"hosts": {"h1": None}, "vars": {**variables, "slipway_artifact": "app-{version}.tar.gz"}}}
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


def test_a_rollback_that_goes_on_moves_the_traffic_also_where_no_host_changes(tmp_path: Path) -> None:
    """Guards have ended it on the hosts, and nobody at the balancer: what is stopped then had all of the traffic."""
    env = environment(tmp_path, slots=SLOTS, health={"checks": [CHECK]})
    assert [(one.hosts, one.share) for one in plan_rollback(env, (), None, going_on=True).stages] == [((), 1.0)]
    assert plan_rollback(env, (), None).stages == ()
