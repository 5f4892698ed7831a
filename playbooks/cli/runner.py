"""What every task does around its procedure: read the environment, watch, show the result, end with its status."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from invoke.exceptions import Exit

from playbooks.core import streams
from playbooks.core.answer import Result, document_of
from playbooks.core.errors import (
    ANY_ENV,
    ExitStatus,
    Fault,
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

DEPLOY_WORD = "DEPLOY TO PRODUCTION"  # D2
ROLLBACK_WORD = "ROLL BACK PRODUCTION"
PROJECT = Path(__file__).resolve().parent.parent.parent
MAX_NAMED = 12  # hosts


R = TypeVar("R", bound=Result)
T = TypeVar("T")
# What a task does without --app if the inventory has several applications: it refuses and asks for one, takes them one
# after another, or takes all of their hosts at once.
Several = Literal["ask", "each", "together"]
# With several applications, the first of these that occurs is the task's exit status.
_GRAVE = (ExitStatus.PERSON_NEEDED, ExitStatus.FAILED, ExitStatus.LOCKED, ExitStatus.USAGE, ExitStatus.DONE)


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
    witnesses: Sequence[TaskObserver] = (),
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
        witnesses: observers of the task, see `TaskObserver`.
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

    output.strike_with(_as_typed(env))
    # Slipway gets these failures as errors; paramiko would print a traceback as well.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())

    def read() -> tuple[Environment, ...]:
        for witness in witnesses:
            witness.prepare()
        found = (
            load(env, limit, app=app, several=several, untrusted=untrusted)
            if host is None
            else _load_host(env, limit, host, app=app, several=several)
        )
        if _each_of(found, several, app) and witnesses:
            hint = f"say which: {found[0].flag}"
            raise UsageError("--timings and --report tell of one application, and here are several", hint=hint)
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
        return _watched(environment, act, touch, witnesses, untrusted=untrusted, moving=moving)

    done = _guarded(run)
    told: dict[str, Any] = {}
    for witness in witnesses:
        told |= _told(witness, environment, done)
    if isinstance(done, SlipwayError):
        _refuse(done, environment, told, bare, as_json=as_json, touch=touch)
        return
    _answer(done, show, told, as_json=as_json)
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
        return _bug(error)


def _strike(strikes: Sequence[Callable[[str], str]], environment: Environment) -> None:
    """From now on hide secrets in output, and put the environment's flag into hints that could not know it."""
    from playbooks.report import output

    flag = environment.flag
    output.strike_with(lambda text: reduce(lambda left, strike: strike(left), strikes, text).replace(ANY_ENV, flag))


def _watched(
    environment: Environment,
    act: Callable[[Environment, Progress], R],
    touch: Touch,
    witnesses: Sequence[TaskObserver] = (),
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
        watcher = reduce(lambda watcher, witness: witness.watching(watcher), witnesses, progress)
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
            _point(done, environment, touch)
            output.tell(*output.shown_lines(f"error: {name}: {done}"))
            documents[name] = error_document(done)
            if isinstance(done, Interrupted):
                break
        elif as_json:
            documents[name] = document_of(done)
        else:
            _answer(done, show, {}, as_json=False)
    status = min(ended, key=_GRAVE.index)
    if as_json:
        document = {
            "schema": "slipway.applications/1",
            "environment": environments[0].name,
            "applications": documents,
            "exit_status": int(status),
        }
        _written(lambda: output.answer_json(document))
    if status:
        raise Exit(code=int(status))


def refuse(error: UsageError, *, as_json: bool) -> None:
    """End a task with an error of usage.

    Raises:
        Exit: always.
    """
    streams.prepare()
    _tell(error, {}, as_json=as_json)
    raise Exit(code=int(error.exit_status))


def refuse_together(flag: str, given: Mapping[str, object], why: str, *, as_json: bool) -> None:
    """Refuse flags that would have no effect beside another one.

    Args:
        flag: that was given, and why the others do not count.
        given: those others, with their values; a false one was not given.
        why: a sentence.
        as_json: whether --json was given.

    Raises:
        Exit: one of them was.
    """
    others = [f"--{name}" for name, value in given.items() if value]
    if others:
        does = "does" if len(others) == 1 else "do"
        said = f"{' and '.join(others)} {does} not go with {flag}: {why}; nothing was touched"
        refuse(UsageError(said, hint="leave the one or the other out"), as_json=as_json)


def _as_typed(env: str) -> Callable[[str], str] | None:
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
    _point(error, environment, touch)
    _tell(error, told, as_json=as_json)
    raise Exit(code=int(error.exit_status))


def _told(witness: TaskObserver, environment: Environment, done: Result | SlipwayError) -> dict[str, Any]:
    try:
        return witness.tell(environment, done)
    except Exception as error:  # noqa: BLE001 - a page that cannot be made undoes nothing
        from playbooks.report import output

        output.tell(*output.shown_lines(f"warning: {_bug(error)}"))
        return {}


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
        output.strike_with(_as_typed(env))
        try:
            inventory = load_bare(env, untrusted=untrusted)
            output.tell(*(output.shown(f"warning: {warning}") for warning in inventory.warnings))
            tell_variables(look(inventory), show, as_json=as_json)
        except SlipwayError as error:
            _tell(error, {}, as_json=as_json)
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
        perform(env, look, show, limit=limit, app=app, several=several, as_json=as_json, untrusted=True, bare=bare)

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
        _tell(UsageError(ended.why), {}, as_json=as_json)
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


def _point(error: SlipwayError, environment: Environment | None, touch: Touch | None) -> None:
    """Add where to look to the error of a stopped task, unless the task has only read."""
    if isinstance(error, Interrupted) and error.hint is None:
        if environment is None or touch is None or touch.nothing:
            error.message += "; nothing was touched"
        else:
            error.hint = f"where it stands: invoke status {environment.flag}"


def _answer(result: R, show: Callable[[R], None], told: dict[str, Any], *, as_json: bool) -> None:
    """Show what was done."""
    from playbooks.report import output

    if as_json:
        _written(lambda: output.answer_json({**document_of(result), **told}))
    else:
        _written(lambda: show(result))


def _written(write: Callable[[], None]) -> None:
    """Write an answer. A failure here changes neither what was done nor the exit status."""
    from playbooks.report import output

    try:
        write()
    except Exception as error:  # noqa: BLE001 - whatever it is
        fault = f"warning: the answer cannot be shown, but what it tells of is done: {_bug(error)}"
        output.tell(*output.shown_lines(fault))
    why = streams.lost(sys.stdout)
    if why is not None and not isinstance(why, BrokenPipeError):  # a reader that ended early (| head) is no fault
        output.tell(output.shown(f"warning: the answer could not be written: {why.strerror}"))


def _tell(error: SlipwayError, told: dict[str, Any], *, as_json: bool) -> None:
    from playbooks.report import output

    output.tell(*output.shown_lines(f"error: {error}"))
    if as_json:
        output.answer(output.json_text({**error_document(error), **told}))


def _bug(error: Exception) -> SlipwayError:
    if os.environ.get("SLIPWAY_DEBUG"):
        from playbooks.report import output

        output.tell_fault(error)
    if isinstance(error, UnicodeEncodeError) and error.encoding.replace("-", "") != "utf8":
        # For instance a file's name. Printing cannot fail in this way (streams.py).
        return Fault(
            f"this needs characters that the encoding of your locale ({error.encoding}) does not have",
            hint=f"look at the fleet: invoke status {ANY_ENV}; run it again with LC_ALL=C.UTF-8",
        )
    return Fault(
        f"this is a fault in Slipway itself: {type(error).__name__}: {error}",
        hint=f"look at the fleet: invoke status {ANY_ENV}; SLIPWAY_DEBUG=1 shows where it happened, for a report",
    )


def seconds(flag: str, text: str) -> float:
    """A flag's duration in seconds: 60, 60s, 5m.

    Raises:
        UsageError: it is not one. (Invoke's own number flags would end in a traceback.)
    """
    from playbooks.settings.types import parse_duration

    try:
        return float(str(parse_duration(text)))
    except ValueError as error:
        raise UsageError(f"--{flag}={text}: {error}") from None


def window(flag: str, text: str) -> float:
    """A flag's duration in seconds, a second or more.

    Raises:
        UsageError: it isn't one.
    """
    found = seconds(flag, text)
    if not 1 <= found <= 86400:
        raise UsageError(f"--{flag}={text}: expected from 1s to 24h")
    return found


def since(text: str) -> str:
    """The moment that --since names, as journalctl reads it: seconds ago by the host's own clock, or a time.

    Raises:
        UsageError: it is neither.
    """
    from datetime import UTC, datetime

    from playbooks.settings.types import parse_duration

    try:
        return f"-{float(str(parse_duration(text))):.0f}s"
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--since={text}: expected 10m, 2h, or a time such as 2026-11-29T14:00") from None
    return f"@{(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp():.0f}"


def narrowed(limit: str | None, host: str | None) -> str | None:
    """--limit and --host together.

    Args:
        limit, host: the flags.
    """
    return limit if host is None else host if limit is None else f"{limit}:&{host}"


def share(flag: str, text: str) -> float:
    """A flag's percentage as a share: 5% is 0.05.

    Raises:
        UsageError: it isn't one.
    """
    from playbooks.settings.types import parse_percent

    try:
        return float(str(parse_percent(text)))
    except ValueError as error:
        raise UsageError(f"--{flag}={text}: {error}") from None


def number(flag: str, text: str, *, most: int | None = None) -> int:
    """A flag's whole number, 1 or more.

    Args:
        flag: its name.
        text: its value.
        most: the largest that there may be.

    Raises:
        UsageError: it isn't one.
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) < 10**8 and (most is None or int(text) <= most)):
        raise UsageError(f"--{flag}={text}: expected a whole number from 1 {'on' if most is None else f'to {most}'}")
    return int(text)


def confirm(environment: Environment, what: str, word: str, *, yes: bool) -> None:
    """In production, ask a person to type a word first (A6, D2).

    Args:
        environment: where.
        what: what is about to happen.
        word: what to type.
        yes: whether --yes was given.

    Raises:
        UsageError: something else was typed, or nobody is there to type.
    """
    if yes or not environment.settings.production:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"{environment.title} is production, and nobody is here to confirm: {what}; nothing was touched",
            hint="run it in a terminal, or give --yes",
        )
    from playbooks.report import output

    if output.prompt(f"{environment.title} is production: {what}. Type {word} to go on: ") != word:
        raise UsageError("not confirmed; nothing was touched")
