"""Every check that needs no change: a dry run reports the result, and a deploy ends if one fails.

What is asked of a host costs a round trip, so a deploy leaves it out where it knows the answer: what runs there was
made of the same configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from playbooks.backups.making import require_secrets
from playbooks.checks.host import judge_host, tools_for
from playbooks.checks.judged import CheckVerdict
from playbooks.checks.secrets import secrets_of
from playbooks.checks.units import judge_units, lacking, ports_of
from playbooks.core.artifact import Release
from playbooks.core.errors import SlipwayError, StepFailed
from playbooks.core.names import cut
from playbooks.environments.environment import Environment, Target
from playbooks.environments.host_facts import all_or_hint
from playbooks.fleet.fanout import Results
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.releases.members import Members, begin_reading
from playbooks.releases.render import Rendered
from playbooks.releases.renderings import Renderings, for_next
from playbooks.steps.facts import Facts
from playbooks.steps.preflight import ask_objections, read_objections
from playbooks.steps.repository import open_repository
from playbooks.strategies.plan import Plan


def before_any_host(
    env: Environment, release: Release, plan: Plan, warn: Callable[[str], None]
) -> Callable[[], Members]:
    """What can be known before a host is reached: that secrets can be had, and that the record will be signed.

    Args:
        env: settings and secrets.
        release: its artifact is begun to be read.
        plan: how it is to be rolled out.
        warn: told what a person should know.

    Returns:
        Waits for what the artifact holds.

    Raises:
        ConfigError, UsageError: the deploy cannot be.
    """
    distinct = {id(target.settings): target.settings for target in env.targets}.values()
    require_secrets(env, secrets_of(distinct, watches=bool(plan.watches)))
    env.signing.prepare(warn)
    return begin_reading(release.artifact)


def look_over(
    fleet: Fleet,
    env: Environment,
    targets: Sequence[Target],
    facts: Mapping[str, Facts],
    release: Release,
    renderings: Mapping[str, Renderings],
    members: Members,
    *,
    known: bool = True,
) -> Mapping[str, CheckVerdict]:
    """What speaks against a release, host by host.

    Args:
        fleet: open sessions.
        env: settings.
        targets: hosts that are to have it.
        facts: what they are.
        release, renderings: what they are to have.
        members: what its artifact holds.
        known: leave out what was found well when what runs there was deployed.

    Raises:
        SlipwayError: a host does not answer.
    """

    rendered = for_next(renderings, facts)

    def one(remote: Remote) -> CheckVerdict:
        host = remote.name
        settings, fact, made = env.target(host).settings, facts[host], rendered[host]
        judged = judge_host(fact, settings, needs=tools_for(settings, release.artifact))
        judged += lacking(settings, made, release.id, members.modes)
        if members.damaged:
            judged += CheckVerdict((members.damaged,), hint=members.hint)
        # What another tool deployed has the units and the ports still.
        if fact.theirs or (known and _is_known(fact, made, renderings[host])):
            return judged
        ports = [port.number for port in ports_of(settings, made)]
        (answer,) = remote.chain([ask_objections(settings, made.units, ports)])
        return judged + judge_units(settings, made, release.id, read_objections(answer))

    results = fleet.each("preflight", one, hosts=[target.name for target in targets])
    return all_or_hint(env, results, "preflight")


def repositories(fleet: Fleet, env: Environment, hosts: Sequence[str]) -> Mapping[str, CheckVerdict]:
    """What speaks against backing these hosts up; a deploy need not ask, since it backs up before it changes them."""
    if not env.settings.backup.enabled:
        return {}
    results = fleet.each(
        "repository",
        lambda remote: open_repository(remote, env.target(remote.name).settings, env.secrets),
        hosts=hosts,
    )
    return {host: CheckVerdict((error.message,), hint=error.hint) for host, error in results.failed.items()}


def require_good(env: Environment, judged: Mapping[str, CheckVerdict]) -> list[str]:
    """The warnings of hosts against which nothing speaks.

    Raises:
        SlipwayError: something does, on some host; all of it is told.
    """
    failed: dict[str, SlipwayError] = {
        host: StepFailed(cut("; ".join(one.problems)), host=host, step="preflight", code="preflight", hint=one.hint)
        for host, one in judged.items()
        if one.problems
    }
    good = {host: one for host, one in judged.items() if not one.problems}
    all_or_hint(env, Results(good, failed), "preflight")
    return [f"{host}: {warning}" for host, one in judged.items() for warning in one.warnings]


def _is_known(facts: Facts, made: Rendered, renderings: Renderings) -> bool:
    """Whether all that a host could object to was found well when what runs there was deployed."""
    running = facts.running
    as_it_runs = renderings.get(running.slot) if running else None
    if running is None or as_it_runs is None or not facts.is_up:
        return False
    # The other slot's port is ours as long as what was there still runs.
    ours = made.slot is None or (facts.idle is not None and facts.idle.slot == made.slot.name and facts.idle.runs)
    return ours and running.about.get("config") == as_it_runs.digest
