"""The inventories in cases/, and what ansible-core says of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).parent / "cases"
ENVIRON = {"SLIPWAY_TEST_ENV": "from the environment"}


def source_of(case: str) -> Path:
    """A case's inventory: the folder inventory/ or the file hosts.yml. Ansible is run in the case's folder."""
    folder = CASES / case
    return folder / "inventory" if (folder / "inventory").is_dir() else folder / "hosts.yml"


def vault_environ(case: str) -> dict[str, str]:
    """The variables that name a case's vault passwords."""
    folder = CASES / case
    if not (folder / "vault-password").exists():
        return {}
    return {
        "ANSIBLE_VAULT_PASSWORD_FILE": str(folder / "vault-password"),
        "ANSIBLE_VAULT_IDENTITY_LIST": f"prod@{folder / 'prod-password'}",
    }


def patterns_of(case: str) -> list[str]:
    """The host patterns to try on a case."""
    file = CASES / case / "patterns.txt"
    return file.read_text().splitlines() if file.exists() else []


def question(source: Path, playbook_dir: Path, patterns: list[str], *, resolve: bool = True) -> dict[str, Any]:
    """What ansible_answers.py is asked about one inventory."""
    passwords = [
        (label, (playbook_dir / name).read_text().strip())
        for label, name in (("default", "vault-password"), ("prod", "prod-password"))
        if (playbook_dir / name).exists()
    ]
    return {
        "source": str(source),
        "playbook_dir": str(playbook_dir),
        "passwords": passwords,
        "patterns": patterns,
        "resolve": resolve,
    }


def ask_ansible(questions: list[dict[str, Any]], **environ: str) -> list[Any]:
    """Ansible-core's answers, all from one process, which has these environment variables besides."""
    done = subprocess.run(
        [sys.executable, Path(__file__).parent / "ansible_answers.py"],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **ENVIRON, **environ},
    )
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="session")
def ansible_says() -> Mapping[str, Any]:
    """What ansible-core makes of every case, asked once."""
    cases = sorted(path.name for path in CASES.iterdir())
    answers = ask_ansible([question(source_of(case), CASES / case, patterns_of(case)) for case in cases])
    return dict(zip(cases, answers, strict=True))
