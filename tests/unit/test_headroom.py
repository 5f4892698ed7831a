"""Whether the others can do without a host, and what requests did meanwhile, from counts alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from playbooks.judgement.counts import Counts
from playbooks.judgement.headroom import BACK, BalancerReading, Least, is_known, lacking
from playbooks.judgement.meanwhile import meanwhile

LEAST = Least(errors=0.2, p50=2000.0)
UP = {"app1": True, "app2": True, "app3": True}
WELL = Counts(1000, 2, {20.0: 990, 3000.0: 10})


def reading(requests: Counts = WELL, **changes: Any) -> BalancerReading:
    return replace(BalancerReading(100.0, BACK, requests, UP), **changes)


def test_a_fleet_that_is_well_can_do_without_one() -> None:
    assert lacking([reading()], ["app1"], LEAST) == ""
    assert lacking([], ["app1"], LEAST) == "", "nothing is known"
    assert lacking([reading(Counts())], ["app1"], LEAST) == "", "nobody asks for anything"


@pytest.mark.parametrize(
    ("drowning", "why"),
    [
        (reading(Counts(100, 21)), "21 of 100 requests (21 %) failed in the last 5 s"),
        (
            reading(Counts(100, 0, {20.0: 49, 2593.7: 51})),
            "half of the requests of the last 5 s took longer than 2,000 ms",
        ),
        (reading(up={"app1": True, "app2": False, "app3": False}), "of the servers that stay, app2, app3, none is up"),
        (reading(failing=frozenset({"app3"})), "the balancer's checks of app3 fail at times"),
        (reading(failed_checks={"app2": 2}), "the balancer's checks of app2 fail at times"),
        (reading(queue=3), "3 requests wait for a server"),
    ],
)
def test_a_fleet_that_drowns_cannot(drowning: BalancerReading, why: str) -> None:
    """A deploy went on batch by batch while most requests failed, and twice nobody at all was up."""
    assert lacking([drowning], ["app1"], LEAST) == why


def test_few_requests_one_late_check_and_a_short_queue_are_none() -> None:
    """What stops deploys for nothing is turned off by its users."""
    assert lacking([reading(Counts(19, 19, {9000.0: 19}), failed_checks={"app2": 1}, queue=2)], ["app1"], LEAST) == ""


def test_who_serves_nobody_may_always_be_changed() -> None:
    """A host that is down is what a deploy mends; its checks are nobody else's; all at once was asked for."""
    bad = reading(Counts(100, 90), up={**UP, "app1": False}, failing=frozenset({"app2"}))
    assert lacking([bad], ["app1"], LEAST) == ""
    assert lacking([replace(bad, up=UP)], [*UP], LEAST) == ""
    assert lacking([reading(failing=frozenset({"app1"}))], ["app1"], LEAST) == ""


@pytest.mark.parametrize("sign", [{"failed_checks": {"app1": 1}}, {"in_flight": {"app1": 9}}])
def test_who_is_down_for_a_late_check_serves_all_the_same(sign: dict[str, Any]) -> None:
    """All three were down at the moment of the look, for half a second: the first host was taken out of a flood."""
    down = reading(Counts(100, 90), up=dict.fromkeys(UP, False))
    assert lacking([down], ["app1"], LEAST) == "", "a fleet that is dead is mended by a deploy"
    assert "none is up; 90 of 100" in lacking([replace(down, **sign)], ["app1"], LEAST)


def test_limits_may_be_turned_off() -> None:
    """Half of all requests last half a minute where clients poll; a fleet that fails is mended by the next release."""
    polling = reading(Counts(100, 90, {30000.0: 100}))
    assert lacking([polling], ["app1"], Least(errors=None, p50=None)) == ""


def test_it_looks_back_for_some_seconds_and_no_further() -> None:
    """A new start each second would let ten requests a second pass for none; a minute ago it was bad."""
    second = [reading(Counts(10, 9), seconds=1.0) for _ in range(5)]
    assert "45 of 50 requests" in lacking(second, ["app1"], LEAST)
    assert lacking([*second, reading()], ["app1"], LEAST) == ""


def test_many_requests_under_way_and_none_answered_cannot_be_told_yet() -> None:
    """Requests take three seconds: while it was staged none had ended, and the first host was taken out."""
    busy = {"app1": 20, "app2": 10}
    start = BalancerReading(100.0, 0.0, Counts(), UP, in_flight=busy)
    assert not is_known([start])
    assert not is_known([start, reading(Counts(5), seconds=1.0, in_flight=busy)])
    assert is_known([start, reading(Counts(20), seconds=1.0, in_flight=busy)])
    assert is_known([start, reading(Counts(5), seconds=BACK, in_flight=busy)]), "and that is all the waiting there is"
    assert is_known([replace(start, in_flight={"app1": 6})]), "two a server are an ordinary moment"
    assert is_known([])


def test_what_requests_did_is_told_beside_what_they_did_before() -> None:
    """Of two balancers it is the sum; what was not timed is not passed for it."""
    edges = [
        [
            BalancerReading(0.0, 0.0),
            BalancerReading(4.0, 4.0, Counts(100, 0, {10.0: 100})),
            BalancerReading(9.0, 5.0, Counts(300, 3, {50.0: 30})),
        ],
        [
            BalancerReading(0.1, 0.0),
            BalancerReading(3.9, 3.8, Counts(50, 0, {10.0: 50})),
            BalancerReading(9.1, 5.2, Counts(100, 0, {20.0: 100})),
        ],
    ]
    found = meanwhile(edges, 4.0)
    assert found is not None
    said = (
        "requests meanwhile: 400, 3 failed, p99 50 ms of the 130 that were timed; before: 150, none failed, p99 10 ms"
    )
    assert found.sentence == said
    assert found.to_json()["during"] == {
        "seconds": 5.2,
        "requests": 400,
        "failed": 3,
        "p50_ms": 20.0,
        "p99_ms": 50.0,
        "timed": 130,
    }
    assert meanwhile([[BalancerReading(0.0, 0.0)]], 4.0) is None, "nothing was read since"
