"""Tasks that only read an inventory that is not trusted, in a process with few rights (--untrusted-inventory)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from invoke.exceptions import Exit

from playbooks.cli import runner
from playbooks.cli.telling import tell_error
from playbooks.core import streams
from playbooks.core.answer import Result
from playbooks.core.errors import ExitStatus, SlipwayError, UsageError

if TYPE_CHECKING:
    from playbooks.cli.runner import Several
    from playbooks.environments.environment import Environment
    from playbooks.fleet.progress import Progress
    from playbooks.inventory import Inventory
    from playbooks.show_variables import Variables

R = TypeVar("R", bound=Result)


def list_variables(
    env: str,
    look: Callable[[Inventory], Variables],
    show: Callable[[Variables], None],
    *,
    as_json: bool = False,
    untrusted: bool = False,
) -> None:
    """Show an inventory, with or without settings of Slipway, and end the task with its status.

    Args:
        env: name or path of the environment.
        look: reads what to show.
        show: prints it for a person, on standard output.
        as_json: print one JSON document instead.
        untrusted: do so in a process with few rights.

    Raises:
        Exit: with a status other than 0.
    """
    from playbooks.report import output

    def run() -> None:
        streams.prepare()
        output.strike_with(runner.as_typed(env))
        try:
            inventory = runner.load_bare(env, untrusted=untrusted)
            output.tell(*(output.shown(f"warning: {warning}") for warning in inventory.warnings))
            tell_variables(look(inventory), show, as_json=as_json)
        except SlipwayError as error:
            tell_error(error, {}, as_json=as_json)
            raise Exit(code=int(error.exit_status)) from None

    if untrusted:
        _in_child(run, as_json=as_json)
    else:
        run()


def tell_variables(found: Variables, show: Callable[[Variables], None], *, as_json: bool) -> None:
    """Print what an inventory has.

    Args:
        found: what it has.
        show, as_json: as for `list_variables`.
    """
    from playbooks.report import output

    if not as_json:
        show(found)
        return
    output.answer_json(found.document)
    if found.missing:
        output.tell(output.shown(f"note: {found.missing}"))


def perform_untrusted(
    env: str,
    act: Callable[[Environment], R],
    show: Callable[[R], None],
    *,
    limit: str | None = None,
    app: str | None = None,
    several: Several = "ask",
    as_json: bool = False,
    bare: Callable[[Inventory, str], None] | None = None,
) -> None:
    """Run a procedure that only reads, for an inventory that is not trusted, in a process with few rights.

    Args:
        env, act, show, limit, app, several, as_json, bare: as for `perform`.

    Raises:
        Exit: with a status other than 0.
    """
    from playbooks.cli.contained import within_memory

    def look(environment: Environment, _: Progress) -> R:
        with within_memory():
            return act(environment)

    def run() -> None:
        runner.perform(
            env, look, show, limit=limit, app=app, several=several, as_json=as_json, untrusted=True, bare=bare
        )

    _in_child(run, as_json=as_json)


def _in_child(act: Callable[[], None], *, as_json: bool) -> None:
    from playbooks.cli.contained import contained

    def run() -> int:
        try:
            act()
        except Exit as ended:
            return int(ended.code)
        return int(ExitStatus.DONE)

    streams.prepare()
    ended = contained(run)
    if ended.status is None:
        tell_error(UsageError(ended.why), {}, as_json=as_json)
    status = int(ExitStatus.USAGE) if ended.status is None else ended.status
    if status:
        raise Exit(code=status)


def refuse_untrusted(given: Sequence[str], *, check: bool) -> None:
    """Refuse --untrusted-inventory without --check, and flags that such a dry run cannot use.

    Args:
        given: further flags that were given.
        check: whether --check was.

    Raises:
        UsageError: one of them does not go with --untrusted-inventory.
    """
    from playbooks.inventory import FLAG

    if not check:
        raise UsageError(
            f"a deploy acts on hosts, and {FLAG} refuses that; nothing was touched",
            hint=f"add --check: deploy --check {FLAG}",
        )
    if given:
        raise UsageError(f"--{given[0]} does not go with {FLAG}, which reads the inventory's own files and no others")
