"""Who gets how much of the traffic (B2 to B4): pure, so every fleet and every moment of a rollout can be asked."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from playbooks.steps.traffic import Server, ServerWeight, share_lines
from playbooks.steps.traffic_state import BalancerState, ServerState
from playbooks.traffic.open_traffic import closed_by_hand, left_out, nobody_up
from playbooks.traffic.shares import HostBackends, TrafficSplit, guard_weights, server_weights, unit_weights, weight_of

IN_PLACE = [HostBackends(f"h{n}", Server(f"h{n}", "::1", 80), Server(f"h{n}", "::1", 80)) for n in range(8)]
BESIDE = [HostBackends(f"h{n}", Server(f"h{n}-blue", "::1", 81), Server(f"h{n}-green", "::1", 82)) for n in range(3)]
SETS = st.sets(st.sampled_from([place.host for place in IN_PLACE])).map(frozenset)


def serving(shares: list[ServerWeight]) -> dict[str, int]:
    return {share.server.name: share.weight for share in shares if share.on and share.weight}


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0.01, 0.99))
def test_the_new_release_gets_its_share(old: int, new: int, share: float) -> None:
    """1 % must not become 3 % because weights are whole numbers up to 256."""
    old_weight, new_weight = (weight_of(1.0, unit) for unit in unit_weights([1.0] * old, [1.0] * new, share))
    got = new * new_weight / (new * new_weight + old * old_weight)
    finest = max(new / (new + 256 * old), old / (old + 256 * new))
    assert abs(got - share) <= max(0.02 * share, finest)
    assert 1 <= min(old_weight, new_weight) <= max(old_weight, new_weight) <= 256


@given(SETS, SETS, st.one_of(st.none(), st.floats(0, 1)))
def test_somebody_always_serves_and_nobody_who_changes_does(
    moved: frozenset[str], out: frozenset[str], share: float | None
) -> None:
    """All servers drained is an outage by our own hand: then a host that restarts is better than none."""
    got = serving(server_weights(IN_PLACE, TrafficSplit(moved, out, share)))
    assert got
    if len(moved - out) not in (0, 8 - len(out)) or (len(out) < 8 and share is None):
        assert not set(got) & out


@given(SETS, SETS, st.booleans())
def test_a_dead_controller_leaves_the_traffic_where_it_can_be_carried(
    moved: frozenset[str], out: frozenset[str], forward: bool
) -> None:
    """At once all of it on the release that stays, unless that is less than half of the fleet; in the end as it was."""
    failover, final = guard_weights(IN_PLACE, TrafficSplit(moved, out), forward=forward)
    assert serving(final) == {place.host: 256 for place in IN_PLACE}
    leaving = (frozenset(serving(final)) - moved if forward else moved) | out
    got = set(serving(failover))
    assert len(got) >= 4
    assert not got & leaving or len(leaving) > 4


CAPACITIES = st.lists(st.sampled_from([1, 2, 3, 8]), min_size=2, max_size=12)


def of_sizes(sizes: dict[str, float]) -> list[HostBackends]:
    return [
        HostBackends(name, Server(name, "::1", 80), Server(name, "::1", 80), capacity=size)
        for name, size in sizes.items()
    ]


@given(CAPACITIES, st.data(), st.floats(0.05, 0.95))
def test_a_host_gets_what_it_can_carry(weights: list[int], data: st.DataObject, share: float) -> None:
    """Twice the capacity is twice the traffic, before, after, and within each side of a canary."""
    sizes = {f"h{n}": weight / max(weights) for n, weight in enumerate(weights)}
    places = of_sizes(sizes)
    usual = serving(server_weights(places, TrafficSplit()))
    assert usual == {name: round(256 * size) for name, size in sizes.items()}
    assert serving(guard_weights(places, TrafficSplit(frozenset({"h0"}), share=share))[1]) == usual
    moved = frozenset(data.draw(st.sets(st.sampled_from(sorted(sizes)), min_size=1, max_size=len(sizes) - 1)))
    got = serving(server_weights(places, TrafficSplit(moved, share=share)))
    new = sum(got[name] for name in moved)
    assert max(share.weight for share in server_weights(places, TrafficSplit(moved, moved ^ {"h0"}, share))) <= 256
    # The smallest host's weight is a whole number, too.
    assert abs(new / sum(got.values()) - share) < max(0.03, 1 / min(got.values())) * share
    for side in (moved, frozenset(sizes) - moved):
        units = [got[name] / sizes[name] for name in side]
        assert max(units) - min(units) <= 1 / min(sizes.values())


def test_a_small_share_is_small_where_only_a_small_host_is_old() -> None:
    """Weighed as if a large one were beside it, 1 % would be 3 %: its weight would end at 32 of 256."""
    got = serving(
        server_weights(of_sizes({"small": 0.125, "large": 1.0}), TrafficSplit(frozenset({"large"}), share=0.01))
    )
    assert got == {"small": 198, "large": 2}


def test_half_of_the_fleet_is_half_of_what_it_can_carry() -> None:
    """Three small hosts are no half beside one that carries as much as six of them."""
    places = of_sizes({"large": 1.0, "a": 1 / 6, "b": 1 / 6, "c": 1 / 6})
    failover, final = guard_weights(places, TrafficSplit(frozenset({"large"})))
    assert failover == final, "without the large one the others would break down"
    assert set(serving(guard_weights(places, TrafficSplit(frozenset({"a", "b", "c"})))[0])) == {"large"}


def test_beside_each_other_the_old_slot_is_drained_only_when_the_new_one_has_it_all() -> None:
    """Until then it is the way back; after it, its connections end in peace."""
    everyone = frozenset(place.host for place in BESIDE)
    assert set(serving(server_weights(BESIDE, TrafficSplit(share=0.0)))) == {"h0-blue", "h1-blue", "h2-blue"}
    half = serving(server_weights(BESIDE, TrafficSplit(everyone, share=0.5)))
    assert set(half.values()) == {256}
    assert len(half) == 6
    full = server_weights(BESIDE, TrafficSplit(everyone, share=1.0))
    assert set(serving(full)) == {"h0-green", "h1-green", "h2-green"}
    assert not any(share.on for share in full if share.server.name.endswith("blue"))
    failover, final = guard_weights(BESIDE, TrafficSplit(everyone, share=0.5))
    assert failover == final == server_weights(BESIDE, TrafficSplit(share=0.0))


def test_a_slot_that_nothing_runs_in_gets_nothing() -> None:
    """nginx asks nobody whether they are up: it would send people there to find out (three refusals are a 502)."""
    unused = Server("h0-green", "::1", 82)
    place = HostBackends("h0", Server("h0-blue", "::1", 81), Server("h0-blue", "::1", 81), (unused,))
    for split in (TrafficSplit(), TrafficSplit(frozenset({"h0"})), TrafficSplit(out=frozenset({"h0"}))):
        shares = {share.server.name: share for share in server_weights([place], split)}
        assert not shares["h0-green"].on
        assert shares["h0-blue"].on


def test_waiting_for_servers_is_in_vain_where_none_is_up() -> None:
    """A health path that is wrong must not make the way back wait half a minute for each of its moves."""

    def edge(up: bool | None) -> BalancerState:
        servers = {place.host: ServerState(place.host, 256, "on", up, 0, True) for place in IN_PLACE}
        return BalancerState("edge1", "HAProxy", False, servers)

    assert nobody_up(IN_PLACE, [edge(False)])
    assert not nobody_up(IN_PLACE, [edge(False), edge(True)])
    assert not nobody_up(IN_PLACE, [edge(None)]), "nginx asks nobody"
    assert not nobody_up([HostBackends("new", None, Server("new", "::1", 80))], [edge(False)]), "nothing runs yet"


def test_nobody_waits_for_a_host_before_its_first_deploy() -> None:
    """Nor, above all, when that has failed; but for what has just been started there."""
    new, green = (
        HostBackends("new", None, Server("new", "::1", 80)),
        HostBackends("new", None, Server("new-green", "::1", 82)),
    )
    for place, others in ((new, IN_PLACE), (green, BESIDE)):
        for split, idle in ((TrafficSplit(), True), (TrafficSplit(frozenset({"new"})), False)):
            shares = server_weights([place], split)
            assert [(share.on, share.idle) for share in shares] == [(True, idle)]
            assert not any(share.idle for share in server_weights(others, split))
    leaving = replace(IN_PLACE[0], leaves=True)
    assert [share.idle for share in server_weights([leaving], TrafficSplit())] == [False]
    assert [share.idle for share in server_weights([leaving], TrafficSplit(frozenset({"h0"})))] == [True]
    lines = share_lines(server_weights([new], TrafficSplit())).decode().split()
    assert lines == ["new", "::1", "80", "256", "on", "tester", "idle"]


def test_testers_meet_the_new_release_as_soon_as_it_runs() -> None:
    """B3: before anybody else does; and when there is only one release, testers are users like all others."""
    shares = server_weights(BESIDE, TrafficSplit(frozenset({"h0"}), share=0.0))
    assert [share.server.name for share in shares if share.tester] == ["h0-green"]
    assert all(share.tester for share in server_weights(IN_PLACE, TrafficSplit()))
    mixed = server_weights(IN_PLACE, TrafficSplit(frozenset({"h3"}), share=0.01))
    assert [share.server.name for share in mixed if share.tester] == ["h3"]


def test_a_server_closed_by_hand_stays_closed() -> None:
    """Somebody may have it on the bench; a deploy that puts it back into service breaks their work, and requests."""
    shares = server_weights(IN_PLACE, TrafficSplit(), closed=frozenset({"h2"}))
    assert "h2" not in serving(shares)
    assert len(serving(shares)) == 7


@given(SETS, SETS.filter(lambda closed: len(closed) < 7), st.floats(0.05, 0.95))
def test_a_share_is_of_what_is_not_closed(moved: frozenset[str], closed: frozenset[str], share: float) -> None:
    """With half of the old hosts on the bench, a canary of 5 % had 10 %."""
    got = serving(server_weights(IN_PLACE, TrafficSplit(moved, share=share), closed=closed))
    assert not got.keys() & closed
    new, old = got.keys() & moved, got.keys() - moved
    if new and old:
        assert abs(sum(got[name] for name in new) / sum(got.values()) - share) < 0.03 * share


def test_a_host_whose_slot_is_closed_stays_out_with_both() -> None:
    """It is the host that is on the bench. A deploy to its other slot put it back into service."""
    everyone, closed = frozenset(place.host for place in BESIDE), frozenset({"h1-blue"})
    for share in (0.0, 0.5, 1.0):
        assert (
            not {"h1-blue", "h1-green"}
            & serving(server_weights(BESIDE, TrafficSplit(everyone, share=share), closed=closed)).keys()
        )
    for ends in guard_weights(BESIDE, TrafficSplit(everyone, share=0.5), closed=closed):
        assert set(serving(ends)) == {"h0-blue", "h2-blue"}


def test_what_is_closed_carries_nothing_when_a_controller_dies() -> None:
    """Two of five that serve were to take the traffic of all: those on the bench were counted as if they could."""
    closed = frozenset({"h5", "h6", "h7"})
    failover, final = guard_weights(IN_PLACE, TrafficSplit(frozenset({"h0", "h1", "h2"})), closed=closed)
    assert set(serving(failover)) == set(serving(final)) == {"h0", "h1", "h2", "h3", "h4"}
    assert set(serving(guard_weights(IN_PLACE, TrafficSplit(frozenset({"h0", "h1"})), closed=closed)[0])) == {
        "h2",
        "h3",
        "h4",
    }


def test_traffic_on_the_other_slot_is_nobodys_hand() -> None:
    """Left so by a death in the confirmation; taken for closed, the next deploy left no server on."""
    blue, green = (Server(f"h1-{slot}", "192.0.2.1", port) for slot, port in (("blue", 8001), ("green", 8002)))
    place = HostBackends("h1", blue, green)

    def edge(**on: bool) -> BalancerState:
        servers = {
            f"h1-{slot}": ServerState(f"h1-{slot}", 256, "on" if is_on else "off", is_on, 0, tester=False)
            for slot, is_on in on.items()
        }
        return BalancerState("edge1", "HAProxy", maintenance=False, servers=servers)

    assert closed_by_hand([place], [edge(blue=False, green=True)]) == frozenset()
    assert closed_by_hand([place], [edge(blue=False, green=False)]) == {"h1-blue"}
    assert closed_by_hand([place], [edge(blue=False, green=False), edge(blue=True, green=False)]) == frozenset()


def test_a_server_that_a_task_took_out_and_left_is_nobodys_hand() -> None:
    """A deploy was halted, or a rollback failed, on its host, which never got traffic again."""
    place = IN_PLACE[2]
    (off,) = [share for share in server_weights(IN_PLACE, TrafficSplit(out=frozenset({"h2"}))) if not share.on]
    assert (off.server.name, off.out) == ("h2", True)
    assert not any(share.out for share in server_weights(IN_PLACE, TrafficSplit(), closed=frozenset({"h2"})))

    def edge(*, out: bool) -> BalancerState:
        return BalancerState("edge1", "HAProxy", False, {"h2": ServerState("h2", 256, "off", None, 0, False, out=out)})

    assert closed_by_hand([place], [edge(out=True)]) == frozenset()
    assert closed_by_hand([place], [edge(out=False)]) == {"h2"}
    assert left_out([place], [edge(out=True)]) == {"h2"}
    assert left_out([place], [edge(out=False)]) == frozenset()
