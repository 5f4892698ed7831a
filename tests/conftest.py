"""What a test that fails tells besides: how busy the machine was, for whoever was not there."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

# Of /proc/stat's first line, see proc_stat(5).
_STOLEN = 8
_before = pytest.StashKey[list[int]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remember what the processors had done by then."""
    item.stash[_before] = _ticks()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the machine's load to a failure."""
    report = yield
    if report.failed:
        before = item.stash[_before]
        spent = [now - then for now, then in zip(_ticks(), before, strict=True)]
        report.sections.append(
            ("the machine", _load() + f"\nstolen by others: {100 * spent[_STOLEN - 1] // sum(spent)} %")
        )
    return report


def _ticks() -> list[int]:
    """User, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(word) for word in Path("/proc/stat").read_text().split()[1 : _STOLEN + 1]]


def _load() -> str:
    """Processes that could run, and for how much of the time somebody waited for a processor or a disk."""
    told = [f"load: {Path('/proc/loadavg').read_text().strip()}"]
    for kind in ("cpu", "io"):
        pressure = Path(f"/proc/pressure/{kind}")
        if pressure.exists():  # a kernel may be built without it
            told.append(f"{kind}: " + "; ".join(pressure.read_text().splitlines()))
    return "\n".join(told)
