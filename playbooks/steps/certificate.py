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
    words = certificate_arguments(balancer, tls, settings.app)
    arguments = [settings.run_user, balancer.kind, str(tls.ports[0]), *words]
    return StepCall("certificate", arguments, timeout=settings.timeouts.command)


def read_certificate(answer: StepResult) -> Certificate:
    """Read the state of the certificate.

    Raises:
        BadAnswer: the answer is malformed.
    """
    stand, sentence = answer.one("certificate", 2)
    if stand not in ("fit", "soon", "bad"):
        raise answer.bad(f"a certificate is {stand}")
    return Certificate(sentence, stand == "bad")


def certificate_arguments(balancer: Balancer, tls: Tls, app: str) -> list[str]:
    """Return the arguments for judge_certificate.sh."""
    place = tls.place(app)
    return [place, tls.key or place, str(tls.days), *balancer.tls_names]
