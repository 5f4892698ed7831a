"""Choose the version of a deploy without --version: the newest that, by the hosts' ledgers, was not taken back."""

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
    """Return the artifact, or the newest other one if its version was taken back.

    Args:
        fleet: the open sessions.
        env: the environment.
        facts: the hosts' facts.
        artifact: the newest artifact.
        sha256: the requested checksum.

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
    """Return the sentence about a version that is deployed in place of the newest.

    Args:
        chosen: the chosen artifact; its ``why`` names the skipped versions.
        newest: the newest artifact.
    """
    return f"{chosen.version} is chosen, {chosen.why}. --version={newest.version} deploys the newest nevertheless"


def _is_another(facts: Mapping[str, Facts], artifact: Artifact) -> bool:
    """Return whether the version taken back was another build: hosts have the version, but not with this checksum."""
    releases = [release for fact in facts.values() for release in fact.releases.values()]
    sums = {release.about.get("sha256") for release in releases if release.version == artifact.version}
    return bool(sums) and artifact.sha256 not in sums
