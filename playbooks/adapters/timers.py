"""Install and remove a cron entry or a systemd timer for a command on the controller."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playbooks.core.errors import ControllerError, UsageError
from playbooks.core.surroundings import account_name, own_path

SECONDS = 30
CRONS = ("cron", "crond", "fcron")
_LINGER = Path("/var/lib/systemd/linger")
# crontab(5): cron.d ignores a file that others may write, and wants no more than 1000 characters of a command.
CRON_MODE = 0o644
LONGEST_COMMAND = 998


@dataclass(frozen=True)
class Places:
    """The folders of this user's schedules on this machine.

    Args:
        cron: the folder of cron files; None for a user with a crontab.
        units: the folder of systemd units.
        state: the folder of logs and locks.
        systemctl: the command for the manager of those units.
    """

    cron: Path | None
    units: Path
    state: Path
    systemctl: tuple[str, ...]


def places() -> Places:
    """Return root's folders, or the user's."""
    if os.geteuid() == 0:
        return Places(Path("/etc/cron.d"), Path("/etc/systemd/system"), Path("/var/log/slipway"), ("systemctl",))
    home = own_path("~")
    if not home.is_absolute():
        raise UsageError("you have no home folder to keep the timer in; nothing was touched", hint="set HOME")
    return Places(None, home / ".config/systemd/user", home / ".local/state/slipway", ("systemctl", "--user"))


def install_cron(where: Places, key: str, text: str) -> str:
    """Put a cron entry in place of an earlier one with this key.

    Returns:
        Where it is, for a person.

    Raises:
        ControllerError: the entry cannot be written.
    """
    if any(len(line) > LONGEST_COMMAND for line in text.splitlines()):
        raise UsageError("the cron entry is too long for cron; is the project's path very long? Use --timer")
    if where.cron is not None:
        _write(where.cron / key, text, CRON_MODE)
        return str(where.cron / key)
    before = _crontab()
    after = _without(before, key) + f"# {key} begin\n{text}# {key} end\n"
    if after != before:
        _run(["crontab", "-"], text=after)
    return "your crontab (crontab -l)"


def why_no_cron(names: Sequence[str] = CRONS) -> str:
    """Return why cron runs nothing on this machine, and what to do; empty if it runs.

    Args:
        names: the names of cron's programs.
    """
    path = os.defpath + ":/usr/sbin:/sbin:/usr/local/sbin"
    if not any(shutil.which(name, path=path) for name in names):
        return "no cron is installed on this machine, so nothing will run; install it, or use --timer"
    if not any(_name_of(process) in names for process in Path("/proc").glob("[0-9]*")):
        return (
            "cron does not run on this machine, so nothing will; start it (systemctl enable --now cron), or use --timer"
        )
    return ""


def _name_of(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # the process has ended
        return ""


def why_no_timer(where: Places) -> str:
    """Return why a timer does not run while nobody is logged in, and what to do; empty if it does."""
    user = account_name() or ""
    if "--user" not in where.systemctl or (_LINGER / user).exists():
        return ""
    return f"your timer runs only while you are logged in; run: loginctl enable-linger {user}"


def remove_cron(where: Places, key: str) -> list[str]:
    """Remove the cron entry with this key, and nothing else.

    Returns:
        The removed entries.
    """
    if where.cron is not None:
        return _delete([where.cron / key])
    before = _crontab()
    after = _without(before, key)
    if after == before:
        return []
    _run(["crontab", "-"] if after else ["crontab", "-r"], text=after)
    return [f"{key} in your crontab"]


def install_timer(where: Places, key: str, service: str, timer: str) -> str:
    """Put a systemd timer and its service in place, and start the timer.

    Returns:
        Where it is, for a person.

    Raises:
        ControllerError: systemd is missing or refuses the timer.
    """
    _run([*where.systemctl, "list-units", "--no-pager", "--quiet"], hint="without --timer, cron is used")
    _write(where.units / f"{key}.service", service, CRON_MODE)
    _write(where.units / f"{key}.timer", timer, CRON_MODE)
    _run([*where.systemctl, "daemon-reload"])
    _run([*where.systemctl, "enable", "--quiet", f"{key}.timer"])
    # Restart, because a running timer keeps its old time.
    _run([*where.systemctl, "restart", f"{key}.timer"])
    return str(where.units / f"{key}.timer")


def remove_timer(where: Places, key: str) -> list[str]:
    """Stop and remove the timer with this key.

    Returns:
        The removed entries.
    """
    units = [where.units / f"{key}.timer", where.units / f"{key}.service"]
    if not any(unit.exists() for unit in units):
        return []
    _run([*where.systemctl, "disable", "--now", "--quiet", f"{key}.timer"])
    removed = _delete(units)
    _run([*where.systemctl, "daemon-reload"])
    return removed


def _without(crontab: str, key: str) -> str:
    """Return a crontab without our block; all other bytes stay as they are."""
    begin, end = f"# {key} begin\n", f"# {key} end\n"
    head, found, rest = crontab.partition(begin)
    if not found:
        return crontab
    _, found, tail = rest.partition(end)
    if not found:
        raise ControllerError(
            f"your crontab has '{begin.strip()}' without its end", hint="correct it by hand: crontab -e"
        )
    return head + tail


def _crontab() -> str:
    try:
        done = subprocess.run(
            ["crontab", "-l"],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=SECONDS,
            check=False,
        )
    except OSError as error:
        raise ControllerError(f"cannot run crontab: {error.strerror}", hint="install cron, or use --timer") from None
    # crontab ends with 1 if there is no crontab yet.
    if done.returncode != 0 and "no crontab" not in done.stderr:
        raise ControllerError(f"cannot read your crontab: {done.stderr.strip()}")
    return done.stdout if done.returncode == 0 else ""


def _write(path: Path, text: str, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # cron ignores files with a dot in the name, so it does not read this one.
        coming = path.with_name(f".{path.name}.new")
        coming.write_text(text, encoding="utf-8")
        coming.chmod(mode)
        coming.replace(path)
    except OSError as error:
        raise ControllerError(f"cannot write {path}: {error.strerror}") from None


def _delete(paths: list[Path]) -> list[str]:
    removed = []
    for path in paths:
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ControllerError(f"cannot remove {path}: {error.strerror}") from None
        removed.append(str(path))
    return removed


def _run(command: list[str], *, text: str = "", hint: str | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=SECONDS,
            check=False,
        )
    except OSError as error:
        raise ControllerError(f"cannot run {command[0]}: {error.strerror}", hint=hint) from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise ControllerError(f"'{' '.join(command)}' failed: {said[0]}", hint=hint)
