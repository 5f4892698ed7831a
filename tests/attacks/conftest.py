"""The real hosts of tests/hosts, and an application on one of them whose user is hostile."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from lab.spec import HostSpec, Lab
from tests.attacks import attacker
from tests.attacks.victim import CANARIES, CLEARED, HOST, VERSIONS, Victim, artifact, settings
from tests.hosts.conftest import app, lab, on, own_lab, specs

__all__ = ["app", "lab", "on", "specs"]


@pytest.fixture(scope="module")
def victim(lab: Lab, specs: dict[str, HostSpec], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """The application, with data in shared folders, a writable path, and a folder of its user's; not deployed."""
    folder = tmp_path_factory.mktemp("victim")
    made = Victim("victim", 8790, folder, lab, host=specs[HOST])
    attacker.install(lab, made.host)
    uid, gid = made.as_root(CANARIES, made.name, secrets.token_hex(8)).split()
    made.uid, made.gid = int(uid), int(gid)
    made.reset()
    (folder / "secrets").mkdir(mode=0o700)
    password = folder / "secrets/restic"
    password.touch(mode=0o600)
    password.write_text(f"restic-{own_lab()}\n")
    made.write(**settings(made, password))
    for version in VERSIONS:
        artifact(made, version)
    yield made
    made.abandon()
    made.remove()
    made.as_root(CLEARED)
