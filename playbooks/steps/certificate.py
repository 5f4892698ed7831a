"""A balancer's certificate: whether it is valid, and whether clients get it (D1)."""

from __future__ import annotations

from dataclasses import dataclass

from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import StepResult
from playbooks.settings import Settings
from playbooks.settings.traffic import Balancer, Tls


@dataclass(frozen=True)
class Certificate:
    """How it stands.

    Args:
        problem: what is wrong with it, as a sentence; empty when nothing is.
        bad: whether clients are turned away by it, or get another one; else it only ends soon.
    """

    problem: str = ""
    bad: bool = False


def ask_certificate(balancer: Balancer, tls: Tls, settings: Settings) -> StepCall:
    """The step that looks at it. Changes nothing."""
    arguments = [balancer.kind, str(tls.ports[0]), *certificate_arguments(balancer, tls, settings.app)]
    return StepCall("certificate", arguments, timeout=settings.timeouts.command)


def read_certificate(answer: StepResult) -> Certificate:
    """How it stands.

    Raises:
        BadAnswer: its answer makes no sense.
    """
    stand, sentence = answer.one("certificate", 2)
    if stand not in ("fit", "soon", "bad"):
        raise answer.bad(f"a certificate is {stand}")
    return Certificate(sentence, stand == "bad")


def certificate_arguments(balancer: Balancer, tls: Tls, app: str) -> list[str]:
    """As judge_certificate.sh takes them."""
    place = tls.place(app)
    return [place, tls.key or place, str(tls.days), *balancer.tls_names]
