"""How a plan is run, and what becomes of the traffic when it is not run to its end (A5, B1 to B3)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from playbooks.core.errors import SlipwayError, StepFailed, Unreachable
from playbooks.core.step_codes import StepCode
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.progress import Silent
from playbooks.fleet.remote import Remote
from playbooks.rollout.mover import Mover
from playbooks.rollout.rollout import HostState, Rollout, RolloutContext, StageVerdict, roll_out
from playbooks.settings.rollout import RolloutSettings as Settings
from playbooks.steps.traffic import Server
from playbooks.strategies.blue_green import side_by_side
from playbooks.strategies.canary import canary
from playbooks.strategies.plan import FleetShape, Plan, Stage
from playbooks.strategies.rolling import rolling
from playbooks.traffic.shares import HostBackends, TrafficSplit, server_weights

HOSTS = ("app1", "app2", "app3", "app4")
IN_PLACE = [HostBackends(host, Server(host, "::1", 80), Server(host, "::1", 80)) for host in HOSTS]
BESIDE = [HostBackends(host, Server(f"{host}-blue", "::1", 81), Server(f"{host}-green", "::1", 82)) for host in HOSTS]
LADDER = [{"share": share, "for": "1m"} for share in ("5%", "50%", "100%")]
SETTINGS = Settings.model_validate({"canary": LADDER, "blue_green": LADDER})
FLEET = FleetShape(len(HOSTS), balanced=True)


@dataclass(frozen=True)
class Named:
    """A host that there is nothing to know of but its name."""

    name: str


@dataclass
class Hosts:
    """Moves hosts; those that are bad are not healthy on the new release."""

    bad: frozenset[str] = frozenset()
    dies: frozenset[str] = frozenset()
    lost: str = ""
    on_new: set[str] = field(default_factory=set)
    stay: list[tuple[str, ...]] = field(default_factory=list)

    def forward(self, remote: Remote) -> None:
        self.on_new.add(remote.name)
        if remote.name in self.bad:
            raise StepFailed("it is not healthy", host=remote.name, step="health", code=StepCode.UNHEALTHY)

    def require_up(self, remote: Remote) -> None:
        if remote.name in self.dies:
            raise StepFailed("it was restarted", host=remote.name, step="health", code=StepCode.UNHEALTHY)

    def back(self, remote: Remote) -> None:
        self.on_new.discard(remote.name)

    def confirm(self, hosts: list[str], **_: bool) -> dict[str, SlipwayError]:
        self.stay.append(tuple(hosts))
        return {self.lost: Unreachable("the connection broke", host=self.lost)} if self.lost in hosts else {}


@dataclass
class Balancer:
    """Keeps where the traffic goes."""

    places: tuple[HostBackends, ...]
    balancers: tuple[str, ...] = ("edge1",)
    unchanged: frozenset[str] = frozenset()
    misrouted: bool = False
    partially_shifted: frozenset[str] = frozenset()
    splits: list[TrafficSplit] = field(default_factory=list)
    shuns: frozenset[str] = frozenset()
    enough: int = 99

    def begin(self) -> None: ...

    def meanwhile(self) -> None: ...

    def unserved(self) -> None: ...

    def require_headroom(self, hosts: frozenset[str]) -> None:
        assert hosts
        if self.enough == 0:
            raise StepFailed("none", host="edge1", step="headroom", code=StepCode.HEADROOM, hint="later")
        self.enough -= 1

    def move(self, split: TrafficSplit, **_: bool) -> dict[str, SlipwayError]:
        self.splits.append(split)
        return {
            host: StepFailed("no answer", host=host, step="traffic", code=StepCode.UNANSWERED)
            for host in self.shuns & split.moved
        }

    @property
    def weights(self) -> dict[str, int]:
        """Servers that get something."""
        shares = server_weights(self.places, self.splits[-1])
        return {share.server.name: share.weight for share in shares if share.on and share.weight}


@dataclass
class Judge:
    """Calls a stage bad."""

    bad: str

    def begin(self) -> None: ...

    def watch(self, stage: Stage, split: TrafficSplit) -> StageVerdict:
        return StageVerdict(stage.name, stage.name != self.bad, f"{stage.name}: judged", {"share": split.share})


def run(
    plan: Plan,
    places: list[HostBackends],
    *,
    bad: str = "",
    sick: frozenset[str] = frozenset(),
    shuns: frozenset[str] = frozenset(),
    dies: frozenset[str] = frozenset(),
    enough: int = 99,
    lost: str = "",
    how: Any = "halt",
) -> tuple[Rollout, Balancer, Hosts]:
    """Run a plan whose hosts and balancer do as they are told."""
    hosts, traffic = Hosts(sick, dies, lost), Balancer(tuple(places), shuns=shuns, enough=enough)
    fleet = Fleet({host: cast(Remote, Named(host)) for host in HOSTS}, {}, Silent(), 4)
    return (
        roll_out(RolloutContext(fleet, cast(Mover, hosts), traffic, Judge(bad)), plan, on_failure=how),
        traffic,
        hosts,
    )


@pytest.mark.parametrize(
    ("plan", "places", "new"),
    [
        (canary(HOSTS, SETTINGS, FLEET), IN_PLACE, {"app1"}),
        (
            side_by_side(HOSTS, SETTINGS, FLEET, strategy="blue-green"),
            BESIDE,
            {f"{host}-green" for host in HOSTS},
        ),
    ],
    ids=["canary", "slots"],
)
def test_what_is_halted_has_the_share_it_was_found_bad_at(
    plan: Plan, places: list[HostBackends], new: set[str]
) -> None:
    """A canary of 5 % that was judged bad, and halted, got a quarter of the traffic: its part of the hosts."""
    rollout, traffic, _ = run(plan, places, bad="5 % of the traffic")
    assert rollout.verdict == "halted"
    got = traffic.weights
    assert sum(got[name] for name in new) / sum(got.values()) == pytest.approx(0.05, rel=0.05)


def test_a_host_that_fails_while_the_canary_grows_leaves_it_as_large_as_it_was() -> None:
    """Those that were switched with it have not been judged at any share yet."""
    rollout, traffic, _ = run(canary(HOSTS, SETTINGS, FLEET), IN_PLACE, sick=frozenset({"app2"}))
    assert rollout.hosts(HostState.UNHEALTHY) == ["app2"]
    got = traffic.weights
    assert "app2" not in got
    assert got["app1"] / sum(got.values()) == pytest.approx(0.05, rel=0.05)


def test_a_rolling_deploy_that_is_halted_leaves_each_host_its_part() -> None:
    """There a host has what it can carry, whichever release it runs."""
    rollout, traffic, hosts = run(rolling(HOSTS, SETTINGS, FLEET), IN_PLACE, sick=frozenset({"app3"}))
    assert (rollout.verdict, hosts.on_new) == ("halted", {"app1", "app2", "app3"})
    assert traffic.weights == {"app1": 256, "app2": 256, "app4": 256}


@pytest.mark.parametrize(("lost", "verdict"), [("edge1", "rolled back"), ("app1", "deployed")])
def test_a_balancer_that_is_lost_at_the_confirmation_is_no_host_to_tolerate(lost: str, verdict: str) -> None:
    """Its guard takes the traffic back from the new release, and the deploy was called done."""
    plan = replace(rolling(HOSTS, SETTINGS, FLEET), tolerate=1)
    rollout, _, _ = run(plan, IN_PLACE, lost=lost, how="rollback")
    assert rollout.verdict == verdict


def test_a_host_that_no_user_could_reach_has_failed() -> None:
    """A release that listens on loopback alone is healthy by its own checks: it went on to every host but the last."""
    rollout, traffic, hosts = run(
        rolling(HOSTS, SETTINGS, FLEET), IN_PLACE, shuns=frozenset({"app1", "app2"}), how="rollback"
    )
    assert (rollout.verdict, hosts.on_new) == ("rolled back", set())
    assert rollout.hosts(HostState.UNTOUCHED) == ["app2", "app3", "app4"]
    assert "app1: no answer" in rollout.why
    assert traffic.splits[-1] == TrafficSplit()


@pytest.mark.parametrize(
    ("how", "verdict", "on_new"), [("halt", "halted", {"app1", "app2", "app3"}), ("rollback", "rolled back", set())]
)
def test_without_headroom_it_stops_between_two_batches(how: Any, verdict: str, on_new: set[str]) -> None:
    """A deploy went on host by host while most requests failed. And three at once on the way back would be worse."""
    rollout, traffic, hosts = run(rolling(HOSTS, SETTINGS, FLEET), IN_PLACE, enough=3, how=how)
    assert (rollout.verdict, rollout.for_lack_of_headroom, rollout.hint) == (verdict, True, "later")
    assert hosts.on_new == on_new
    assert rollout.host_states["app4"] == HostState.UNTOUCHED
    assert max(len(split.out) for split in traffic.splits) == 1
    assert not traffic.splits[-1].out


def test_what_serves_before_its_hosts_change_needs_no_headroom() -> None:
    """What is bad is left behind: nobody waits for it to become better."""
    stage = Stage("all of the traffic", HOSTS, share=1.0, serves=True)
    assert run(Plan("rolling", (stage,)), BESIDE, enough=0)[0].verdict == "deployed"


def test_as_many_as_are_tolerated_may_be_so() -> None:
    """They go back alone, like others that fail."""
    tolerant = Settings.model_validate({"tolerate": "1"})
    rollout, _, hosts = run(rolling(HOSTS, tolerant, FLEET), IN_PLACE, shuns=frozenset({"app2"}))
    assert (rollout.verdict, hosts.on_new) == ("deployed", {"app1", "app3", "app4"})
    assert rollout.hosts(HostState.ROLLED_BACK) == ["app2"]


def test_a_release_that_dies_after_it_was_healthy_is_taken_back() -> None:
    """A crash loop that answers for a second passed every check, and later failed deploys went back to it."""
    plan = rolling(HOSTS, SETTINGS, FLEET)
    rollout, traffic, hosts = run(plan, IN_PLACE, dies=frozenset({"app4"}), how="rollback")
    assert (rollout.verdict, hosts.on_new) == ("rolled back", set())
    assert "app4: it was restarted" in rollout.why
    tolerant = rolling(HOSTS, Settings.model_validate({"tolerate": "1"}), FLEET)
    rollout, traffic, hosts = run(tolerant, IN_PLACE, dies=frozenset({"app4"}), how="rollback")
    assert (rollout.verdict, hosts.on_new) == ("deployed", {"app1", "app2", "app3"})
    assert [split.out for split in traffic.splits[-2:]] == [{"app4"}, frozenset()]
    rollout, _, hosts = run(plan, IN_PLACE, dies=frozenset(HOSTS), how="guards")
    assert (rollout.verdict, hosts.on_new) == ("deployed", set(HOSTS)), "a rollback goes to what a person has named"


def test_what_serves_already_has_the_traffic_before_its_hosts_go_back_to_it() -> None:
    """Of slots that were halted at 5 %: a rollback took the old slot off to start it, and everybody met the bad one."""
    stage = Stage("all of the traffic", HOSTS, share=1.0, serves=True)
    rollout, traffic, hosts = run(Plan("rolling", (stage,)), BESIDE)
    assert (rollout.verdict, hosts.on_new) == ("deployed", set(HOSTS))
    for split in traffic.splits:
        shares = server_weights(BESIDE, split)
        assert {share.server.name for share in shares if share.on} == {f"{host}-green" for host in HOSTS}
