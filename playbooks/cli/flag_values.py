"""What the values of flags mean: durations, times, shares, numbers."""

from __future__ import annotations

from playbooks.core.errors import UsageError


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
