"""Rolling plans (B1): pure, so every property can be asked of thousands of fleets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from playbooks.settings.rollout import Rollout
from playbooks.strategies.rolling import count, rolling

BATCHES = st.one_of(st.integers(1, 60).map(str), st.integers(1, 100).map(lambda n: f"{n}%"))


@given(st.integers(0, 60), BATCHES)
def test_every_host_changes_once_in_order_and_no_batch_is_too_large(hosts: int, batch: str) -> None:
    """A host left out would stay on the old version; one too many at a time would take the service down."""
    names = [f"web{number}" for number in range(hosts)]
    plan = rolling(names, Rollout.model_validate({"batch": batch}))
    assert [host for stage in plan.stages for host in stage.hosts] == names
    for stage in plan.stages:
        assert len(stage.hosts) <= (int(batch) if "%" not in batch else max(1, hosts * int(batch[:-1]) // 100))


def test_percentages_round_down_but_never_to_nobody() -> None:
    """25 % of 3 hosts must be one host, not none and not two."""
    assert [count("25%", total) for total in (1, 3, 4, 7, 8)] == [1, 1, 1, 1, 2]
    assert count("100%", 5) == 5


def test_grace_is_between_batches_and_not_after_the_last() -> None:
    """A pause after the last batch would make every deploy wait for nothing."""
    plan = rolling(["a", "b", "c"], Rollout.model_validate({"batch": "2", "grace": "30s", "tolerate": "50%"}))
    assert [stage.pause for stage in plan.stages] == [30.0, 0.0]
    assert plan.tolerate == 1
