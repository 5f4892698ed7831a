"""What all balancers together count, and what is left of it when one of them is gone (B3, B4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import yaml

from playbooks.core.errors import SlipwayError, Unreachable
from playbooks.environments.load import load_environment
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.progress import Silent
from playbooks.fleet.remote import Remote, StepCall
from playbooks.fleet.script import StepResult, parse
from playbooks.judgement.counts import Counts
from playbooks.rollout.watching.observers import BalancerCounts


@dataclass
class BalancerHost:
    """A balancer that has answered so many requests to app1, each tenth of them with an error; None: it is gone."""

    name: str
    requests: int | None = 0

    def chain(self, asks: Sequence[StepCall]) -> Iterator[StepResult]:
        if self.requests is None:
            raise Unreachable("no answer", host=self.name)
        text = f"epoch\t1\ncounter\tapp1\t{self.requests}\t{self.requests // 10}\ncursor\t{len(asks)}\n"
        yield parse(self.name, "traffic_counts", text.encode(), 0.0)


class Told(Silent):
    """Keeps what a person is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def counting(folder: Path, *edges: BalancerHost) -> tuple[BalancerCounts, Told]:
    variables = {"app": "shop", "hosts": "app", "balancer": {"hosts": "edge", "port": 80}}
    children = {"app": ["app1"], "edge": [edge.name for edge in edges]}
    tree = {
        "vars": {f"slipway_{key}": value for key, value in variables.items()},
        "children": {group: {"hosts": dict.fromkeys(hosts)} for group, hosts in children.items()},
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": tree}))
    told = Told()
    fleet = Fleet({edge.name: cast(Remote, edge) for edge in edges}, {}, told, 4)
    return BalancerCounts(fleet, load_environment(str(folder), folder), [edge.name for edge in edges]), told


def test_what_one_balancer_counts_is_not_lost_with_another(tmp_path: Path) -> None:
    """A release that failed each tenth request was watched for its whole stage by nobody."""
    one, two = BalancerHost("edge1"), BalancerHost("edge2")
    source, told = counting(tmp_path, one, two)
    assert source.read() == {}
    one.requests, two.requests = 100, None
    assert source.read() == {"app1": Counts(100, 10)}
    one.requests = 150
    assert source.read() == {"app1": Counts(50, 5)}
    assert told.warnings == ["edge2: its request counts cannot be read and are left out from now on: no answer"]
    one.requests = two.requests = 200
    assert source.read() == {"app1": Counts(250, 25)}, "and what it counted meanwhile comes with its return"


def test_no_number_at_all_is_an_error(tmp_path: Path) -> None:
    """To begin with every balancer must be there; later one that is."""
    one, two = BalancerHost("edge1"), BalancerHost("edge2", None)
    with pytest.raises(Unreachable):
        counting(tmp_path, one, two)[0].read()
    two.requests = 0
    source, _ = counting(tmp_path, one, two)
    source.read()
    one.requests = two.requests = None
    with pytest.raises(SlipwayError, match="no answer"):
        source.read()
