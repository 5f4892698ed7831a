"""Request pages on a host before users do, so that no user waits for cold caches (B2, G3)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from playbooks.core.errors import StepFailed
from playbooks.core.names import cut
from playbooks.core.step_codes import StepCode
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings.warm_up import WarmUp


@dataclass(frozen=True)
class Warmed:
    """The result of warming up.

    Args:
        wanted, answered, failed: counts of requests.
        milliseconds: the average time of a request.
        why: the first failure.
    """

    host: str
    wanted: int
    answered: int
    failed: int
    milliseconds: int
    why: str

    @property
    def problem(self) -> str:
        """Return what went wrong, as a sentence; empty if nothing did."""
        if self.failed:
            return f"{self.failed} of {self.answered} requests failed: {self.why}"
        missing = self.wanted - self.answered
        return f"{missing} of {self.wanted} requests were not answered in time" if missing > 0 else ""

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {**asdict(self), "problem": self.problem}


def warm_up_call(settings: WarmUp, port: int) -> StepCall:
    """Build the step that warms a host up.

    Args:
        settings: ``slipway_warm_up``.
        port: the port on which the application listens.
    """
    urls = [url.replace("{port}", str(port)) for url in settings.urls]
    values = {"times": str(settings.times), "parallel": str(settings.parallel), "seconds": f"{settings.timeout:g}"}
    return StepCall("warm_up", urls, values=values, timeout=settings.timeout + 30)


def read_warm_up(answer: StepResult) -> Warmed:
    """Read the result.

    Raises:
        BadAnswer: the answer is malformed.
    """
    wanted, answered, failed, milliseconds, why = answer.one("warmed", 5)
    number = answer.number
    return Warmed(answer.host, number(wanted), number(answered), number(failed), number(milliseconds), cut(why))


def require_warm(settings: WarmUp, warmed: Warmed) -> str:
    """Return a warning about the result; empty if there is none.

    Raises:
        StepFailed: a request failed, and the settings require that all succeed.
    """
    if warmed.problem and settings.required:
        raise StepFailed(f"warm-up: {warmed.problem}", host=warmed.host, step="warm-up", code=StepCode.COLD)
    return f"{warmed.host}: warm-up: {warmed.problem}" if warmed.problem else ""
