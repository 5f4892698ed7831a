"""Shares of the traffic: pure functions from the hosts' states to each server's weight in a balancer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import fsum

from playbooks.steps.traffic import FULL, Server, ServerWeight


@dataclass(frozen=True)
class HostBackends:
    """A host of the application as the balancers see it.

    Args:
        host: inventory name.
        before: the server that has its traffic now; None before the first deploy.
        after: the server that will have it: the same one if the host's release changes in place, another one if
            old and new run side by side.
        others: its servers on which nothing runs; balancers know all slots, and would try them.
        live: whether its group of hosts has the traffic when the task begins; None without groups. A host of
            the other group has no traffic, so its ``before`` is None.
        capacity: what it can carry relative to the largest of all hosts, above 0 to 1.
        leaves: whether nothing will run there in the end.
        in_place: whether what runs there stops for the new release, so that the host leaves the traffic while it
            changes.
    """

    host: str
    before: Server | None
    after: Server
    others: tuple[Server, ...] = ()
    live: bool | None = None
    capacity: float = 1.0
    leaves: bool = False
    in_place: bool = False

    @property
    def side_by_side(self) -> bool:
        """Whether old and new run at the same time as two servers, of this host or of two groups."""
        return self.live is not None or (bool(self.old_server) and not self.in_place)

    @property
    def old_server(self) -> Server | None:
        """The server that has its traffic now, if another one will have it."""
        return self.before if self.before and self.before.name != self.after.name else None


@dataclass(frozen=True)
class TrafficSplit:
    """The state of a rollout.

    Args:
        moved: hosts that serve the new release.
        out: hosts that get no traffic, since they are about to change.
        share: the new release's share of the traffic, 0 to 1; None: by the number of its servers.
    """

    moved: frozenset[str] = frozenset()
    out: frozenset[str] = frozenset()
    share: float | None = None


def weight_of(capacity: float, unit: float = FULL) -> int:
    """The weight of a server: a whole number in the balancers' range, and never 0.

    Args:
        capacity: relative to the largest server's, above 0 to 1.
        unit: the weight of a server with capacity 1.
    """
    return min(FULL, max(1, round(unit * capacity))) if unit else 0


def unit_weights(old: Sequence[float], new: Sequence[float], share: float | None) -> tuple[float, float]:
    """Return the weight of a server with capacity 1, old and new, so that the new servers get their share.

    The result may exceed 256, HAProxy's maximum, if no server has capacity 1; the weight of a real server never does.

    Args:
        old, new: the capacity of each server relative to the largest one, above 0 to 1.
        share: 0 to 1; None: by their capacities.
    """
    if share is None or not old or not new:
        return FULL, FULL
    if share <= 0 or share >= 1:
        return (FULL, 0) if share <= 0 else (0, FULL)
    ratio = max(share / (1 - share) * sum(old) / sum(new), 1e-9)  # a share above 0 needs at least one server
    # Small shares need large weights, also if all of a version's hosts are small: small weights cannot express 1 %.
    largest = min(FULL / max(old), FULL / max(new) / ratio)
    pairs = [(unit, unit * ratio) for unit in (largest * part / FULL for part in range(FULL, FULL // 2, -1))]
    counts = Counter(old), Counter(new)

    def off(pair: tuple[float, float]) -> float:
        olds, news = (
            sum(count * weight_of(capacity, unit) for capacity, count in side.items())
            for side, unit in zip(counts, pair, strict=True)
        )
        return abs(news / (news + olds) - share)

    return min(pairs, key=off)


def server_weights(
    places: Sequence[HostBackends], split: TrafficSplit, *, closed: frozenset[str] = frozenset()
) -> list[ServerWeight]:
    """Every server's weight.

    Args:
        places: the application's hosts.
        split: the state of the rollout.
        closed: names of servers that a person has taken out of service; they stay out.
    """
    by_group = any(place.live is not None for place in places)
    kind = _grouped if by_group else _side_by_side if any(place.side_by_side for place in places) else _in_place
    # Shares are of the servers that get traffic.
    shut = [place for place in places if is_disabled(place, closed)]
    changing = {name for place in places if place.host in split.out for name in servers_of(place)}
    wanted = [
        replace(share, out=not share.on and share.server.name in changing)
        for share in kind([place for place in places if place not in shut], split)
    ]
    unused = [ServerWeight(other, weight=0, on=False, tester=False) for place in places for other in place.others]
    unused += [
        ServerWeight(server, weight_of(place.capacity), on=False)
        for place in shut
        for server in servers_of(place).values()
    ]
    empty = servers_without_release(places, split)
    running = [share for share in wanted if share.server.name not in empty]
    if not any(share.on and share.weight for share in running or wanted):
        # No other server can carry the traffic, so a host that restarts is better than none.
        full = {name: weight_of(place.capacity) for place in places for name in servers_of(place)}
        resting = {place.after.name for place in places if place.live is False}
        wanted = [
            share
            if share.server.name in resting
            else replace(share, on=True, out=False, weight=full[share.server.name])
            for share in wanted
        ]
    return [*(replace(share, idle=share.server.name in empty) for share in wanted), *unused]


def servers_without_release(places: Sequence[HostBackends], split: TrafficSplit) -> set[str]:
    """Names of servers on which nothing runs, not yet or not any more."""
    found = set()
    for place in places:
        moved = place.host in split.moved
        if place.leaves if moved else place.before is None:
            found.add(place.after.name)
        if place.in_place and place.old_server:
            found.add(place.old_server.name if moved else place.after.name)
    return found


def is_disabled(place: HostBackends, closed: frozenset[str]) -> bool:
    """Whether a person has taken a host out of service; this holds for both of its slots."""
    return place.before is not None and place.before.name in closed


def servers_of(place: HostBackends) -> dict[str, Server]:
    """A host's servers on which something may run, by name."""
    return {server.name: server for server in (place.before, place.after) if server}


def _in_place(places: Sequence[HostBackends], split: TrafficSplit) -> list[ServerWeight]:
    there = [place for place in places if place.host not in split.out]
    new = [place.capacity for place in there if place.host in split.moved]
    old = [place.capacity for place in there if place.host not in split.moved]
    old_unit, new_unit = unit_weights(old, new, split.share)
    mixed = 0 < len(new) < len(there)
    shares = []
    for place in places:
        moved = place.host in split.moved
        serves, rests = (
            (place.after, place.old_server) if moved or not place.old_server else (place.old_server, place.after)
        )
        weight = weight_of(place.capacity, new_unit if moved else old_unit)
        shares.append(ServerWeight(serves, weight, on=place.host not in split.out, tester=not mixed or moved))
        if rests:
            shares.append(ServerWeight(rests, weight=0, on=False, tester=False))
    return shares


def _side_by_side(places: Sequence[HostBackends], split: TrafficSplit) -> list[ServerWeight]:
    share = 0.0 if split.share is None else split.share
    moved = split.moved - split.out
    # A host that does not change has one server, which is old or new by what it runs.
    old = [place for place in places if place.before and (place.side_by_side or place.host not in moved)]
    new_ones = [place.capacity for place in places if place.host in moved]
    old_unit, new_unit = unit_weights([place.capacity for place in old], new_ones, share)
    shares = []
    for place in places:
        new = place.host in moved
        if place.side_by_side or place.before is None or new:
            weight = weight_of(place.capacity, new_unit) if new else 0
            shares.append(ServerWeight(place.after, weight=weight, on=new, tester=new))
        if place in old and place.before is not None:
            stays = share >= 1 and not place.side_by_side  # left out of this rollout: it stays as it is
            weight = weight_of(place.capacity, FULL if stays else old_unit)
            on = (stays or share < 1) and (place.side_by_side or place.host not in split.out)
            shares.append(ServerWeight(place.before, weight=weight, on=on, tester=not moved))
    return shares


def _grouped(places: Sequence[HostBackends], split: TrafficSplit) -> list[ServerWeight]:
    # The first deploy changes both groups, and there is no traffic to move away.
    first = any(place.live and place.host in split.moved for place in places)
    new = [] if first else [place for place in places if not place.live and place.host in split.moved - split.out]
    share = split.share if new and split.share is not None else 0.0
    old = [place.capacity for place in places if place.live]
    old_unit, new_unit = unit_weights(old, [place.capacity for place in new], share)
    return [
        ServerWeight(
            place.after,
            weight=weight_of(place.capacity, old_unit),
            on=share < 1 and place.host not in split.out,
            tester=not new,
        )
        if place.live
        else ServerWeight(
            place.after,
            weight=weight_of(place.capacity, new_unit) if place in new else 0,
            on=place in new,
            tester=place in new,
        )
        for place in places
    ]


def find_unchanged(places: Sequence[HostBackends], seen: Iterable[str], changing: Iterable[str]) -> frozenset[str]:
    """Hosts that run the wanted release from the start; with two groups, those of the group without the traffic.

    Args:
        places: the application's hosts.
        seen: those that take part, and run something.
        changing: those of them that change.
    """
    live = {place.host for place in places if place.live}
    return frozenset(seen) - frozenset(changing) - live


def guard_weights(
    places: Sequence[HostBackends], split: TrafficSplit, *, forward: bool = False, closed: frozenset[str] = frozenset()
) -> tuple[list[ServerWeight], list[ServerWeight]]:
    """Return what a balancer's guard sets when the controller is silent: the failover weights and the final weights.

    The failover weights are set at once. They send nothing to the release that is being left, if the other hosts have
    at least half of the capacity; else they equal the final weights, which are set after the hosts have gone back.

    Args:
        places, split, closed: see `server_weights`.
        forward: whether the task is a rollback, which guards finish.
    """
    hosts = frozenset(place.host for place in places if not place.live)
    if any(place.side_by_side for place in places):
        end = server_weights(
            places, TrafficSplit(hosts, share=1.0) if forward else TrafficSplit(share=0.0), closed=closed
        )
        return (server_weights(places, split, closed=closed) if forward else end), end
    end = server_weights(places, TrafficSplit(hosts if forward else frozenset()), closed=closed)
    left = hosts - split.moved if forward else split.moved
    leaving = left | split.out
    carried = {place.host: place.capacity for place in places if place.host in hosts and not is_disabled(place, closed)}
    # Floats: rounding must not make a half less than a half.
    if 2 * fsum(carried[host] for host in carried.keys() - leaving) < fsum(carried.values()) - 1e-9:
        return end, end
    return server_weights(places, TrafficSplit(split.moved, out=leaving), closed=closed), end
