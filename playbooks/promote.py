"""Continue a stage that is held because of too few requests (B2, B3), from any machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from playbooks.core.answer import Answer
from playbooks.core.errors import SlipwayError
from playbooks.environments.environment import Environment
from playbooks.environments.lock_owners import most_said, signal_lock_owners
from playbooks.fleet.progress import Progress
from playbooks.steps.promote import Heard, read_promote


@dataclass(frozen=True)
class Promoted(Answer):
    """The promoted stage.

    Args:
        stage: the stage's name.
        id, what, by: the deploy's id, its description for a person, and the person who runs it.
        hosts: the hosts that recorded it.
    """

    schema: ClassVar[str] = "slipway.promote/1"
    stage: str
    id: str
    what: str
    by: str
    hosts: tuple[str, ...]


def promote(env: Environment, progress: Progress) -> Promoted:
    """Promote the held stage. The deploy reads it at its next look, if most of its hosts have recorded it.

    Args:
        env: where the deploy runs.
        progress: receives what to show a person.

    Raises:
        SlipwayError: no deploy is running, it holds no stage, or no host is reachable.
    """
    heard = signal_lock_owners(env, progress, "promote", read_promote)
    held = {host: one for host, one in heard.items() if one.stage is not None}
    if not held:
        raise _nothing_held(env, [one for one in heard.values() if one.owner])
    most = most_said(held.values())
    assert most.owner is not None  # the owner of a held stage holds the lock  # noqa: S101
    assert most.stage is not None  # noqa: S101
    return Promoted(env.name, most.stage, most.owner.id, most.owner.what, most.owner.who, tuple(held))


def _nothing_held(env: Environment, busy: list[Heard]) -> SlipwayError:
    """Make the error for no held stage. It is no usage error, because the stage may just have ended."""
    if not busy:
        return SlipwayError(
            f"no deploy is running on {env.title}; nothing was changed", hint=f"invoke status {env.flag}"
        )
    owner = busy[0].owner
    assert owner is not None  # they are those that have one  # noqa: S101
    return SlipwayError(
        f"{owner.who}'s '{owner.what}' holds no stage: it is not waiting for anybody; nothing was changed",
        hint="a stage that ends with too little to judge by is held; whoever watches the deploy sees it",
    )
