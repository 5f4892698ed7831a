"""Run verify-backups regularly from this machine (G9), by cron or by a systemd timer."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from playbooks.adapters import timers
from playbooks.adapters.timers import Places
from playbooks.core.answer import Answer
from playbooks.core.errors import ExitStatus, UsageError
from playbooks.environments.environment import Environment
from playbooks.environments.kept_variables import kept_variables, lacking
from playbooks.environments.templates import Templates
from playbooks.fleet.progress import Progress

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_NAMES = {"@hourly", "@daily", "@midnight", "@weekly", "@monthly"}
# crontab(5): the values that each of the five fields may hold; names of months and days are accepted.
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
_FIELD = re.compile(r"(\*|\d+(-\d+)?|[A-Za-z]{3}(-[A-Za-z]{3})?)(/[1-9]\d*)?")


@dataclass(frozen=True)
class Scheduled(Answer):
    """The present schedule.

    Args:
        kind: cron, timer or none.
        place: the file of the entry.
        when: the time, in the syntax of cron or systemd.
        log: the file for each run's output.
        removed: the removed files of an earlier schedule.
        variables: the names of this shell's environment variables that each run gets.
        problem: why nothing will run, and what to do; empty if there is no problem.
    """

    schema: ClassVar[str] = "slipway.schedule/1"
    kind: Literal["cron", "timer", "none"]
    place: str = ""
    when: str = ""
    log: str = ""
    removed: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    problem: str = ""

    @property
    def exit_status(self) -> ExitStatus:
        """Return 3 if nothing will run before a person acts."""
        return ExitStatus.PERSON_NEEDED if self.problem else ExitStatus.DONE


def schedule(env: Environment, progress: Progress, *, at: str, timer: bool, where: Places | None = None) -> Scheduled:
    """Install a schedule, in place of an earlier one of the same environment.

    Args:
        env: the environment.
        progress: receives what to show a person.
        at: HH:MM, or five cron fields; with a timer, HH:MM or a systemd calendar expression.
        timer: whether to use a systemd timer instead of cron.
        where: the folders; default: those of this user's schedules.

    Raises:
        UsageError: `at` is invalid.
        SlipwayError: the schedule cannot be installed.
    """
    where = where or timers.places()
    key = _key(env)
    log = where.state / f"{key}.log"
    when = calendar(at) if timer else cron_fields(at)
    for sentence in lacking(env):
        progress.warn(sentence)
    kept = kept_variables(env)
    if kept:
        progress.warn(f"of this shell's environment it is given {', '.join(kept)}: run schedule again if they change")
    try:
        where.state.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise UsageError(f"cannot make {where.state} for its log: {error.strerror}; nothing was touched") from None
    if timer:
        service, unit = render_timer(env, when, log, kept)
        place = timers.install_timer(where, key, service, unit)
        removed = timers.remove_cron(where, key)
    else:
        entry = render_cron(env, when, log, kept, user="root" if where.cron is not None else "")
        place = timers.install_cron(where, key, entry)
        removed = timers.remove_timer(where, key)
    problem = timers.why_no_timer(where) if timer else timers.why_no_cron()
    return Scheduled(
        env.name, "timer" if timer else "cron", place, when, str(log), tuple(removed), tuple(kept), problem
    )


def unschedule(env: Environment, progress: Progress, *, where: Places | None = None) -> Scheduled:  # noqa: ARG001
    """Remove only what `schedule` installed for this environment; logs stay."""
    where = where or timers.places()
    key = _key(env)
    removed = [*timers.remove_cron(where, key), *timers.remove_timer(where, key)]
    return Scheduled(env.name, "none", removed=tuple(removed))


def cron_fields(at: str) -> str:
    """Convert a time of day or a cron expression to cron's five fields (or one of its names).

    Raises:
        UsageError: it is neither.
    """
    time = _TIME.fullmatch(at.strip())
    if time:
        return f"{int(time[2])} {int(time[1])} * * *"
    words = at.split()
    if at.strip() in _NAMES:
        return at.strip()
    if len(words) != len(_FIELDS):
        raise UsageError(f"--at='{at}': expected a time of day such as 03:17, or five cron fields")
    for word, (name, low, high) in zip(words, _FIELDS, strict=True):
        for part in word.split(","):
            numbers = [int(number) for number in re.findall(r"\d+", part.partition("/")[0])]
            if not _FIELD.fullmatch(part) or not all(low <= number <= high for number in numbers):
                raise UsageError(f"--at='{at}': '{word}' is no {name}: {low} to {high}, *, a range or a list")
    return " ".join(words)


def calendar(at: str) -> str:
    """Convert a time of day or a systemd expression to a value for OnCalendar=.

    Raises:
        UsageError: it contains characters with a meaning in unit files.
    """
    time = _TIME.fullmatch(at.strip())
    if time:
        return f"*-*-* {int(time[1]):02}:{time[2]}:00"
    if not re.fullmatch(r"[A-Za-z0-9*,:/.~ -]+", at) or len(at.split()) > 4:
        raise UsageError(f"--at='{at}': with --timer, expected 03:17 or a calendar expression as in systemd.time(7)")
    return at.strip()


def render_cron(env: Environment, fields: str, log: Path, kept: Mapping[str, str], *, user: str) -> str:
    """Render the cron entry. It prints nothing on success, so that cron sends mail only on a failure."""
    lock = shlex.quote(str(log.with_suffix(".lock")))
    name = _title(env)
    invoke = shlex.quote(str(env.project / ".venv/bin/invoke"))
    verify = f"{invoke} verify-backups {shlex.join(_flags(env))}"
    trouble = f"verify-backups of {name} did not pass, or the one before still runs; see {log}"
    given = "".join(f"{name}={shlex.quote(value)} " for name, value in kept.items())
    command = (
        f"cd {shlex.quote(str(env.project))} && {given}flock --nonblock {lock} {verify} >>{shlex.quote(str(log))} 2>&1"
        f" || echo {shlex.quote(trouble)}"
    )
    # crontab(5): an unescaped % is a line break, even in quotes.
    return _render(
        env, "cron.j2", key=_key(env), name=name, fields=fields, user=user, command=command.replace("%", "\\%")
    )


def render_timer(env: Environment, when: str, log: Path, kept: Mapping[str, str]) -> tuple[str, str]:
    """Render the service and the timer. They need no lock, because systemd runs a unit once at a time."""
    words = ["-c", 'exec "$0" "$@"', str(env.project / ".venv/bin/invoke"), "verify-backups", *_flags(env)]
    # systemd refuses quotes and dollars in the program's path, but accepts them in arguments.
    command = " ".join(["/bin/sh", *map(_systemd_word, words)])
    texts = {"project": str(env.project).replace("%", "%%"), "log": str(log).replace("%", "%%")}
    name = _title(env).replace("%", "%%")
    # A dollar has no meaning here.
    given = [_systemd_word(f"{key}={value}").replace("$$", "$") for key, value in kept.items()]
    service = _render(env, "verify.service.j2", name=name, command=command, environment=given, **texts)
    return service, _render(env, "verify.timer.j2", name=name, calendar=when)


def _systemd_word(word: str) -> str:
    """Quote a word for ExecStart= (systemd.service(5))."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"'


def _render(env: Environment, template: str, **values: str | list[str]) -> str:
    texts = [text for value in values.values() for text in ([value] if isinstance(value, str) else value)]
    if any(ord(character) < 32 for text in texts for character in text):
        raise UsageError("a path or a variable that the schedule needs holds a line break or another control character")
    return Templates.of(env).render(template, values, host=env.targets[0].name).decode()


def _name(env: Environment) -> str:
    """Return the value of --env for later runs: a name if that finds the environment, else the full path."""
    if env.folder == env.project / "inventory" / env.name:
        return env.name
    return str(Path(env.inventory.source).resolve())


def _flags(env: Environment) -> list[str]:
    """Return the flags that name the environment in later runs."""
    return [f"--env={_name(env)}", *([f"--app={env.settings.app}"] if len(env.applications) > 1 else [])]


def _title(env: Environment) -> str:
    """Name the environment for a person, with the application's name if there are several."""
    return f"{env.settings.app} on {_name(env)}" if len(env.applications) > 1 else _name(env)


def _key(env: Environment) -> str:
    """Return the entry's name, which is the same for the same project, environment and application.

    The name has no dot, because cron ignores files with a dot in the name.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", env.name.lower()).strip("-")[:40]
    app = f"-{env.settings.app}" if len(env.applications) > 1 else ""
    digest = hashlib.sha256(f"{env.project}\n{_name(env)}".encode()).hexdigest()[:8]
    return f"slipway-verify-{slug}{app}-{digest}"
