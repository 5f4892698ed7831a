"""Plans (B1 to B3): pure, so every property can be asked of thousands of fleets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from playbooks.rollout.planning.strategy import adjust_for_traffic
from playbooks.settings.rollout import RolloutSettings
from playbooks.strategies.batches import count
from playbooks.strategies.blue_green import side_by_side
from playbooks.strategies.canary import canary
from playbooks.strategies.plan import FleetShape, Plan, Stage
from playbooks.strategies.rolling import rolling

BATCHES = st.one_of(st.integers(1, 60).map(str), st.integers(1, 100).map(lambda n: f"{n}%"))
LADDERS = st.lists(st.integers(1, 99), max_size=5, unique=True).map(lambda shares: [*sorted(shares), 100])


def rollout(**settings: object) -> RolloutSettings:
    return RolloutSettings.model_validate(settings)


def names(hosts: int) -> list[str]:
    return [f"web{number}" for number in range(hosts)]


def changed(plan: Plan) -> list[str]:
    return [host for stage in plan.stages for host in stage.hosts]


@given(st.integers(0, 60), BATCHES)
def test_every_host_changes_once_in_order_and_no_batch_is_too_large(hosts: int, batch: str) -> None:
    """A host left out would stay on the old version; one too many at a time would take the service down."""
    plan = rolling(names(hosts), rollout(batch=batch), FleetShape(hosts))
    assert changed(plan) == names(hosts)
    for stage in plan.stages:
        assert len(stage.hosts) <= (int(batch) if "%" not in batch else max(1, hosts * int(batch[:-1]) // 100))


@given(st.integers(1, 60), BATCHES)
def test_behind_a_balancer_a_quarter_is_out_at_the_most_unless_somebody_asks_for_more(hosts: int, batch: str) -> None:
    """B1: half of the fleet out of the balancer would leave the rest with twice the load."""
    plan = rolling(names(hosts), rollout(batch=batch), FleetShape(hosts, balanced=True))
    assert all(len(stage.hosts) <= max(1, hosts // 4) for stage in plan.stages)
    asked = rolling(names(hosts), rollout(), FleetShape(hosts, balanced=True), batch="100%")
    assert asked.stages[0].hosts == tuple(names(hosts))


def test_percentages_round_down_but_never_to_nobody() -> None:
    """25 % of 3 hosts must be one host, not none and not two."""
    assert [count("25%", total) for total in (1, 3, 4, 7, 8)] == [1, 1, 1, 1, 2]
    assert count("100%", 5) == 5


def test_grace_is_between_batches_and_the_watch_comes_last() -> None:
    """A pause after the last batch would make every deploy wait for nothing; production is watched unasked (B5)."""
    settings = rollout(batch="2", grace="30s", tolerate="50%")
    plan = rolling(names(3), settings, FleetShape(3))
    assert [stage.watch.seconds if stage.watch else 0 for stage in plan.stages] == [30, 0]
    assert plan.tolerate == 1
    watched = rolling(names(3), settings, FleetShape(3, production=True)).stages[-1]
    assert (watched.hosts, watched.watch and watched.watch.seconds) == ((), 1800)
    assert watched.watch
    assert watched.watch.criteria.errors == 0.01


def steps(ladder: list[int]) -> list[dict[str, Any]]:
    return [{"share": f"{share}%", "for": "1m"} for share in ladder]


@given(st.integers(2, 60), LADDERS)
def test_a_canary_climbs_host_by_host_and_always_leaves_a_baseline(hosts: int, ladder: list[int]) -> None:
    """Without a host on the old version there is nothing to compare with, and nowhere to go back to at once."""
    plan = canary(names(hosts), rollout(canary=steps(ladder)), FleetShape(hosts, balanced=True))
    assert changed(plan) == names(hosts)
    assert all(len(stage.hosts) <= max(1, hosts // 4) for stage in plan.stages)
    moved = 0
    for stage in plan.stages:
        moved += len(stage.hosts)
        if stage.watch and stage.share is not None:
            assert stage.share * hosts - 1e-6 <= max(1, moved) or moved == hosts - 1, "one host would carry too much"
            assert 0 < moved < hosts
    assert plan.stages[-1].share is None
    assert plan.watches == len(ladder)


def test_the_stock_ladders_are_those_of_the_requirements() -> None:
    """B3: 5 % for 15 minutes, 20 % for 30, then all. B2: 10, 25, 50, 75, 100 % with 5 minutes each."""
    plan = canary(names(8), rollout(), FleetShape(8, balanced=True))
    watched = [(stage.name, stage.watch.seconds, stage.watch.criteria.errors) for stage in plan.stages if stage.watch]
    assert watched == [
        ("5 % of the traffic", 900, 0.01),
        ("20 % of the traffic", 1800, 0.005),
        ("100 % of the traffic", 1800, 0.001),
    ]
    switch = side_by_side(names(8), rollout(), FleetShape(8, balanced=True), strategy="blue-green")
    assert changed(switch) == names(8)
    assert [stage.share for stage in switch.stages] == [0.0, 0.1, 0.25, 0.5, 0.75, 1.0]
    assert {stage.watch.seconds for stage in switch.stages if stage.watch} == {300}


@pytest.mark.parametrize("ladder", [[5, 20], [20, 5, 100], [5, 5, 100]])
def test_a_ladder_that_does_not_lead_up_is_refused(ladder: list[int]) -> None:
    """It would end with both versions in service, or go down where everybody expects it to go up."""
    with pytest.raises(ValidationError, match="shares that grow"):
        rollout(canary=steps(ladder))


def test_a_rollback_moves_what_a_task_before_has_left() -> None:
    """Hosts that are where they belong were all it looked at: it did nothing, and users stayed on what was bad."""
    nothing = Plan("rolling", ())
    (moves,) = adjust_for_traffic(nothing, [], misrouted=True, partially_shifted=()).stages
    assert (moves.hosts, moves.share) == ((), None)
    assert adjust_for_traffic(nothing, [], misrouted=False, partially_shifted=()) == nothing
    usual = Plan("rolling", (Stage("start beside", ("h1", "h2"), share=0.0), Stage("all of the traffic", share=1.0)))
    assert adjust_for_traffic(usual, ["h1", "h2"], misrouted=True, partially_shifted={"h1"}) == usual
    (only,) = adjust_for_traffic(usual, ["h1", "h2"], misrouted=True, partially_shifted={"h1", "h2", "h3"}).stages
    assert (only.hosts, only.share, only.serves) == (("h1", "h2"), 1.0, True)
