"""Wait until a host is healthy (A4, A5). The loop runs on the host, so waiting costs one round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, assert_never

from playbooks.core.names import cut
from playbooks.fleet.remote import Remote, StepCall
from playbooks.fleet.remote_shell import Note
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings
from playbooks.settings.health import (
    SLOT_PORT,
    UNPROVEN,
    VERSION,
    AnyCheck,
    CommandCheck,
    HttpCheck,
    PostgresCheck,
    RedisCheck,
    TcpCheck,
    UnitCheck,
)
from playbooks.steps.backup import as_line

MAX_CHECKS = 200  # for one host, units included
MAX_NAME = 200  # characters

# The separator between a list's items. The shell does not treat it as white space.
ITEM = "\036"
# The host replaces this with the port of its slot,
PORT = "\035"
# and this with the version of the checked release.
RELEASE_VERSION = "\034"
# The same within a regular expression.
VERSION_PATTERN = "\032"

# Lines of a unit's log.
MAX_LINES, MAX_LINE = 12, 300


@dataclass(frozen=True)
class CheckResult:
    """The last try of a check.

    Args:
        milliseconds: how long it took.
        tries: the number of the round.
        detail: what the check found.
        log: the last output of a unit that failed, or of a command that wrote several lines.
    """

    name: str
    kind: str
    critical: bool
    ok: bool
    tries: int
    milliseconds: int
    detail: str
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class HealthReport:
    """A host's health.

    Args:
        healthy: whether every critical check passed in the same round.
        seconds: how long the checks took.
        restarts: how often systemd has restarted each of the application's units since its start.
    """

    host: str
    healthy: bool
    checks: tuple[CheckResult, ...]
    seconds: float
    restarts: Mapping[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> list[CheckResult]:
        """Return the critical checks that failed."""
        return [check for check in self.checks if check.critical and not check.ok]

    @property
    def warnings(self) -> list[str]:
        """Return a sentence for each other check that failed."""
        return [f"{check.name}: {check.detail}" for check in self.checks if not check.critical and not check.ok]

    def reason(self) -> str:
        """Return why the host is not healthy."""
        told = "; ".join(f"{check.name}: {check.detail}" for check in self.failures) or "no check was made"
        return cut(f"not healthy after {self.seconds:.1f} s: {told}")

    @property
    def log(self) -> tuple[str, ...]:
        """Return the last output of the units and commands that failed."""
        failed = [check for check in self.checks if check.log and not check.ok]
        return tuple(f"{check.name}: {line}" if len(failed) > 1 else line for check in failed for line in check.log)

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return asdict(self)


def wait_until_healthy(remote: Remote, ask: StepCall) -> HealthReport:
    """Repeat a host's checks until all critical ones pass in one round, or the time is over.

    Args:
        remote: the host.
        ask: from `health_call`.
    """
    (answer,) = remote.chain([ask])
    return read_health(answer)


def health_call(
    settings: Settings,
    *,
    units: Sequence[str],
    release_folder: str,
    secrets: Mapping[str, str],
    once: bool = False,
    units_only: bool = False,
    note: Note | None = None,
) -> StepCall:
    """Build the step that repeats a host's checks until all critical ones pass in one round, or the time is over.

    Args:
        settings: the host's; ``slipway_health`` has the checks.
        units: the application's units; each is checked without a setting.
        release_folder: the folder in which command checks run.
        secrets: the values by name, for checks that log in.
        once: check once, without waiting.
        units_only: check the units, and none of the settings' checks.
        note: called when a check's detail changes.
    """
    health = settings.health
    own = [UnitCheck(type="unit", unit=unit, name="", critical=True, timeout=10.0) for unit in units]
    checks = [] if units_only else health.checks
    lines = [*(_line(check, secrets, own=True) for check in own), *(_line(check, secrets) for check in checks)]
    spent = sum(check.timeout for check in checks) + 10.0 * len(own)
    stable, unproven = (0.0, UNPROVEN) if health.stable_for is None else (health.stable_for, 0.0)
    waits = 0.0 if once else health.patience + max(stable, unproven)
    return StepCall(
        "health",
        values={
            "user": settings.run_user,
            "release": release_folder,
            "patience": f"{health.patience:.0f}",
            "interval": f"{health.interval * 1000:.0f}",
            "stable": f"{stable * 1000:.0f}",
            "unproven": f"{unproven * 1000:.0f}",
            "max_restarts": str(health.max_restarts),
            "once": "once" if once else "-",
        },
        payload="".join(f"{line}\n" for line in lines).encode(),
        timeout=settings.timeouts.connect + 2 * spent + waits + 30.0,
        note=note,
    )


def read_health(answer: StepResult) -> HealthReport:
    """Read the report.

    Raises:
        BadAnswer: the answer is malformed.
    """
    verdict, milliseconds = answer.one("verdict", 2)
    number = answer.number
    checks = tuple(
        CheckResult(
            cut(name, MAX_NAME),
            cut(kind, MAX_NAME),
            critical == "yes",
            passed == "yes",
            number(tries),
            number(took),
            cut(detail.strip()),
            _log_lines(log),
        )
        for name, kind, critical, passed, tries, took, detail, log in answer.all("check", 8, MAX_CHECKS)
    )
    good = verdict == "yes" and all(check.ok for check in checks if check.critical)
    restarts = {unit: number(count) for unit, count in answer.all("restarts", 2)}
    return HealthReport(answer.host, good, checks, answer.number(milliseconds) / 1000, restarts)


def _log_lines(text: str) -> tuple[str, ...]:
    return tuple(cut(line, MAX_LINE) for line in text.split(ITEM) if line.strip())[-MAX_LINES:]


def _line(check: AnyCheck, secrets: Mapping[str, str], *, own: bool = False) -> str:
    label = _marked(check.label)
    head = [check.type, label, "yes" if check.critical else "no", f"{check.timeout:g}"]
    # The last field is never empty, because the shell drops an empty last field.
    return as_line(*head, *_fields(check, secrets, own=own), ".")


def _marked(text: str) -> str:
    return text.replace(SLOT_PORT, PORT).replace(VERSION, RELEASE_VERSION)


def _fields(check: AnyCheck, secrets: Mapping[str, str], *, own: bool) -> list[str]:
    if isinstance(check, HttpCheck):
        return [
            _marked(check.url),
            str(check.status),
            (check.body or "").replace(VERSION, VERSION_PATTERN),
            check.json_path or "",
            (check.json_value or "true").replace(VERSION, RELEASE_VERSION),
            f"{check.max_time * 1000:.0f}" if check.max_time else "",
            ITEM.join(f"{name}: {value}" for name, value in check.headers.items()),
            ITEM.join(
                f"{name}: {value.replace(VERSION, VERSION_PATTERN)}" for name, value in check.expect_headers.items()
            ),
            check.served_by or "",
        ]
    if isinstance(check, TcpCheck):
        return [check.host, str(check.port).replace(SLOT_PORT, PORT)]
    if isinstance(check, UnitCheck):
        return [check.unit, "own" if own else "other"]
    if isinstance(check, CommandCheck):
        return [check.run]
    if isinstance(check, PostgresCheck):
        password = secrets[check.password] if check.password else ""
        return [check.host, str(check.port), check.database, check.user, password, check.served_by or ""]
    if isinstance(check, RedisCheck):
        password = secrets[check.password] if check.password else ""
        return [check.host, str(check.port), password, check.served_by or ""]
    assert_never(check)
