"""What every task does around its procedure: read the environment, watch, show the result, end with its status."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from invoke.exceptions import Exit

from playbooks.cli.flag_values import narrowed
from playbooks.cli.telling import fault_of, point_to_status, tell_answer, tell_error, write_answer
from playbooks.core import streams
from playbooks.core.answer import Result, document_of
from playbooks.core.errors import (
    ANY_ENV,
    ExitStatus,
    Interrupted,
    SlipwayError,
    UsageError,
    error_document,
    stopped,
)

if TYPE_CHECKING:
    from playbooks.environments.environment import Environment as Environment
    from playbooks.fleet.progress import Progress as Progress
    from playbooks.inventory import Fence
    from playbooks.inventory import Inventory as Inventory
    from playbooks.report.observer import TaskObserver
    from playbooks.report.touch import Touch
    from playbooks.rollout.outcome import Outcome as Outcome
    from playbooks.show_variables import Variables as Variables

PROJECT = Path(__file__).resolve().parent.parent.parent
MAX_NAMED = 12  # hosts


R = TypeVar("R", bound=Result)
T = TypeVar("T")
# What a task does without --app if the inventory has several applications: it refuses and asks for one, takes them one
# after another, or takes all of their hosts at once.
Several = Literal["ask", "each", "together"]
# With several applications, the first of these that occurs is the task's exit status.
_MOST_SERIOUS_FIRST = (
    ExitStatus.PERSON_NEEDED,
    ExitStatus.FAILED,
    ExitStatus.LOCKED,
    ExitStatus.USAGE,
    ExitStatus.DONE,
)


def load(
    env: str,
    limit: str | None = None,
    *,
    app: str | None = None,
    several: Several = "ask",
    untrusted: bool = False,
) -> tuple[Environment, ...]:
    """Load an environment of this project, once for each application that the task is about.

    Args:
        env: its name or path.
        limit: a pattern that narrows the hosts.
        app: the application that --app names.
        several: what to do if --app is missing and there are several.
        untrusted: whether it is not trusted; then this process has few rights from now on, see `contained`.
    """
    from playbooks.environments.load import load_environment, load_environments, together

    with _fenced(env, untrusted=untrusted) as fence:
        if several == "ask":
            return (load_environment(env, PROJECT, limit=limit, fence=fence, app=app),)
        found = load_environments(env, PROJECT, limit=limit, fence=fence, app=app)
    return found if several == "each" else (together(found),)


def load_bare(env: str, *, untrusted: bool = False) -> Inventory:
    """Load an inventory without its settings.

    Args:
        env, untrusted: as for `load`.

    Raises:
        UsageError: there is no such environment.
        ConfigError: it is wrong.
    """
    from playbooks.inventory import load_inventory

    with _fenced(env, untrusted=untrusted) as fence:
        return load_inventory(env, PROJECT, fence=fence)


@contextlib.contextmanager
def _fenced(env: str, *, untrusted: bool) -> Iterator[Fence]:
    """What may be read of an environment. If it is not trusted, this process can read nothing else from now on."""
    from playbooks.inventory import TRUSTED, environments, fence_around, find_source

    if not env:
        there = ", ".join(environments(PROJECT)) or "none yet"
        raise UsageError(f"which environment? give --env=NAME; under inventory/ there is: {there}")
    if not untrusted:
        yield TRUSTED
        return
    from playbooks.cli.contained import close, within_memory

    fence = fence_around(find_source(env, PROJECT), PROJECT, [Path.cwd()])
    close(fence)
    with within_memory():
        yield fence


def timed(task: str, asked: str | bool | None) -> list[TaskObserver]:
    """The observer that --timings asks for, for `perform`; none without the flag.

    Args:
        task: the task's name.
        asked: the flag: True for a table, a path for a page as well.
    """
    if asked is None:
        return []
    from playbooks.report.timing_recorder import Timed

    return [Timed(task, asked if isinstance(asked, str) else None)]


def reported(task: str, page: str | None) -> list[TaskObserver]:
    """The observer that --report asks for; none without the flag.

    Args:
        task: the task's name.
        page: the flag: where to write the page.
    """
    if page is None:
        return []
    from playbooks.report.rollout_recorder import Reported

    return [Reported(task, page)]


def perform(
    env: str,
    act: Callable[[Environment, Progress], R],
    show: Callable[[R], None],
    *,
    limit: str | None = None,
    host: str | None = None,
    app: str | None = None,
    several: Several = "ask",
    as_json: bool = False,
    observers: Sequence[TaskObserver] = (),
    ask: Callable[[Environment], None] = lambda _: None,
    untrusted: bool = False,
    bare: Callable[[Inventory, str], None] | None = None,
    moving: bool = True,
    meant: Callable[[Environment], bool] = lambda _: True,
) -> None:
    """Run a procedure for an environment and end the task with its status.

    Args:
        env: name or path of the environment.
        act: the procedure.
        show: prints its result for a person, on standard output.
        limit: a pattern that narrows the hosts.
        host: the only host to work on.
        app, several: see `load`.
        as_json: print one JSON document instead, and nothing else, on standard output.
        observers: observers of the task, see `TaskObserver`.
        ask: asks a person before the live display starts; raises if the answer is no.
        untrusted: see `load`; for a process that ends with this.
        bare: what to do with an inventory that has no setting of Slipway, instead of refusing it; gets the sentence
            that says what is missing.
        moving: whether a live display may run on a terminal; not if the procedure writes there itself.
        meant: of several applications, says which ones to look at; if it names none, all of them.

    Raises:
        Exit: with a status other than 0.
    """
    streams.prepare()
    from playbooks.report import output

    output.strike_with(as_typed(env))
    # Slipway gets these failures as errors; paramiko would print a traceback as well.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())

    def read() -> tuple[Environment, ...]:
        for witness in observers:
            witness.prepare()
        found = (
            load(env, limit, app=app, several=several, untrusted=untrusted)
            if host is None
            else _load_host(env, limit, host, app=app, several=several)
        )
        if _each_of(found, several, app) and observers:
            hint = f"say which: {found[0].flag}"
            raise UsageError(
                "--timings and --report work for one application, and this inventory has several; nothing was touched",
                hint=hint,
            )
        return (tuple(filter(meant, found)) or found) if _each_of(found, several, app) else found

    found = _guarded(read)
    if isinstance(found, SlipwayError):
        _refuse(found, None, {}, bare, as_json=as_json)
        return
    strikes = [each.secrets.mask for each in found]
    if _each_of(found, several, app):  # also if --limit leaves only one: the answer's shape must not depend on it
        names = ", ".join(each.settings.app for each in found)
        output.tell(output.shown(f"== each application on {found[0].name}: {names}"))
        _one_by_one(found, act, show, as_json=as_json, untrusted=untrusted)
        return
    from playbooks.report.touch import Touch

    environment, touch = found[0], Touch()

    def run() -> R:
        _strike(strikes, environment)
        output.tell(output.shown(f"== {environment.about}"))
        ask(environment)
        return _watched(environment, act, touch, observers, untrusted=untrusted, moving=moving)

    done = _guarded(run)
    told: dict[str, Any] = {}
    for witness in observers:
        told |= _told(witness, environment, done)
    if isinstance(done, SlipwayError):
        _refuse(done, environment, told, bare, as_json=as_json, touch=touch)
        return
    tell_answer(done, show, told, as_json=as_json)
    if done.exit_status:
        raise Exit(code=int(done.exit_status))


def _load_host(env: str, limit: str | None, host: str, *, app: str | None, several: Several) -> tuple[Environment, ...]:
    """Load an environment for a single host.

    Raises:
        UsageError: it is not one of the application's hosts, or it is a pattern.
    """
    from playbooks.inventory import select

    try:
        found = load(env, narrowed(limit, host), app=app, several=several)
    except UsageError as error:
        inventory = load_bare(env)
        known = list(inventory.hosts)
        if host in known and (limit is None or host not in select(inventory, limit, files=True)):
            among = f"none of the hosts that --limit={limit} leaves" if limit else "none of the application's hosts"
            raise UsageError(f"--host={host} is {among}; nothing was touched", hint=error.hint) from None
        if host in known:
            raise
    else:
        inventory = found[0].inventory
        known = list(inventory.hosts)
        if host in known:
            return tuple(replace(one, narrowed_by="--limit and --host" if limit else "--host") for one in found)
    near = [] if host in inventory.groups else get_close_matches(host, known, n=1)
    what = "a group, not a host" if host in inventory.groups else "no host"
    meant = f". Did you mean {near[0]}? Nothing" if near else "; nothing"
    hint = f"hosts: {', '.join(known[:MAX_NAMED])}" + (", …" if len(known) > MAX_NAMED else "")
    raise UsageError(f"--host={host} is {what}{meant} was touched", hint=f"{hint}; groups and patterns go into --limit")


def _each_of(found: Sequence[Environment], several: Several, app: str | None) -> bool:
    return several == "each" and app is None and len(found[0].applications) > 1


def _guarded(act: Callable[[], T]) -> T | SlipwayError:
    """The result, or the error with a sentence for the user."""
    try:
        return act()
    except SlipwayError as error:
        return error
    except KeyboardInterrupt as ended:
        return Interrupted(stopped(ended))
    except Exception as error:  # noqa: BLE001 - a fault in Slipway becomes a sentence too
        return fault_of(error)


def _strike(strikes: Sequence[Callable[[str], str]], environment: Environment) -> None:
    """From now on hide secrets in output, and put the environment's flag into hints that could not know it."""
    from playbooks.report import output

    flag = environment.flag
    output.strike_with(lambda text: reduce(lambda left, strike: strike(left), strikes, text).replace(ANY_ENV, flag))


def _watched(
    environment: Environment,
    act: Callable[[Environment, Progress], R],
    touch: Touch,
    observers: Sequence[TaskObserver] = (),
    *,
    untrusted: bool,
    warn: bool = True,
    moving: bool = True,
) -> R:
    """Run a procedure with its observers and its display."""
    from playbooks.report import choose, still

    with (choose if moving and not untrusted else still)(sys.stderr) as progress:
        for warning in environment.inventory.warnings if warn else ():
            progress.warn(warning)
        watcher = reduce(lambda watcher, witness: witness.watching(watcher), observers, progress)
        return act(environment, touch.watching(watcher))


def _one_by_one(
    environments: Sequence[Environment],
    act: Callable[[Environment, Progress], R],
    show: Callable[[R], None],
    *,
    as_json: bool,
    untrusted: bool,
) -> None:
    """Run the procedure for one application after another, and end with the most serious of their exit statuses."""
    from playbooks.report import output
    from playbooks.report.touch import Touch

    strikes = [each.secrets.mask for each in environments]
    documents: dict[str, Any] = {}
    ended = [ExitStatus.DONE]
    for number, environment in enumerate(environments):
        _strike(strikes, environment)
        touch = Touch()
        look = partial(_watched, environment, act, touch, untrusted=untrusted, warn=number == 0)
        done: R | SlipwayError = _guarded(look)
        name = environment.settings.app
        ended.append(done.exit_status)
        if not as_json:
            output.answer(*([output.shown("")] if number else []), output.shown(f"{name}:"))
        if isinstance(done, SlipwayError):
            point_to_status(done, environment, touch)
            output.tell(*output.shown_lines(f"error: {name}: {done}"))
            documents[name] = error_document(done)
            if isinstance(done, Interrupted):
                break
        elif as_json:
            documents[name] = document_of(done)
        else:
            tell_answer(done, show, {}, as_json=False)
    status = min(ended, key=_MOST_SERIOUS_FIRST.index)
    if as_json:
        document = {
            "schema": "slipway.applications/1",
            "environment": environments[0].name,
            "applications": documents,
            "exit_status": int(status),
        }
        write_answer(lambda: output.answer_json(document))
    if status:
        raise Exit(code=int(status))


def as_typed(env: str) -> Callable[[str], str] | None:
    """A function that puts the given --env into hints that could not know it."""
    flag = f"--env={shlex.quote(env)}"
    return (lambda text: text.replace(ANY_ENV, flag)) if env else None


def _refuse(
    error: SlipwayError,
    environment: Environment | None,
    told: dict[str, Any],
    bare: Callable[[Inventory, str], None] | None,
    *,
    as_json: bool,
    touch: Touch | None = None,
) -> None:
    """Report an error and end with its status; call `bare` instead if the inventory has no settings of Slipway."""
    from playbooks.environments.targets import NoSettings

    if bare is not None and isinstance(error, NoSettings):
        bare(error.inventory, error.missing)
        return
    point_to_status(error, environment, touch)
    tell_error(error, told, as_json=as_json)
    raise Exit(code=int(error.exit_status))


def _told(witness: TaskObserver, environment: Environment, done: Result | SlipwayError) -> dict[str, Any]:
    try:
        return witness.tell(environment, done)
    except Exception as error:  # noqa: BLE001 - a page that cannot be made undoes nothing
        from playbooks.report import output

        output.tell(*output.shown_lines(f"warning: {fault_of(error)}"))
        return {}
