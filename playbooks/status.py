"""Show what runs where, since when, by whom, and in which state. It changes nothing."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from playbooks.core.clock import instant
from playbooks.core.errors import ANY_ENV, ExitStatus, SlipwayError
from playbooks.core.states import GuardState
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import facts_of
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.health import health_of
from playbooks.steps.drift import drift_sentences
from playbooks.steps.facts import Facts, version_in
from playbooks.steps.health import HealthReport
from playbooks.traffic.balancer_status import BalancerStatus, balancer_statuses
from playbooks.traffic.groups import group_hosts
from playbooks.traffic.servers import balancers_of

Health = Literal["healthy", "unhealthy", "stopped", "nothing deployed", "unreachable", "unknown"]


@dataclass(frozen=True)
class HostStatus:
    """The status of one host. Times are UTC, ISO 8601; None if unknown; ``next`` is what a person can do.

    ``since`` is when the running services started, ``switched`` when the release became the current one.
    ``restarts`` counts how often systemd has restarted its units. ``log``: the last output of failed units.
    ``went_back``: when its guard took the host back after an interrupted task.
    ``drift``: changes by hand in the running release. ``warnings`` are about these, and about invalid parts of the
    host's answer, which are left out.
    """

    host: str
    version: str | None = None
    release: str | None = None
    since: str | None = None
    switched: str | None = None
    restarts: int = 0
    by: str | None = None
    health: Health = "unknown"
    detail: str = ""
    lock: str | None = None
    interrupted: str | None = None
    guard: str | None = None
    guard_state: GuardState | None = None
    went_back: str | None = None
    backup: str | None = None
    backup_at: str | None = None
    unbacked: str | None = None
    verified: str | None = None
    verified_at: str | None = None
    system: str = ""
    slot: str | None = None
    idle: str | None = None
    group: str | None = None
    next: str = ""
    log: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def stuck(self) -> bool:
        """Return whether its guard failed to take it back."""
        return self.guard_state == GuardState.STUCK


@dataclass(frozen=True)
class Status:
    """The status of the fleet.

    Args:
        flag: the flag that names the environment.
        balancers: the balancers' hosts.
        live: the group of hosts that has the traffic; None if there are no groups, or it is unknown.
    """

    schema: ClassVar[str] = "slipway.status/1"
    environment: str
    app: str
    hosts: tuple[HostStatus, ...]
    flag: str = ""
    balancers: tuple[BalancerStatus, ...] = ()
    live: str | None = None

    @property
    def versions(self) -> list[str]:
        """Return the versions that run, each once."""
        return sorted({host.version for host in self.hosts if host.version})

    @property
    def mixed(self) -> bool:
        """Return whether reachable hosts run different versions, or only some run one.

        A group of hosts without traffic may run another version.
        """
        count = [host for host in self.hosts if self.live is None or host.group == self.live]
        return len({host.version for host in count if host.health != "unreachable"}) > 1

    @property
    def whole_again(self) -> str:
        """Return how to repair a mixed fleet; after an interrupted task `next` says it."""
        if busy := next((host.lock for host in self.hosts if host.lock), None):
            return f" while a task is at work: {busy}"
        left = self.interrupted or any(host.guard for host in self.hosts)
        return "" if left else "; a deploy brings all hosts to one version"

    @property
    def by_group(self) -> str:
        """Return the versions of each group, the one with traffic first: "blue (live) 1.1, green 1.0"."""
        if self.live is None:
            return ""
        names = sorted({host.group for host in self.hosts if host.group}, key=lambda name: (name != self.live, name))
        return ", ".join(f"{name}{' (live)' if name == self.live else ''} {self._runs(name)}" for name in names)

    def _runs(self, group: str) -> str:
        found = [host for host in self.hosts if host.group == group]
        versions = sorted({host.version or "nothing" for host in found if host.health != "unreachable"})
        return " and ".join(versions) or "unreachable"

    @property
    def exit_status(self) -> ExitStatus:
        """Return 3 if a host is unreachable or a task was interrupted; 1 if one is unhealthy, nobody is served, or the
        fleet is mixed.

        While a task runs, a mixed fleet is no error.
        """
        left = any(host.health == "unreachable" or host.interrupted or host.stuck for host in self.hosts)
        if left or any(balancer.needs_person for balancer in self.balancers):
            return ExitStatus.PERSON_NEEDED
        well = any(host.health == "healthy" for host in self.hosts)
        unserved = any(balancer.unserved or (well and not balancer.up) for balancer in self.balancers)
        busy = any(host.lock for host in self.hosts)
        bad = any(host.health == "unhealthy" for host in self.hosts) or (self.mixed and not busy)
        return ExitStatus.FAILED if bad or unserved else ExitStatus.DONE

    @property
    def interrupted(self) -> str | None:
        """Return the interrupted task, if any."""
        return next((host.interrupted for host in self.hosts if host.interrupted), None)

    @property
    def went_back(self) -> str:
        """Return a sentence about the hosts that guards took back after an interrupted task; empty if none."""
        back = [host for host in self.hosts if host.went_back]
        told = ", ".join(f"{host.host} to {host.version or 'nothing'} at {host.went_back}" for host in back)
        return f"Went back by itself, because the controller was silent: {told}" if told else ""

    @property
    def hints(self) -> list[str]:
        """Return hints for unreachable hosts and balancers that lack servers, each once."""
        found = [host.next for host in self.hosts if host.health == "unreachable" and host.next]
        found += [balancer.hint for balancer in self.balancers if balancer.hint]
        found += [f"invoke provision {self.flag}" for balancer in self.balancers if balancer.lacks]
        return list(dict.fromkeys(found))

    @property
    def next(self) -> str:
        """Return what to do about an interrupted task."""
        if any(host.stuck for host in self.hosts):
            return f"look at the host whose guard is stuck; then invoke rollback {self.flag}, or deploy again"
        left = [host for host in self.hosts if host.interrupted]
        waiting = " (hosts with a guard go back by themselves)" if any(host.guard for host in self.hosts) else ""
        if left and all(host.went_back for host in left):
            waiting = " (nothing of it runs any more: a rollback changes no host, and finishes with it)"
        return next((host.next for host in left), "") + waiting

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "app": self.app,
            "mixed": self.mixed,
            "versions": self.versions,
            "live": self.live,
            "interrupted": self.interrupted,
            "hosts": [asdict(host) for host in self.hosts],
            "balancers": [asdict(balancer) for balancer in self.balancers],
            "exit_status": int(self.exit_status),
        }


def status(env: Environment, progress: Progress) -> Status:
    """Read every host of the application at the same time; an unreachable host has a line like the others."""
    balancers = balancers_of(env)
    addresses = [*(target.address for target in env.targets), *(env.target(name).address for name in balancers)]
    with open_fleet(addresses, progress=progress, forks=env.settings.forks) as fleet:
        there = [target.name for target in env.targets if target.name in fleet.remotes]
        facts = fleet.each("facts", lambda remote: _look(env, remote), hosts=there)
        in_front = balancer_statuses(fleet, env, balancers)
    failed = {**fleet.unreachable, **facts.failed}
    group_of = {host: name for name, hosts in group_hosts(env).items() for host in hosts}
    lines = tuple(
        unreachable(target.name, failed[target.name], env.flag) if target.name in failed else facts.ok[target.name]
        for target in env.targets
    )
    if not any(line.version for line in lines):
        # Before the first deploy this is normal.
        in_front = tuple(
            replace(balancer, unserved="", hint="") if balancer.unserved else balancer for balancer in in_front
        )
    live = {balancer.live for balancer in in_front if balancer.live}
    return Status(
        environment=env.name,
        app=env.settings.app,
        hosts=tuple(replace(line, group=group_of.get(line.host)) for line in lines),
        flag=env.flag,
        balancers=in_front,
        live=live.pop() if len(live) == 1 else None,
    )


def _look(env: Environment, remote: Remote) -> HostStatus:
    facts = facts_of(env, remote, drift=True)
    return _status(facts, health_of(env, remote, facts), env.flag)


def _status(facts: Facts, report: HealthReport | None, flag: str) -> HostStatus:
    running = facts.current_release
    backups = sorted(facts.backups, key=lambda record: str(record.get("created", "")))
    last = backups[-1] if backups else {}
    verified = facts.last_drill or {}
    return HostStatus(
        host=facts.host,
        version=facts.version,
        release=facts.current,
        since=_instant(facts.runs_since),
        switched=_instant(facts.switched_at),
        restarts=sum(unit.restarts for unit in facts.units),
        by=str(running.about.get("by")) if running else None,
        health=_health(facts, report),
        detail="" if report is None or report.healthy else report.reason(),
        log=() if report is None or report.healthy else report.log,
        lock=_owner(facts.lock),
        interrupted=_owner(facts.interrupted),
        guard=_guard(facts),
        guard_state=facts.guard.state if facts.guard else None,
        went_back=_instant(facts.went_back),
        backup=_text(last.get("id")),
        backup_at=_text(last.get("created")),
        unbacked=facts.backup_error,
        verified=_text(verified.get("status")),
        verified_at=_text(verified.get("at")),
        system=facts.system,
        slot=facts.slot,
        idle=_idle(facts),
        next=way_on(facts.interrupted, flag) if facts.interrupted else "",
        # While a task runs, the current release and its units may differ for a moment.
        drift=drift_sentences(facts.drift) if facts.lock is None else (),
        warnings=(*facts.anomalies, *_restarted(facts)),
    )


def _instant(seconds: int | None) -> str | None:
    return instant(datetime.fromtimestamp(seconds, UTC)) if seconds else None


def _restarted(facts: Facts) -> list[str]:
    """Return a sentence for each unit that systemd has restarted."""

    def times(count: int) -> str:
        return "once" if count == 1 else f"{count} times"

    return [
        f"{unit.name} was restarted {times(unit.restarts)} by systemd, last at {_instant(unit.since)}"
        for unit in facts.units
        if unit.restarts
    ]


def _health(facts: Facts, report: HealthReport | None) -> Health:
    if report is None:
        return "nothing deployed" if facts.current is None else "stopped"
    return "healthy" if report.healthy else "unhealthy"


def _idle(facts: Facts) -> str | None:
    idle = facts.idle
    if idle is None:
        return (
            f"kept until {instant(datetime.fromtimestamp(facts.units_kept_until, UTC))}"
            if facts.units_kept_until
            else None
        )
    until = f", kept until {instant(datetime.fromtimestamp(idle.until, UTC))}" if idle.until else ""
    return f"{version_in(idle.release)} in {idle.slot}{'' if idle.runs else ', which does not run'}{until}"


def _owner(owner: LockOwner | None) -> str | None:
    return f"{owner.who}, {owner.what}, since {owner.since}" if owner else None


def _guard(facts: Facts) -> str | None:
    guard = facts.guard
    if guard is None:
        return None
    where = f"to {version_in(guard.target)}" if guard.target else "to nothing"
    if guard.state == GuardState.STUCK:
        return f"stuck: {guard.why}"
    return (
        f"goes {where} by itself after {guard.seconds} s of silence"
        if guard.state == GuardState.ARMED
        else f"goes {where} now"
    )


def way_on(left: LockOwner, flag: str) -> str:
    """Return what a person can do about an interrupted task.

    Args:
        left: the interrupted task's lock owner.
        flag: the flag that names the environment.
    """
    if left.task == "deploy":
        return f"invoke deploy {flag} --resume finishes it, invoke rollback {flag} undoes it"
    if left.task == "rollback":
        to = f" --to={shlex.quote(left.version)}" if left.version else ""
        return f"invoke rollback {flag}{to} finishes it"
    return f"invoke {left.task} {flag} does it again" if left.task == "backup" else f"'{left.what}' can be begun again"


def unreachable(host: str, error: SlipwayError, flag: str) -> HostStatus:
    """Make the status of an unreachable host.

    Args:
        host: the host's name.
        error: the error.
        flag: the flag that names the environment.
    """
    hint = (error.hint or "").replace(ANY_ENV, flag)
    return HostStatus(host, health="unreachable", detail=error.message, next=hint)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
