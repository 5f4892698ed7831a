"""Build the requests for locks that a task makes to its hosts."""

from __future__ import annotations

import json
from collections.abc import Iterable

from playbooks.environments.environment import Environment
from playbooks.fleet.lock_owner import GuardTiming, LockOwner, LockRequest
from playbooks.settings import Settings


def lock_requests(
    env: Environment, names: Iterable[str], owner: LockOwner, *, wait: float, undo: bool = False, inside: str = ""
) -> dict[str, LockRequest]:
    """Build the lock request for each of these hosts.

    Args:
        env: the environment.
        names: the hosts.
        owner: the lock owner to record.
        wait: seconds to wait for another lock owner.
        undo: see `LockRequest`.
        inside: a folder in the state folder, for another lock than the application's own.

    Raises:
        UsageError: the key that signs the task's records cannot sign.
    """
    settings = {name: env.target(name).settings for name in names}
    timing = GuardTiming(env.settings.guard.timeout)
    seal, abandoned_record = env.signing.seal(owner), owner.abandoned_record(env.name)

    def order(name: str, each: Settings) -> LockRequest:
        said = json.dumps(seal.left_to(name, abandoned_record), ensure_ascii=False)
        return LockRequest(f"{each.state}{inside}", each.home, owner, said, timing, wait, undo)

    return {name: order(name, each) for name, each in settings.items()}
