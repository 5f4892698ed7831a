"""The two versions of a rollout: which servers run which version at each moment, and the counts of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from playbooks.fleet.progress import Side
from playbooks.judgement.counts import Counts, total
from playbooks.traffic.shares import HostBackends, TrafficSplit

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Sides:
    """Which hosts are new and which are old.

    Args:
        places: the application's hosts, as the balancers see them.
        unchanged: hosts that run the wanted release from the start.
        new, old: the versions; empty where there is none.
    """

    places: Sequence[HostBackends]
    unchanged: frozenset[str]
    new: str
    old: str

    def hosts(self, split: TrafficSplit) -> frozenset[str]:
        """Hosts on the new release."""
        return split.moved | self.unchanged

    def counts(self, counts: Mapping[str, Counts], split: TrafficSplit) -> tuple[Counts, Counts | None]:
        """The counts of both versions; None for the old one if nothing runs it any more.

        Args:
            counts: by server.
            split: the state of the rollout.
        """
        new, old = self._servers(split)
        return _of(counts, new), _of(counts, old) if old else None

    def told(self, new: Counts, old: Counts | None) -> tuple[Side, Side | None]:
        """The same for whoever watches."""
        return _side(self.new, new), None if old is None else _side(self.old, old)

    def _servers(self, split: TrafficSplit) -> tuple[list[str], list[str]]:
        on_new = self.hosts(split)
        new = [place.after.name for place in self.places if place.host in on_new]
        if split.share is not None and split.share >= 1:
            # Nothing is sent to the old release any more, but on hosts that are left out of this deploy.
            left_out = [place for place in self.places if not place.side_by_side and place.host not in on_new]
            return new, [place.before.name for place in left_out if place.before]
        return new, [place.before.name for place in self.places if place.before and place.before.name not in new]


def _side(version: str, counts: Counts) -> Side:
    return Side(version, counts.requests, counts.errors, *map(counts.quantile, QUANTILES))


def _of(counts: Mapping[str, Counts], names: Iterable[str]) -> Counts:
    return total(counts[name] for name in names if name in counts)
