"""What a person asks of a task that changes the fleet."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.core.artifact import Artifact


@dataclass(frozen=True)
class DeployRequest:
    """What a person asks of a deploy.

    Args:
        version, artifact, sha256: see `find_artifact`.
        strategy, batch, watch: instead of those in ``slipway_rollout``; watch in seconds.
        force: deploy even what runs already, and take hosts out of the balancers whatever the others can carry.
        wait: seconds to wait for somebody else's lock.
        resume, found: the id of an interrupted deploy to go on with, and its artifact; see `playbooks.resume_deploy`.
    """

    version: str | None = None
    artifact: str | None = None
    sha256: str | None = None
    strategy: str | None = None
    batch: str | None = None
    watch: float | None = None
    force: bool = False
    wait: float = 0.0
    resume: str | None = None
    found: Artifact | None = None


@dataclass(frozen=True)
class RollbackRequest:
    """What a person asks of a rollback.

    Args:
        to: a release, version or backup; left out, what ran before.
        reason: why, kept in the ledger.
        with_database: whether databases go back too.
        batch: hosts that switch at the same time; left out, all of them: the way back is for emergencies.
        wait: seconds to wait for somebody else's lock.
    """

    to: str | None = None
    reason: str = ""
    with_database: bool = False
    batch: str | None = None
    wait: float = 0.0
