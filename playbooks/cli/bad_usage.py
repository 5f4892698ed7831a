"""Command lines that Invoke cannot read, or reads in another way than the person means."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial, wraps
from inspect import signature
from typing import Any

from invoke import Argument, Collection, Context, Task
from invoke.exceptions import Exit, ParseError
from invoke.parser import parser as invoke_parser
from invoke.parser.context import ParserContext

from playbooks.core.errors import ExitStatus, UsageError, error_document

# What a flag was called before, with its task.
RENAMED = {
    ("history", "--most"): "--records",
    ("error-rate", "--most"): "--fail-above",
    ("latency", "--most"): "--fail-above",
}
UNKNOWN = re.compile(r"No idea what '(.*)' is!", re.DOTALL)
# No other flag has a short form, so that a person writes out what cannot be undone.
SHORT = {"env": "e", "limit": "l", "json": "j", "version": "v", "check": "c"}
UNTRUSTED = "--untrusted-inventory"
# Alone, or after other short flags that take no value.
SHORT_JSON = re.compile("-[a-z]*j")
LACKING = re.compile(r"Flag <Argument: ([\w-]+).*needed value")


class BadUsage(ParseError, Exit):
    """What Invoke raises. Invoke would end with 1, which for Slipway means a failed deploy.

    Args:
        message: Invoke's own.
        context: the task whose flags were being read.
        tasks: the names of all tasks.
    """

    def __init__(self, message: str, context: ParserContext | None = None, *, tasks: Iterable[str] = ()) -> None:
        ParseError.__init__(self, message, context)
        Exit.__init__(self, None, int(ExitStatus.USAGE))
        name = context.name if context else None
        flags = [flag for flag in context.flag_names() if flag.startswith("--")] if context else []
        refused = explained(message, name, flags, list(tasks), given_twice(sys.argv, flags))
        self.args = (f"error: {refused}",)
        tell_programs(refused, sys.argv)


def strict_usage(namespace: Collection) -> None:
    """Let Invoke's parser raise `BadUsage`, and refuse Invoke's own flags among those of a task.

    Args:
        namespace: all tasks.
    """
    names = tuple(namespace.task_names)
    # A class of another package is replaced on purpose.
    setattr(invoke_parser, "ParseError", partial(BadUsage, tasks=names))  # noqa: B010
    for name in names:
        task = namespace[name]
        _short_flags(task)
        task.body = _refusing(name, task, names)


def _short_flags(task: Task[Any]) -> None:
    """Give a task the short flags that mean the same in every task, instead of Invoke's guesses.

    Invoke takes the first free letter, so -w would be --watch in one task and --with-database in another.
    """
    task.auto_shortflags = False
    find = task.get_arguments

    def get_arguments(ignore_unknown_help: bool | None = None) -> list[Argument]:
        found = find(ignore_unknown_help)
        for argument in found:
            short = SHORT.get(argument.name or "")
            if short is not None:
                argument.names = (*argument.names, short)
        return found

    setattr(task, "get_arguments", get_arguments)  # noqa: B010 - of another package, and replaced on purpose


def _refusing(name: str, task: Task[Any], names: Sequence[str]) -> Callable[..., None]:
    """Invoke takes its own flags behind a task, too. Its --dry only stops Invoke's shell commands, so a deploy with it
    would really deploy; `rollback -w` is its --warn-only."""
    body: Callable[..., None] = task.body
    needing = [flag for flag, parameter in signature(body).parameters.items() if parameter.default is None]

    @wraps(body)
    def run(c: Context | None, *args: object, **flags: object) -> None:
        if c is not None and c.config.run.dry:
            hint = "say --check instead" if name == "deploy" else "leave it out; invoke deploy has --check"
            refused = UsageError(f"{name} knows no --dry; nothing was touched", hint=hint)
            tell_programs(refused, sys.argv)
            raise Exit(f"error: {refused}", code=int(refused.exit_status))
        try:
            refuse_foreign_flag(name, sys.argv, task.get_arguments(), names)
            flags = {flag: as_meant(flag, value) for flag, value in flags.items()}
            for flag in needing:
                require_value(name, flag, flags.get(flag))
        except UsageError as refused:
            tell_programs(refused, sys.argv)
            raise Exit(f"error: {refused}", code=int(refused.exit_status)) from None
        body(c, *args, **flags)

    return run


def refuse_foreign_flag(task: str, words: Sequence[str], arguments: Iterable[Argument], tasks: Sequence[str]) -> None:
    """Refuse a flag that the task does not know. Invoke's parser has accepted the command line, so it is Invoke's own.

    Args:
        task: its name.
        words: the command line.
        arguments: of the task.
        tasks: the names of all tasks.

    Raises:
        UsageError: there is such a flag.
    """
    known = _flags(arguments)
    is_value = False
    for word in words[words.index(task) + 1 :] if task in words else ():
        head = word.partition("=")[0]
        if is_value and head not in known:
            is_value = False
        elif word == "--" or word in tasks:
            return
        elif word.startswith("-"):
            flag = next((flag for flag in _apart(head, known) if flag not in known), None)
            if flag is not None:
                see = f"see: invoke --help {task}; Invoke's own flags stand before the task"
                raise UsageError(f"{task} has no flag {flag}. Nothing was touched", hint=see)
            is_value = head == word and known.get(f"-{word[-1]}" if word not in known else word, False)


def _flags(arguments: Iterable[Argument]) -> dict[str, bool]:
    """The flags of a task, as they are typed, and whether a value follows."""
    known = {}
    for argument in arguments:
        for name in argument.names:
            known[f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"] = argument.takes_value
        if argument.default is True:
            known[f"--no-{argument.name}"] = False
    return known


def _apart(word: str, known: Mapping[str, bool]) -> Iterator[str]:
    """The flags in a word: short ones may stand together, up to one whose value is glued to it."""
    if word.startswith("--"):
        yield word
        return
    for letter in word[1:]:
        yield f"-{letter}"
        if known.get(f"-{letter}"):
            return


def tell_programs(refused: UsageError, words: Sequence[str]) -> None:
    """Print the JSON document that --json asks for. For a person, Invoke prints the error.

    Args:
        refused: what is wrong.
        words: the command line.
    """
    if any(word == "--json" or SHORT_JSON.fullmatch(word) for word in words[1:]):
        from playbooks.report import output

        output.answer(output.json_text(error_document(refused)))


def as_meant(flag: str, value: object) -> object:
    """A flag's value as it was typed. Python decodes it by the locale, and a C locale has no "ü".

    Args:
        flag: its name.
        value: anything; only text can be wrong.

    Raises:
        UsageError: it is not UTF-8, so no ledger could hold it.
    """
    if not isinstance(value, str) or value.isascii():
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        try:
            return os.fsencode(value).decode("utf-8")
        except UnicodeDecodeError:
            name = "--" + flag.replace("_", "-")
            raise UsageError(f"{name} holds bytes that are no UTF-8; nothing was touched") from None
    return value


def require_value(task: str, flag: str, value: object) -> None:
    """Refuse --limit= and the like: probably a script's variable was empty, and it did not mean all hosts.

    Args:
        task, flag: their names.
        value: the flag's.

    Raises:
        UsageError: it is empty.
    """
    if value == "":
        name = "--" + flag.replace("_", "-")
        hint = f"write {name}=VALUE, or leave it out; see: invoke --help {task}"
        raise UsageError(f"{name} is empty; nothing was touched", hint=hint)


def given_twice(words: Sequence[str], flags: Iterable[str]) -> str | None:
    """A flag that a command line has twice. Invoke takes the second value for a separate word.

    Args:
        words: the command line.
        flags: long ones that the task knows.
    """
    own = words[: words.index("--")] if "--" in words else words
    heads = [word.partition("=")[0] for word in own]
    long = {f"-{short}": f"--{name}" for name, short in SHORT.items()}
    given = Counter(long.get(head, head) for head in heads)
    return next((flag for flag in flags if given[flag] > 1), None)


def explained(
    message: str, task: str | None, flags: list[str], tasks: list[str], twice: str | None = None
) -> UsageError:
    """What is wrong, for a person.

    Args:
        message: Invoke's message.
        task: the task whose flags were being read, if one was.
        flags: its long flags.
        tasks: the names of all tasks.
        twice: a flag that is given twice.
    """
    see = f"see: invoke --help {task}" if task else "see: invoke --list"
    if lacking := LACKING.match(message):
        flag = "--" + lacking[1].replace("_", "-")
        return UsageError(f"{flag} needs a value; nothing was touched", hint=f"write {flag}=VALUE; {see}")
    unknown = UNKNOWN.match(message)
    if unknown is None:
        return UsageError(f"{message.rstrip('.!')}; nothing was touched", hint=see)
    word = unknown[1]
    if word == UNTRUSTED and task in tasks:
        said = f"{task} reaches hosts or acts on this machine, and {UNTRUSTED} refuses that; nothing was touched"
        return UsageError(said, hint=f"invoke inventory and invoke deploy --check know {UNTRUSTED}")
    if task and twice and not word.startswith("-"):
        return UsageError(f"{task} is given {twice} twice. Nothing was touched", hint=see)
    if task == "console" and (word == "--json" or SHORT_JSON.fullmatch(word)):
        return UsageError(
            "console gives you a terminal, and what is seen there is no JSON document. Nothing was touched",
            hint="invoke exec --env=… --json -- COMMAND answers with one",
        )
    if word.startswith("-"):
        said = f"{task or 'invoke'} has no flag {word.partition('=')[0]}"
        if new := RENAMED.get((task or "", word.partition("=")[0])):
            return UsageError(f"{said} any more: it is {new}. Nothing was touched", hint=see)
        near = get_close_matches(word.partition("=")[0], flags, n=1)
    elif task:
        said = f"{task} cannot make sense of {word!r}: what it takes are flags, such as --env=NAME"
        if task == "exec":
            return UsageError(
                f"{said}. Nothing was touched", hint="the command stands behind --: invoke exec --env=… -- COMMAND"
            )
        near = get_close_matches(word, tasks, n=1)
    else:
        said, near = f"there is no task {word!r}", get_close_matches(word, tasks, n=1)
    meant = f". Did you mean {near[0]}" if near else ""
    nothing = ". Nothing was touched" if not near else "? Nothing was touched"
    return UsageError(f"{said}{meant}{nothing}", hint=see)
