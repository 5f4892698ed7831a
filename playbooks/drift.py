"""Report what differs on the hosts from the deploy or from the present inventory. It changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from playbooks.core.artifact import Artifact, Release
from playbooks.core.errors import ConfigError, ExitStatus, SlipwayError
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import facts_of
from playbooks.environments.targets import Target
from playbooks.environments.templates import Templates
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.progress import Progress
from playbooks.fleet.remote import Remote
from playbooks.releases.difference import Apart, told_apart
from playbooks.releases.render import render
from playbooks.releases.slots import slots_on
from playbooks.steps.drift import Change, drift_call, read_drift
from playbooks.steps.facts import Facts
from playbooks.steps.rendered import OnHost, read_rendered


@dataclass(frozen=True)
class HostDrift:
    """The drift of one host.

    Args:
        version, release: what runs; None if nothing runs.
        changes: the changes by hand since the deploy, up to a limit.
        more: how many changes are beyond the limit.
        by_hand: unified diffs of rendered files that were changed since, as far as the deployed content is known.
        undeployed: unified diffs between the deployed files and those that the present inventory renders.
            Secrets are struck out of both.
        error: why the host could not be read.
    """

    host: str
    version: str | None = None
    release: str | None = None
    changes: tuple[Change, ...] = ()
    more: int = 0
    by_hand: tuple[str, ...] = ()
    undeployed: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class FleetDrift:
    """The drift of the fleet.

    Args:
        flag: the flag that names the environment.
    """

    schema: ClassVar[str] = "slipway.drift/1"
    environment: str
    hosts: tuple[HostDrift, ...]
    flag: str

    @property
    def drifted(self) -> bool:
        """Return whether something was changed by hand."""
        return any(host.changes for host in self.hosts)

    @property
    def exit_status(self) -> ExitStatus:
        """Return 0 if every host is as deployed, 1 if one is not, 3 if one is unreachable.

        A difference from the inventory is no drift, because there is one between each commit and its deploy.
        """
        if any(host.error for host in self.hosts):
            return ExitStatus.PERSON_NEEDED
        return ExitStatus.FAILED if self.drifted else ExitStatus.DONE

    @property
    def next(self) -> tuple[str, ...]:
        """Return what a person can do about it."""
        spoilt: dict[str, list[str]] = {}
        for host in self.hosts:
            if host.version and any(change.is_mended_by_deploy for change in host.changes):
                spoilt.setdefault(host.version, []).append(host.host)
        found = [
            f"invoke deploy {self.flag} --version={version} deploys it again to {', '.join(hosts)}"
            for version, hosts in spoilt.items()
        ]
        if any(change.kind == "drop-in" for host in self.hosts for change in host.changes):
            found.append("systemctl revert UNIT, there, takes drop-ins away; no deploy does")
        if any(change.kind == "unread" for host in self.hosts for change in host.changes):
            found.append("systemctl daemon-reload, there, lets systemd read what is on disk, for the next start")
        if any(host.undeployed for host in self.hosts):
            found.append(f"invoke deploy {self.flag} --check shows what the inventory would change")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "environment": self.environment,
            "drifted": self.drifted,
            "hosts": [
                {
                    "host": host.host,
                    "version": host.version,
                    "release": host.release,
                    "changes": [{"kind": change.kind, "name": change.name} for change in host.changes],
                    "more": host.more,
                    "by_hand": list(host.by_hand),
                    "undeployed": list(host.undeployed),
                    "error": host.error,
                }
                for host in self.hosts
            ],
            "exit_status": int(self.exit_status),
        }


def drift(env: Environment, progress: Progress) -> FleetDrift:
    """Compare every file of the running release on every host with what was deployed.

    Args:
        env: the environment.
        progress: receives what to show a person.

    Raises:
        ConfigError: the present inventory cannot be rendered.
    """
    templates = Templates.of(env)

    def one(remote: Remote) -> HostDrift:
        target = env.target(remote.name)
        facts = facts_of(env, remote)
        if facts.intact_current is None:
            return HostDrift(remote.name, facts.version, facts.current, error=_lost(facts))
        (answer,) = remote.chain([drift_call(target.settings, how="all")])
        found = read_drift(answer)
        apart = _compared(env, target, facts, read_rendered(remote, target.settings), templates)
        return HostDrift(
            host=remote.name,
            version=facts.version,
            release=facts.current,
            changes=found.changes if found else (),
            more=found.more if found else 0,
            by_hand=apart.by_hand,
            undeployed=apart.undeployed,
        )

    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        results = fleet.each("drift", one)
    failed: Mapping[str, SlipwayError] = {**fleet.unreachable, **results.failed}
    if wrong := [error for error in failed.values() if isinstance(error, ConfigError)]:
        raise ConfigError(list(dict.fromkeys(problem for error in wrong for problem in error.problems)))
    return FleetDrift(
        environment=env.name,
        hosts=tuple(
            HostDrift(target.name, error=failed[target.name].message)
            if target.name in failed
            else results.ok[target.name]
            for target in env.targets
        ),
        flag=env.flag,
    )


def _lost(facts: Facts) -> str | None:
    return "; ".join(facts.anomalies) if facts.lost else None


def _compared(env: Environment, target: Target, facts: Facts, there: OnHost, templates: Templates) -> Apart:
    """Return diffs between the deployed files, the host's files, and the files that the present inventory renders."""
    running = facts.current_release
    if running is None or running.about.get("config") is None:
        return Apart()  # an adopted release has no rendered files
    slot = next((slot for slot in slots_on(env, target) if (slot.name if slot else None) == facts.slot), None)
    artifact = Artifact(running.version, "", None, "none", "", 0)
    rendered = render(env, target, Release(running.id, artifact, "", ""), templates, slot)
    places = {f"{target.settings.home}/releases/{running.id}": f"{target.settings.home}/current"}
    return told_apart(rendered, there, places, env.secrets.mask, now="inventory of today")
