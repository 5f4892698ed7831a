"""Define a person's requests for tasks that change the fleet."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.core.artifact import Artifact


@dataclass(frozen=True)
class DeployRequest:
    """A person's request for a deploy.

    Args:
        version, artifact, sha256: see `find_artifact`.
        strategy, batch, watch: override those in ``slipway_rollout``; watch in seconds.
        force: deploy even a version that runs already, and ignore the limits for headroom.
        wait: seconds to wait for another task's lock.
        overrule: why migrations are applied against a rehearsal, or outside of their window; empty: they are not.
        resume, found: the id of an interrupted deploy to resume, and its artifact; see `playbooks.resume_deploy`.
    """

    version: str | None = None
    artifact: str | None = None
    sha256: str | None = None
    strategy: str | None = None
    batch: str | None = None
    watch: float | None = None
    force: bool = False
    wait: float = 0.0
    overrule: str = ""
    resume: str | None = None
    found: Artifact | None = None


@dataclass(frozen=True)
class RollbackRequest:
    """A person's request for a rollback.

    Args:
        to: a release, version or backup; default: the previous release.
        reason: the reason, which the ledger records.
        with_database: whether to restore databases too.
        batch: hosts that switch at the same time; default: all, because a rollback is urgent.
        wait: seconds to wait for another task's lock.
        overrule: why databases are restored although others go back with them, or what is there cannot be kept;
            empty: they are not.
    """

    to: str | None = None
    reason: str = ""
    with_database: bool = False
    batch: str | None = None
    wait: float = 0.0
    overrule: str = ""
