"""Every check that needs no change: a dry run reports the result, and a deploy ends if one fails.

A question to a host costs a round trip. So a deploy leaves it out if it knows the answer, because the running release
has the same configuration.
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
from playbooks.core.step_codes import StepCode
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import all_or_hint
from playbooks.environments.targets import Target
from playbooks.fleet.fanout import Results
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.remote import Remote
from playbooks.releases.members import Members, begin_reading
from playbooks.releases.render import Rendered
from playbooks.releases.renderings import Renderings, for_next
from playbooks.steps.facts import Facts
from playbooks.steps.preflight import objections_call, read_objections
from playbooks.steps.repository import open_repository
from playbooks.strategies.plan import Plan


def before_any_host(
    env: Environment, release: Release, plan: Plan, warn: Callable[[str], None]
) -> Callable[[], Members]:
    """The checks before a host is reached: that secrets can be read, and that the record will be signed.

    Args:
        env: settings and secrets.
        release: its artifact is read in the background.
        plan: how it will be rolled out.
        warn: gets the warnings.

    Returns:
        A function that waits for the artifact's members.

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
    """The checks of a release on each host.

    Args:
        fleet: the open sessions.
        env: the environment.
        targets: hosts that will get it.
        facts: what they have and run.
        release, renderings: what they will get.
        members: the members of its artifact.
        known: leave out checks that passed when the running release was deployed.

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
        # A release of another tool still has the units and the ports.
        if fact.foreign_release or (known and _is_known(fact, made, renderings[host])):
            return judged
        ports = [port.number for port in ports_of(settings, made)]
        (answer,) = remote.chain([objections_call(settings, made.units, ports)])
        return judged + judge_units(settings, made, release.id, read_objections(answer))

    results = fleet.each("preflight", one, hosts=[target.name for target in targets])
    return all_or_hint(env, results, "preflight")


def repositories(fleet: Fleet, env: Environment, hosts: Sequence[str]) -> Mapping[str, CheckVerdict]:
    """Problems with backing up these hosts; a deploy need not check, since it backs up before it changes them."""
    if not env.settings.backup.enabled:
        return {}
    results = fleet.each(
        "repository",
        lambda remote: open_repository(remote, env.target(remote.name).settings, env.secrets),
        hosts=hosts,
    )
    return {host: CheckVerdict((error.message,), hint=error.hint) for host, error in results.failed.items()}


def require_good(env: Environment, judged: Mapping[str, CheckVerdict]) -> list[str]:
    """The warnings of hosts without problems.

    Raises:
        SlipwayError: some host has problems; it lists all of them.
    """
    failed: dict[str, SlipwayError] = {
        host: StepFailed(
            cut("; ".join(one.problems)), host=host, step="preflight", code=StepCode.PREFLIGHT, hint=one.hint
        )
        for host, one in judged.items()
        if one.problems
    }
    good = {host: one for host, one in judged.items() if not one.problems}
    all_or_hint(env, Results(good, failed), "preflight")
    return [f"{host}: {warning}" for host, one in judged.items() for warning in one.warnings]


def _is_known(facts: Facts, made: Rendered, renderings: Renderings) -> bool:
    """Whether every check of a host passed when the running release was deployed."""
    running = facts.current_release
    as_it_runs = renderings.get(running.slot) if running else None
    if running is None or as_it_runs is None or not facts.is_up:
        return False
    # The other slot's port belongs to the application as long as the release in it still runs.
    ours = made.slot is None or (facts.idle is not None and facts.idle.slot == made.slot.name and facts.idle.runs)
    return ours and running.about.get("config") == as_it_runs.digest
