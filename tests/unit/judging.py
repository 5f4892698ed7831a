"""What tests of judgement share."""

from __future__ import annotations

import random
from typing import Any

from playbooks.judgement.judge import Judge
from playbooks.judgement.verdict import Finding, Verdict
from playbooks.settings.judgement import Criteria, Judgement

ERRORS_ONLY = {"worse_errors": None, "worse_latency": None}
LATENCY_ONLY = {"worse_errors": None}


def judge(criteria: dict[str, Any], **options: Any) -> Judge:
    return Judge(Criteria.model_validate(criteria), Judgement.model_validate({}), **options)


def finding(verdict: Verdict, rule: str) -> Finding:
    return next(found for found in verdict.findings if found.rule == rule)


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - chance that is the same each time is what a test wants


def binomial(chance: random.Random, requests: int, rate: float) -> int:
    return sum(chance.random() < rate for _ in range(requests))
