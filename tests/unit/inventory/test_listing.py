"""`invoke inventory` on an inventory that has nothing to do with Slipway, as the command that people type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from playbooks.adapters.secrets.masking import MASK
from tests.unit.inventory.conftest import CASES, source_of, vault_environ

PROJECT = Path(__file__).parents[3]


def run(program: str, *arguments: str, case: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name(program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", **vault_environ(case)},
    )


def invoke(case: str, *flags: str, task: str = "inventory") -> subprocess.CompletedProcess[str]:
    return run("invoke", task, f"--env={source_of(case)}", *flags, case=case, cwd=PROJECT)


def ansible(case: str, *flags: str) -> object:
    done = run("ansible-inventory", "-i", str(source_of(case)), *flags, case=case, cwd=CASES / case)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", ["docs-example", "kubespray", "deep-regions"])
def test_json_is_ansibles(case: str) -> None:
    """Fails if a program that reads `ansible-inventory --list` cannot read ours."""
    done = invoke(case, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ansible(case, "--list")
    assert "slipway_app is missing: no host has a setting of Slipway. To deploy, write slipway_app: NAME" in done.stderr
    assert "group_vars/all.y" in done.stderr


def test_one_host_and_secrets() -> None:
    """Fails if one host's variables are others than Ansible's, or a secret is shown that Ansible shows."""
    done = invoke("vault", "--host=db1", "--json")
    assert done.returncode == 0, done.stderr
    ours, theirs = json.loads(done.stdout), ansible("vault", "--host", "db1")
    assert isinstance(theirs, dict)
    hidden = [key for key, value in ours.items() if value == MASK]
    assert set(hidden) == {"vault_file_secret", "vault_tree"}
    shown = {key: value for key, value in ours.items() if key not in hidden and not isinstance(value, dict)}
    assert shown == {key: value for key, value in theirs.items() if key in shown}
    assert set(ours) == set(theirs)
    for flags in (["--vars"], ["--vars", "--json"], ["--host=db1"]):
        told = invoke("vault", *flags)
        assert told.returncode == 0, told.stderr
        assert "whole file" not in told.stdout + told.stderr
        assert "s3cr3t" not in told.stdout + told.stderr


def test_for_people() -> None:
    """Fails if hosts, groups, variables or their lines are not shown, or other tasks do not say what is missing."""
    done = invoke("docs-example", "--vars")
    assert done.returncode == 0, done.stderr
    assert "hosts.y" in done.stdout
    assert invoke("docs-example", "--host=none").returncode == 2
    for task in ("inventory", "status", "backups"):
        told = invoke("docs-example", task=task)
        assert told.returncode == (0 if task == "inventory" else 2)
        assert "slipway_app is missing: no host has a setting of Slipway" in told.stdout + told.stderr
        assert "o deploy, write slipway_app: NAME into" in told.stdout + told.stderr


def test_untrusted_ones_too() -> None:
    """Fails if an untrusted inventory without settings cannot be looked at, or its secrets are opened."""
    done = invoke("vault", "--vars", "--json", "--untrusted-inventory")
    assert done.returncode == 0, done.stderr
    assert "whole file" not in done.stdout
    assert set(json.loads(done.stdout)["_meta"]["hostvars"]) == {"db1", "db2"}
