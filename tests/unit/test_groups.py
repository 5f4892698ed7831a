"""Blue-green with two groups of hosts (B2): who is live, who changes, who gets the traffic, where a rollback goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from playbooks.core.errors import ConfigError, UsageError
from playbooks.environments.environment import Environment
from playbooks.environments.load import load_environment
from playbooks.fleet.lock_owner import LockOwner
from playbooks.rollout.planning.outdated_hosts import whole_group
from playbooks.rollout.planning.preview import planned
from playbooks.rollout.planning.rollback_target import choose_for_group
from playbooks.rollout.planning.strategy import plan_deploy, plan_rollback
from playbooks.status import HostStatus, Status
from playbooks.steps.facts import Facts, ReleaseOnHost
from playbooks.steps.traffic import Server, ServerWeight
from playbooks.steps.traffic_state import Admin, BalancerState, ServerState
from playbooks.traffic.groups import Groups, live_group
from playbooks.traffic.shares import HostBackends, TrafficSplit, find_unchanged, guard_weights, server_weights

WEB = {"name": "web@", "unit": {"Service": {"ExecStart": "/x"}}}
BLUE, GREEN = ("a1",), ("b1", "b2")
GROUPS = Groups("blue", "green", BLUE, GREEN, {})
MEMBERS = {"blue": BLUE, "green": GREEN}
PLACES = [
    *(HostBackends(host, Server(host, "::1", 80), Server(host, "::1", 80), live=True) for host in BLUE),
    *(HostBackends(host, None, Server(host, "::1", 80), live=False) for host in GREEN),
]
ALL, NEW = frozenset(BLUE + GREEN), frozenset(GREEN)


def environment(folder: Path, limit: str | None = None, **settings: Any) -> Environment:
    variables = {
        "app": "app",
        "hosts": "app",
        "groups": {"blue": "a1", "green": "b1:b2"},
        "balancer": {"hosts": "edge1", "port": 80},
        **settings,
    }
    tree = {
        "all": {
            "vars": {f"slipway_{key}": value for key, value in variables.items()},
            "children": {"app": {"hosts": dict.fromkeys(sorted(ALL))}, "edge": {"hosts": {"edge1": None}}},
        }
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump(tree))
    return load_environment(str(folder), folder, limit=limit)


def serving(shares: list[ServerWeight]) -> dict[str, int]:
    return {share.server.name: share.weight for share in shares if share.on and share.weight}


def edge(**servers: tuple[Admin, int] | tuple[Admin, int, bool]) -> BalancerState:
    states = {
        name: ServerState(name, one[1], one[0], one[2] if len(one) > 2 else True, 0, False)
        for name, one in servers.items()
    }
    return BalancerState("edge1", "HAProxy", False, states)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"groups": {"blue": "a1"}}, "exactly two"),
        ({"balancer": None}, "without a balancer"),
        ({"slots": {"blue": 1, "green": 2}, "services": [WEB]}, "there are slots, too"),
        ({"groups": {"blue": "a1", "green": "b1:b2:a1"}}, "blue and green have both a1"),
        ({"groups": {"blue": "a1", "green": "b1"}}, "in neither group is b2"),
        ({"groups": {"blue": "a1", "green": "b1:b2:edge1"}}, r"not of the application \(slipway_hosts\) is edge1"),
    ],
)
def test_groups_that_cannot_be(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    """A host in both would be changed under its users; one in neither would never get a release."""
    with pytest.raises(ConfigError, match=said):
        plan_deploy(environment(tmp_path, **settings), GREEN)


def test_what_is_refused_says_what_to_do(tmp_path: Path) -> None:
    """Rolling would touch the hosts that serve; a part of a group could not carry the traffic of the other."""
    with pytest.raises(UsageError, match="would change hosts that serve") as refused:
        plan_deploy(environment(tmp_path), GREEN, strategy="rolling")
    assert "--strategy=canary" in (refused.value.hint or "")
    with pytest.raises(UsageError, match="rolling"):
        plan_deploy(environment(tmp_path, rollout={"strategy": "rolling"}), GREEN)
    with pytest.raises(UsageError, match="--limit"):
        plan_deploy(environment(tmp_path, limit="b1"), ("b1",))


def test_the_idle_group_changes_at_once_and_then_the_traffic_moves(tmp_path: Path) -> None:
    """B2. Unless somebody says otherwise blue-green is the strategy; canary's ladder may say how the traffic moves."""
    env = environment(tmp_path)
    plan = plan_deploy(env, GREEN)
    assert plan.strategy == "blue-green"
    assert [stage.hosts for stage in plan.stages] == [GREEN, (), (), (), (), ()]
    assert [stage.share for stage in plan.stages] == [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
    assert [stage.share for stage in plan_deploy(env, GREEN, strategy="canary").stages] == [0.0, 0.05, 0.2, 1.0]
    told = planned(env, plan, {})
    assert (told[0].after, told[0].share, told[-1].after, told[-1].share) == ((2, 3), 0.0, (2, 3), 1.0)
    first = plan_deploy(env, sorted(ALL), fresh=True)
    assert [(stage.hosts, stage.share) for stage in first.stages] == [(tuple(sorted(ALL)), None)]


def test_a_rollback_is_one_switch_of_traffic_where_no_host_has_to_change(tmp_path: Path) -> None:
    """B2: at once, with no host touched; and nothing moves where it is back already."""
    env = environment(tmp_path)
    assert [(one.hosts, one.share) for one in plan_rollback(env, (), None).stages] == [((), 1.0)]
    assert [(one.hosts, one.share) for one in plan_rollback(env, GREEN, None).stages] == [(GREEN, 0.0), ((), 1.0)]
    assert plan_rollback(env, (), None, back=False).stages == ()


@pytest.mark.parametrize(
    ("state", "live"),
    [
        (edge(a1=("on", 256), b1=("on", 256), b2=("on", 256)), "blue"),  # as provision leaves it
        (edge(a1=("off", 0), b1=("off", 0), b2=("off", 0)), "blue"),
        (edge(a1=("on", 256), b1=("off", 0), b2=("off", 0)), "blue"),
        (edge(a1=("off", 0), b1=("on", 256), b2=("on", 256)), "green"),
        (edge(a1=("on", 256), b1=("on", 14), b2=("on", 14)), "blue"),  # halted at 10 %
        (edge(a1=("on", 86), b1=("on", 128), b2=("on", 128)), "green"),  # halted at 75 %
        (edge(a1=("on", 256, False), b1=("on", 256), b2=("off", 0)), "green"),
        (edge(a1=("on", 256, False), b1=("off", 0), b2=("off", 0)), "blue"),  # all that serves is down
        (edge(a1=("off", 256), b1=("off", 256), b2=("on", 256)), "green"),  # one put out by hand
    ],
)
def test_which_group_is_live_is_what_the_balancers_say(state: BalancerState, live: str) -> None:
    """Taken for the other one, the group with all the users would be changed under them."""
    assert live_group(MEMBERS, [state]) == live


@given(st.sets(st.sampled_from(GREEN)), st.sets(st.sampled_from(GREEN)), st.one_of(st.none(), st.floats(0, 1)))
@example(moved=frozenset(GREEN), out=frozenset(), share=5e-324)
def test_the_live_group_serves_until_the_other_one_has_it_all(
    moved: frozenset[str], out: frozenset[str], share: float | None
) -> None:
    """The traffic may be nowhere but on hosts that are ready, in every moment of a deploy."""
    got = set(serving(server_weights(PLACES, TrafficSplit(frozenset(moved), frozenset(out), share))))
    ready = moved - out
    assert got
    assert got <= set(BLUE) | ready
    assert (set(BLUE) <= got) == (not ready or share is None or share < 1)
    assert guard_weights(PLACES, TrafficSplit(frozenset(moved), frozenset(out), share))[0] == server_weights(
        PLACES, TrafficSplit()
    )


def test_shares_testers_and_where_it_ends() -> None:
    """Uneven groups get their share all the same; the group that is left is off, and comes back whole."""
    start = server_weights(PLACES, TrafficSplit(NEW, share=0.0))
    assert (serving(start), {one.server.name for one in start if one.tester}) == ({"a1": 256}, set(GREEN))
    half = serving(server_weights(PLACES, TrafficSplit(NEW, share=0.5)))
    assert half["a1"] == half["b1"] + half["b2"]
    end = server_weights(PLACES, TrafficSplit(NEW, share=1.0))
    assert (serving(end), [one.on for one in end]) == ({"b1": 256, "b2": 256}, [False, True, True])
    first = server_weights(PLACES, TrafficSplit(ALL))
    assert [(one.weight, one.on, one.tester) for one in first] == [
        (256, True, True),
        (0, False, False),
        (0, False, False),
    ]
    failover, final = guard_weights(PLACES, TrafficSplit(share=1.0), forward=True)
    assert final == end, "a rollback's guard brings it to its end"
    assert set(serving(failover)) == {"a1"}
    assert find_unchanged(PLACES, ALL, ()) == NEW, "what is live does not run what is wanted"


def test_a_group_without_the_traffic_gets_none_because_nobody_else_serves() -> None:
    """All live servers are closed by hand: the idle group, which may run anything, is no way out of that."""
    assert serving(server_weights(PLACES, TrafficSplit(), closed=frozenset(BLUE))) == {}
    assert serving(server_weights(PLACES, TrafficSplit(out=frozenset(BLUE)))) == dict.fromkeys(BLUE, 256)


def facts(host: str, current: str | None, *others: str, state: Any = "proven") -> Facts:
    names = [name for name in (current, *others) if name]
    releases = {name: ReleaseOnHost(name, "proven", None, {"version": name.partition("-")[2]}) for name in names}
    if current:
        releases[current] = ReleaseOnHost(current, state, None, {"version": current.partition("-")[2]})
    return Facts(host, "", 252, "running", 0, 0, 0, (), {}, current, 0, releases, (), (), None, None)


def fleet(live: str | None, idle: str | None, *kept: str) -> dict[str, Facts]:
    return {**{host: facts(host, live) for host in BLUE}, **{host: facts(host, idle, *kept) for host in GREEN}}


def test_which_hosts_a_deploy_changes(tmp_path: Path) -> None:
    """What is live already is deployed; what only idles is not. At the very first deploy everybody gets it."""
    targets = environment(tmp_path).targets

    def changing(on: dict[str, Facts]) -> list[str]:
        outdated = [one for one in targets if on[one.name].version != "1.1"]
        return [one.name for one in whole_group(targets, outdated, on, GROUPS)]

    assert changing(fleet(None, None)) == [*BLUE, *GREEN]
    assert changing(fleet("1-1.0", "2-1.1")) == [*GREEN]
    assert changing(fleet("2-1.1", "1-1.0")) == []


def test_a_rollback_goes_to_what_ran_before() -> None:
    """Twice in a row must not go forward to the bad release; an interrupted task is not undone twice."""
    same = {"b1": "1-1.0", "b2": "1-1.0"}
    assert choose_for_group(GROUPS, fleet("2-1.1", "1-1.0"), None) == same
    assert choose_for_group(GROUPS, fleet("2-1.1", "3-1.2", "1-1.0"), None) == same
    with pytest.raises(UsageError, match="no backup that is older"):
        choose_for_group(GROUPS, fleet("1-1.0", "2-1.1"), None)
    assert choose_for_group(GROUPS, fleet("1-1.0", "2-1.1"), "1.1") == {"b1": "2-1.1", "b2": "2-1.1"}
    assert choose_for_group(GROUPS, fleet("1-1.0", "2-1.1"), "1.0") == {}
    unproven = {**fleet("3-1.2", None), **{host: facts(host, "2-1.1", "1-1.0", state="failed") for host in GREEN}}
    assert choose_for_group(GROUPS, unproven, None) == same
    with pytest.raises(UsageError, match="no host of green can be reached"):
        choose_for_group(GROUPS, {"a1": facts("a1", "1-1.0")}, None)

    died = LockOwner("ann@laptop", "deploy 1.2", "", "3-1.2", "deploy", "1.2")
    assert choose_for_group(GROUPS, fleet("2-1.1", "1-1.0"), None, died) == {}, "its guards took it back"
    assert choose_for_group(GROUPS, fleet("3-1.2", "2-1.1"), None, died) == {"b1": "2-1.1", "b2": "2-1.1"}
    back = LockOwner("ann@laptop", "rollback", "", "4-rollback", "rollback")
    assert choose_for_group(GROUPS, fleet("1-1.0", "2-1.1", "0-0.9"), None, back) == {}, "its guards finished it"
    assert choose_for_group(GROUPS, fleet("2-1.1", "1-1.0"), None, back) == same


@pytest.mark.parametrize("green", [("on", 14), ("on", 0)])
def test_a_rollback_of_a_halted_deploy_leaves_the_traffic_where_most_of_it_is(green: tuple[Admin, int]) -> None:
    """It went on to the idle group with what ran before the good release, and took all of the traffic there."""
    halted = replace(GROUPS, balancers={"edge1": edge(a1=("on", 256), b1=green, b2=green)})
    assert choose_for_group(halted, fleet("2-1.1", "3-1.2", "1-1.0"), None) == {}
    after = replace(GROUPS, balancers={"edge1": edge(a1=("on", 256), b1=("off", 14), b2=("off", 14))})
    assert choose_for_group(after, fleet("2-1.1", "3-1.2", "1-1.0"), None) == {"b1": "1-1.0", "b2": "1-1.0"}
    turned = replace(GROUPS, balancers={"edge1": edge(a1=("on", 256), b1=("on", 256), b2=("on", 256))})
    assert choose_for_group(turned, fleet("2-1.1", "2-1.1", "1-1.0"), None) == {"b1": "1-1.0", "b2": "1-1.0"}


def test_two_versions_in_two_groups_are_no_mix() -> None:
    """A fleet that is said to be mixed makes somebody mend it; here the old version is the way back."""
    hosts = [HostStatus(host, version="1.1", health="healthy", group="green") for host in GREEN]
    status = Status("e", "app", (HostStatus("a1", version="1.0", group="blue"), *hosts), live="green")
    assert (status.mixed, status.by_group) == (False, "green (live) 1.1, blue 1.0")
    one = Status("e", "app", (*status.hosts[:2], HostStatus("b2", version="1.0", group="green")), live="green")
    assert (one.mixed, one.by_group) == (True, "green (live) 1.0 and 1.1, blue 1.0")
