"""Continue a deploy whose controller died, from any machine, with the staged release on the hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from playbooks.core.artifact import Artifact
from playbooks.core.errors import UsageError
from playbooks.core.phases import Phase, PhaseCode
from playbooks.core.requests import DeployRequest
from playbooks.deploy import deploy
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import interrupted, read_all
from playbooks.fleet.fleet import open_fleet
from playbooks.fleet.lock_owner import MAX_FIELD, LockOwner
from playbooks.fleet.progress import Progress
from playbooks.releases.find_artifact import find_artifact
from playbooks.rollout.outcome import Outcome
from playbooks.steps.facts import Facts

LONGEST_WATCH = 86400.0 * 366  # seconds


def resume(env: Environment, wanted: DeployRequest, progress: Progress) -> Outcome:
    """Finish the interrupted deploy with its own flags. Hosts that wait for their guard are taken back first.

    Raises:
        UsageError: no deploy was interrupted, or its artifact is neither here nor complete on every host.
    """
    with open_fleet([target.address for target in env.targets], progress=progress, forks=env.settings.forks) as fleet:
        progress.phase(Phase(PhaseCode.LOOKING, "looking for what was interrupted"))
        facts = read_all(fleet, env, [target for target in env.targets if target.name in fleet.remotes])
    owner = interrupted(facts)
    if owner is None or owner.task != "deploy":
        last = f"; the last task there was '{owner.what}'" if owner else ""
        raise UsageError(f"no deploy of {env.title} was interrupted{last}", hint=f"see: invoke status {env.flag}")
    says = [host for host, fact in facts.items() if fact.interrupted == owner]
    progress.phase(
        Phase(
            PhaseCode.RESUMING,
            f"resuming '{owner.what}' of {owner.who}, which was interrupted; so {', '.join(says)} reports",
        )
    )
    if owner.limit and not env.limited:
        if len(owner.limit) == MAX_FIELD:
            raise UsageError(
                "the --limit of the interrupted deploy was too long to be recorded; nothing was touched",
                hint="give it again: --limit=…",
            )
        # Do not accept a pattern from a host that names a local file or takes hours to match.
        if set(owner.limit) & set("~@"):
            raise UsageError(
                f"the deploy had --limit='{owner.limit}', says a host. Slipway takes no regular expression and no file "
                "from a host's report; nothing was touched",
                hint="give it again: --limit=…",
            )
        env = env.narrowed(owner.limit)
        progress.phase(Phase(PhaseCode.RESUMING, f"going on as it was begun: --limit={owner.limit}"))
    artifact = _artifact(env, wanted, owner, facts)
    return deploy(env, _as_begun(wanted, owner, artifact), progress)


def _as_begun(wanted: DeployRequest, owner: LockOwner, artifact: Artifact) -> DeployRequest:
    """Return the request with the deploy's original flags; flags given now override them.

    Raises:
        UsageError: the host reports flags that no deploy accepts.
    """
    try:
        watch = float(owner.watch) if owner.watch else None
    except ValueError:
        watch = -1.0
    if watch is not None and not 0 <= watch <= LONGEST_WATCH:
        raise UsageError(
            f"it was to be watched for '{owner.watch}', which is no number of seconds", hint="give it: --watch=…"
        )
    return replace(
        wanted,
        version=owner.version,
        strategy=wanted.strategy or owner.strategy or None,
        batch=wanted.batch or owner.batch or None,
        watch=watch if wanted.watch is None else wanted.watch,
        resume=owner.id,
        found=artifact,
    )


def _artifact(env: Environment, wanted: DeployRequest, owner: LockOwner, facts: Mapping[str, Facts]) -> Artifact:
    """Find the artifact: the given one, or the local one of the version; else the hosts' staged copy.

    A given checksum is used; the hosts' checksum only if none is given.
    """
    releases = {host: fact.releases.get(owner.id) for host, fact in facts.items()}
    abouts = [release.about for release in releases.values() if release]
    sums = Counter(str(about["sha256"]) for about in abouts if "sha256" in about)
    sha256 = wanted.sha256.lower() if wanted.sha256 else sums.most_common(1)[0][0] if sums else None
    try:
        return find_artifact(env, version=owner.version, artifact=wanted.artifact, sha256=sha256)
    except UsageError as error:
        if wanted.artifact is not None or (wanted.sha256 and set(sums) != {sha256}):
            raise
        lacking = [host for host, release in releases.items() if release is None or release.state == "partial"]
        if lacking or sha256 is None:
            raise UsageError(
                f"{owner.version} cannot be finished from here: {error.message}; "
                f"and {', '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no complete copy of it",
                hint=f"give it with --artifact=PATH, or: invoke rollback {env.flag}",
            ) from None
        return Artifact(owner.version, str(abouts[0].get("artifact", "?")), None, "none", sha256, 0)
