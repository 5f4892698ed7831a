"""Make a release the current one, by one rename, and restart its units (A1, A3)."""

from __future__ import annotations

from playbooks.errors import StepFailed
from playbooks.fleet.remote import Note, Remote
from playbooks.settings import Settings

HINTS = {
    "moved": "somebody changed it by hand or by another tool; see: invoke status --env=…",
    "incomplete": "deploy that version again: invoke deploy --env=… --version=… --force",
    "hook": "the release was staged well; correct the hook and deploy again",
}


def switch(
    remote: Remote,
    settings: Settings,
    *,
    target: str | None,
    expected: str | None,
    deploy: str,
    hooks: bool,
    first: bool = False,
    note: Note | None = None,
) -> None:
    """Switch a host from one release to another.

    Args:
        remote: the host.
        settings: its settings.
        target: the release to run; None takes the application off, which undoes a first deploy.
        expected: the release that is current now; anything else there (but the target) is refused.
        deploy: the id of the deploy or rollback, for the name of the unit that this runs in.
        hooks: whether to run before_switch and after_switch hooks; the way back runs none.
        first: whether hooks that run on one host only run on this one.
        note: called with progress.

    Raises:
        StepFailed: it was refused, or a hook failed. A unit that does not start is the health check's to tell.
    """
    seconds = min(settings.health.patience, settings.timeouts.command)
    budget = sum(hook.timeout for hook in (*settings.hooks.before_switch, *settings.hooks.after_switch)) if hooks else 0
    arguments = [
        settings.home,
        target or "-",
        expected or "-",
        settings.run_user,
        "hooks" if hooks else "-",
        "first" if first else "-",
        f"{seconds:g}",
    ]
    try:
        remote.run(
            "switch",
            arguments,
            unit=f"slipway-{settings.app}-switch-{deploy}-{'to' if hooks else 'back'}",
            timeout=seconds + budget + settings.timeouts.command,
            note=note,
        )
    except StepFailed as error:
        error.hint = error.hint or HINTS.get(error.code)
        raise
