"""From the hosts' own reports to signals: pure functions, in addition to the numbers of their requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from playbooks.judgement.verdict import Signal

MEGABYTE = 1_048_576


@dataclass(frozen=True)
class UnitReading:
    """The state of a unit.

    Args:
        active, sub: systemd's states, e.g. "active" and "running".
        restarts: how often systemd has restarted it since somebody started it.
        memory: bytes that it cannot give back; None: not known.
        memory_max: bytes at which it is ended; None: no limit.
    """

    name: str
    active: str
    sub: str
    restarts: int
    memory: int | None = None
    memory_max: int | None = None


@dataclass(frozen=True)
class HostReading:
    """What a host reported at one moment.

    Args:
        moment: seconds of the host's uptime.
        cursor: the end of what was read of its journal, for the next reading of this host.
        errors: lines of the application at priority err or worse since the cursor before.
    """

    host: str
    moment: float
    units: tuple[UnitReading, ...] = ()
    cursor: str | None = None
    errors: int = 0


@dataclass(frozen=True)
class HostLimits:
    """The limits beyond which a host's own signals are bad.

    Args:
        restarts: a unit that has restarted more often since the watch began.
        memory: share of MemoryMax in use.
        full_within: seconds. Memory that will reach MemoryMax sooner than this is a leak...
        growth: ...unless it grew by less than this share of MemoryMax since the watch began, as after every start...
        settle: ...or the unit has been watched for fewer seconds than this.
        errors: lines a minute more than the old release.
    """

    restarts: int = 0
    memory: float = 0.9
    full_within: float = 600.0
    growth: float = 0.1
    settle: float = 20.0
    errors: float = 5.0


def host_signals(
    readings: Sequence[HostReading], baseline: Iterable[Sequence[HostReading]] = (), limits: HostLimits | None = None
) -> list[Signal]:
    """The signals of a host from its readings since the watch began.

    Args:
        readings: of one host on the new release, in order; the first is from the beginning of the watch.
        baseline: those of hosts on the old release in the same time.
        limits: the limits.
    """
    limits = limits or HostLimits()
    if len(readings) < 2:
        return []
    first, last = readings[0], readings[-1]
    if last.moment < first.moment:
        return [Signal(last.host, "reboot", bad=True, sentence="the host was rebooted while it was watched")]
    before = {unit.name: unit for unit in first.units}
    signals = [
        signal
        for unit in last.units
        for signal in (
            _state(last.host, unit),
            _restarts(last.host, before.get(unit.name), unit, limits),
            _memory(last.host, [_named(reading, unit.name) for reading in readings], readings, limits),
        )
        if signal is not None
    ]
    signals += [
        Signal(last.host, "state", bad=True, sentence=f"{name} is gone") for name in before.keys() - _names(last)
    ]
    return [*signals, _errors(readings, list(baseline), limits)]


def errors_a_minute(readings: Sequence[HostReading]) -> float | None:
    """Lines of the log with priority err or worse for each minute; None before there are two readings."""
    if len(readings) < 2 or readings[-1].moment <= readings[0].moment:
        return None
    return sum(reading.errors for reading in readings[1:]) * 60 / (readings[-1].moment - readings[0].moment)


def _state(host: str, unit: UnitReading) -> Signal | None:
    if unit.active in ("failed", "inactive", "deactivating"):
        return Signal(host, "state", bad=True, sentence=f"{unit.name} is {unit.active} ({unit.sub})")
    return None


def _restarts(host: str, before: UnitReading | None, unit: UnitReading, limits: HostLimits) -> Signal:
    # If the count went down, somebody started the unit; that is not a restart by systemd.
    since = before.restarts if before is not None and before.restarts <= unit.restarts else 0
    count = unit.restarts - since
    times = {0: "has not restarted", 1: "restarted once", 2: "restarted twice"}.get(count, f"restarted {count} times")
    return Signal(host, "restarts", bad=count > limits.restarts, sentence=f"{unit.name} {times}")


def _memory(
    host: str, units: Sequence[UnitReading | None], readings: Sequence[HostReading], limits: HostLimits
) -> Signal | None:
    unit = units[-1]
    if unit is None or unit.memory is None or not unit.memory_max:
        return None
    used = unit.memory / unit.memory_max
    grows = _growth(units, readings, limits, unit.memory_max)
    told = f"{unit.name} has {unit.memory / MEGABYTE:.0f} of {unit.memory_max / MEGABYTE:.0f} MB"
    leaks = grows > 0 and (unit.memory_max - unit.memory) / grows < limits.full_within
    if leaks:
        left = (unit.memory_max - unit.memory) / grows
        told += f" and grows by {_rate(grows)}: full in {left:.0f} s"
    return Signal(host, "memory", bad=used > limits.memory or leaks, sentence=told)


def _growth(
    units: Sequence[UnitReading | None], readings: Sequence[HostReading], limits: HostLimits, most: int
) -> float:
    """Bytes a second, if that is more than after a start: the smaller rate of the whole time and of its second half.

    A unit that fills a cache and then stays the same has no leak: its second half is flat.
    """
    known = [
        (reading.moment, unit.memory)
        for unit, reading in zip(units, readings, strict=True)
        if unit is not None and unit.memory is not None and unit.restarts == (units[-1] or unit).restarts
    ]
    if len(known) < 3 or known[-1][0] - known[0][0] < limits.settle:
        return 0.0
    if known[-1][1] - known[0][1] < limits.growth * most:
        return 0.0
    until, now = known[-1]
    rates = [(now - was) / (until - when) for when, was in (known[0], known[len(known) // 2]) if until > when]
    return max(0.0, min(rates))


def _errors(readings: Sequence[HostReading], baseline: Sequence[Sequence[HostReading]], limits: HostLimits) -> Signal:
    lines = errors_a_minute(readings) or 0.0
    known = [rate for rate in map(errors_a_minute, baseline) if rate is not None]
    told = f"{lines:.0f} error {'line' if round(lines) == 1 else 'lines'} a minute in the log"
    if known:
        told += f" where the old release has {max(known):.0f}"
    # The old host with most lines counts, because such lines are then not the new release's fault. A time of at least a
    # minute counts, so that one line in the first second does not become sixty a minute.
    minutes = max(1.0, (readings[-1].moment - readings[0].moment) / 60)
    count = sum(reading.errors for reading in readings[1:])
    bad = count > minutes * (limits.errors + max(known, default=0.0))
    return Signal(readings[-1].host, "log", bad=bad, sentence=told)


def _named(reading: HostReading, name: str) -> UnitReading | None:
    return next((unit for unit in reading.units if unit.name == name), None)


def _names(reading: HostReading) -> set[str]:
    return {unit.name for unit in reading.units}


def _rate(bytes_a_second: float) -> str:
    if bytes_a_second >= MEGABYTE:
        return f"{bytes_a_second / MEGABYTE:.1f} MB/s"
    return f"{bytes_a_second * 60 / MEGABYTE:.1f} MB a minute"
