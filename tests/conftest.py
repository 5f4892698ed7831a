"""What a test that fails tells besides: how busy the machine was, for whoever was not there."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lab.processors import stolen, ticks
from tests import last_commands

# Beside other work any example may take long: time says nothing of what is tried.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Generator[None, None, None]:
    """What this machine remembers of ledgers (playbooks/ledger/heads.py): the tests' own, not that of who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


_before = pytest.StashKey[tuple[int, ...]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remember what the processors had done by then."""
    item.stash[_before] = ticks()
    last_commands.forget()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the machine's load to a failure."""
    report = yield
    if report.failed:
        others = f"others had {stolen(item.stash[_before]):.0%} of the processors"
        report.sections.append(("the machine", f"{_load()}\n{others}"))
        report.sections += last_commands.told()
    return report


def _load() -> str:
    """Processes that could run, and for how much of the time somebody waited for a processor or a disk."""
    told = [f"load: {Path('/proc/loadavg').read_text().strip()}"]
    for kind in ("cpu", "io"):
        pressure = Path(f"/proc/pressure/{kind}")
        if pressure.exists():  # a kernel may be built without it
            told.append(f"{kind}: " + "; ".join(pressure.read_text().splitlines()))
    return "\n".join(told)
