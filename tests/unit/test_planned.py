"""--check's stages: what happens on which host, where the traffic goes, for how long and by what it is judged."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from playbooks.environments.environment import Environment
from playbooks.environments.load import load_environment
from playbooks.rollout.planning.preview import BY_HOSTS, planned
from playbooks.rollout.planning.strategy import plan_deploy
from playbooks.strategies.plan import following, seconds

HOSTS = ["app1", "app2", "app3", "app4"]
BALANCER = {"hosts": "edge", "port": 8000}


def environment(folder: Path, limit: str | None = None, **settings: object) -> Environment:
    groups = {"app": {"hosts": dict.fromkeys(HOSTS)}, "edge": {"hosts": {"edge1": None}}}
    values = {"app": "shop", "hosts": "app", "artifact": "x", **settings}
    document = {"all": {"children": groups, "vars": {f"slipway_{key}": value for key, value in values.items()}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(document))
    return load_environment(str(folder), folder, limit=limit)


def test_a_canary_says_who_switches_and_who_gets_how_much(tmp_path: Path) -> None:
    """What a person wants to know before: which hosts, how many users, for how long, and what would stop it."""
    env = environment(tmp_path, balancer=BALANCER)
    stages = planned(env, plan_deploy(env, HOSTS, strategy="canary"), {})
    first, watched = stages[:2]
    assert (first.changes, first.after, first.traffic, first.criteria) == ("app1: switch", (1, 4), "0 %", "")
    assert first.sentence == "to 5 %: app1: switch. The new release is on 1 of 4 hosts then, with 0 % of the traffic"
    assert watched.sentence == (
        "5 % of the traffic for 15 min: errors ≤ 1 %, p95 ≤ 2000 ms, at most 25 % more errors than the old release, "
        f"at most 20 % slower than the old release, {BY_HOSTS}"
    )
    assert (stages[-1].after, stages[-1].traffic) == ((4, 4), "100 %")
    # There is no old release any more that it could be compared with.
    assert stages[-1].sentence == f"100 % of the traffic for 30 min: errors ≤ 0.1 %, p95 ≤ 1000 ms, {BY_HOSTS}"
    document = watched.to_json()
    assert (document["share"], document["watch"]["seconds"]) == (0.05, 900.0)
    assert document["watch"]["criteria"]["errors"] == 0.01


def test_with_slots_it_says_where_the_new_release_starts(tmp_path: Path) -> None:
    """Hosts may differ: one runs in blue, another in green, and one in no slot yet."""
    services = [{"name": "web@", "unit": {"Service": {"ExecStart": "/bin/true"}}}]
    env = environment(tmp_path, balancer=BALANCER, slots={"blue": 8001, "green": 8002}, services=services)
    plan = plan_deploy(env, HOSTS, strategy="blue-green")
    first = planned(env, plan, {"app1": "green", "app2": "green", "app3": "blue"})[0]
    assert first.changes == (
        "app1, app2: start in green, beside the old one; app3: start in blue, beside the old one; app4: switch"
    )
    assert first.traffic == "0 %"


def test_hosts_that_are_left_out_keep_their_part_of_the_traffic(tmp_path: Path) -> None:
    """--limit: one of four hosts is no whole fleet."""
    env = environment(tmp_path, limit="app1", balancer=BALANCER)
    (only,) = planned(env, plan_deploy(env, ["app1"]), {})
    assert (only.after, only.traffic) == ((1, 4), "25 %")
    services = [{"name": "web@", "unit": {"Service": {"ExecStart": "/bin/true"}}}]
    slots = {"slots": {"blue": 8001, "green": 8002}, "services": services}
    env = environment(tmp_path, limit="app1", balancer=BALANCER, **slots)
    at_once = planned(env, plan_deploy(env, ["app1"]), {"app1": "green"})[-1]
    assert (at_once.sentence, at_once.traffic) == ("all of the traffic at once", "25 %")


def test_without_anybody_who_counts_nothing_is_promised(tmp_path: Path) -> None:
    """A limit that nobody can measure would only look like safety."""
    env = environment(tmp_path, rollout={"watch": {"for": "10m"}})
    last = planned(env, plan_deploy(env, HOSTS), {})[-1]
    assert (last.traffic, last.sentence) == ("", f"the watch after the switch for 10 min: {BY_HOSTS}")


def test_what_follows_is_told_up_to_what_is_watched_next(tmp_path: Path) -> None:
    """Who watches a stage wants to know what letting it go on means."""
    env = environment(tmp_path, balancer=BALANCER)
    plan = plan_deploy(env, HOSTS, strategy="canary")
    watched = [stage for stage in plan.stages if stage.watch]
    assert [following(plan, stage) for stage in watched] == [
        "20 % of the traffic for 30 min",
        "3 hosts to switch, then 100 % of the traffic for 30 min",
        "it is done",
    ]


def test_watching_does_not_use_up_the_time_that_a_task_may_take(tmp_path: Path) -> None:
    """The stock ladder takes 75 minutes, a task an hour; a step beyond that would take a good release back."""
    env = environment(tmp_path, balancer=BALANCER)
    plan = plan_deploy(env, HOSTS, strategy="canary")
    rollout = env.settings.rollout
    assert plan.watched(rollout) == 75 * 60 + 3 * rollout.hold
    promoted = rollout.judgement.model_copy(update={"inconclusive": "promote"})
    assert plan.watched(rollout.model_copy(update={"judgement": promoted})) == 75 * 60
    lenient = plan_deploy(env, HOSTS, watch=600.0)
    assert lenient.watched(rollout) == 600


@pytest.mark.parametrize(("value", "text"), [(5.0, "5 s"), (119, "119 s"), (120, "2 min"), (150, "2.5 min")])
def test_durations_are_told_as_they_were_written(value: float, text: str) -> None:
    """90 s is no 1.5 min, and 3600 s no number to read."""
    assert seconds(value) == text
