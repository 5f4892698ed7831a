"""Which version a deploy without --version takes: the newest that was not taken back, by the hosts' ledgers."""

from __future__ import annotations

from collections.abc import Mapping

from playbooks.core.artifact import Artifact
from playbooks.environments.environment import Environment
from playbooks.fleet.fleet import Fleet
from playbooks.releases.find_artifact import find_artifact
from playbooks.releases.taken_back import taken_back
from playbooks.steps.facts import Facts
from playbooks.steps.ledger import read_ledger

LINES = 100


def choose_anew(
    fleet: Fleet, env: Environment, facts: Mapping[str, Facts], artifact: Artifact, sha256: str | None
) -> Artifact:
    """The artifact, or the newest other one if its version was taken back.

    Args:
        fleet: open sessions.
        env: where to.
        facts: of the hosts.
        artifact: the newest there is.
        sha256: that was asked for.

    Raises:
        UsageError: every version was taken back.
    """
    results = fleet.each(
        "ledger",
        lambda remote: read_ledger(remote, env.target(remote.name).settings.state, lines=LINES).records,
        hosts=list(facts),
    )
    bad = taken_back(results.ok.values())
    if artifact.version not in bad or _is_another(facts, artifact):
        return artifact
    found = find_artifact(env, sha256=sha256, without=bad)
    fleet.progress.warn(passed_over(found, artifact))
    return found


def passed_over(chosen: Artifact, newest: Artifact) -> str:
    """What is said of a version that is taken in place of the newest.

    Args:
        chosen: it; why it was says what was passed over.
        newest: the newest.
    """
    return f"{chosen.version} is taken, {chosen.why}. --version={newest.version} deploys the newest all the same"


def _is_another(facts: Mapping[str, Facts], artifact: Artifact) -> bool:
    """Whether what was taken back under this name was another build: a host has it still, and it is not this one."""
    releases = [release for fact in facts.values() for release in fact.releases.values()]
    sums = {release.about.get("sha256") for release in releases if release.version == artifact.version}
    return bool(sums) and artifact.sha256 not in sums
