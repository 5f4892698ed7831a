"""Check whether a balancer's certificate is valid and whether clients get it (D1)."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer, Tls


@dataclass(frozen=True)
class Certificate:
    """The state of a certificate.

    Args:
        problem: what is wrong, as a sentence; empty if the certificate is fine.
        bad: whether clients refuse it or get another one; else it only expires soon.
    """

    problem: str = ""
    bad: bool = False


def certificate_call(balancer: Balancer, tls: Tls, settings: Settings) -> StepCall:
    """Build the step that checks the certificate. It changes nothing."""
    values = {
        "user": settings.run_user,
        "unit": balancer.kind,
        "port": str(tls.ports[0]),
        **certificate_values(tls, settings.app),
    }
    return StepCall("certificate", balancer.tls_names, values=values, timeout=settings.timeouts.command)


def read_certificate(answer: StepResult) -> Certificate:
    """Read the state of the certificate.

    Raises:
        BadAnswer: the answer is malformed.
    """
    stand, sentence = answer.one("certificate", 2)
    if stand not in ("fit", "soon", "bad"):
        raise answer.bad(f"a certificate is {stand}")
    return Certificate(sentence, stand == "bad")


def certificate_values(tls: Tls, app: str) -> dict[str, str]:
    """Return the values that scripts need to judge the certificate."""
    place = tls.place(app)
    return {"certificate": place, "certificate_key": tls.key or place, "least_days": str(tls.days)}
