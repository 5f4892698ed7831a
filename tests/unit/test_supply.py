"""What is installed is what the lock files list, by hash; the bill of materials says the same."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply.locked import LOCKS, PROJECT, read_lock
from supply.sbom import sbom

ALL = (*LOCKS, "requirements-lock.txt")
COMES_WITH_VENV = {"pip", "setuptools"}


def pinned(file: str) -> dict[str, str]:
    return {package.name: package.version for package in read_lock(PROJECT / file)}


def wanted(file: str) -> dict[str, str]:
    """What a .in file and those that it names ask for."""
    found: dict[str, str] = {}
    for line in (PROJECT / file).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found |= wanted(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            name, _, version = line.partition("==")
            found[canonicalize_name(name)] = version
    return found


@pytest.mark.parametrize("lock", ALL)
def test_a_lock_file_has_what_its_in_file_asks_for(lock: str) -> None:
    """Fails if somebody changes a version in a .in file and does not run script/lock."""
    asked = wanted(lock.replace(".txt", ".in"))
    assert asked
    assert asked.items() <= pinned(lock).items()


@pytest.mark.parametrize("lock", ALL)
def test_every_package_has_hashes(lock: str) -> None:
    """Fails if pip would take a file for it that nobody has vouched for."""
    assert not [package.name for package in read_lock(PROJECT / lock) if not package.hashes]


def test_the_lock_files_are_of_the_same_versions() -> None:
    """Fails if a user runs other versions than the tests."""
    everything = pinned("requirements-dev.txt")
    for lock in LOCKS:
        assert pinned(lock).items() <= everything.items()


@pytest.mark.parametrize("name", [*ALL, *(lock.replace(".txt", ".in") for lock in ALL), "sbom.cdx.json"])
def test_no_file_names_an_index(name: str) -> None:
    """Fails if one machine's package index gets into a file that others install from."""
    assert not re.search(
        r"(?:https?|file)://|--(?:extra-)?index|--find-links|--trusted-host", (PROJECT / name).read_text()
    )


def test_what_is_installed_is_what_is_locked() -> None:
    """Fails if something here came past the lock file, or the SBOM tells of other versions than those that run."""
    locked = {package.name: package.version for package in read_lock(PROJECT / LOCKS[-1]) if package.runs_here}
    installed = {canonicalize_name(one.name): one.version for one in distributions() if one.name}
    assert {name: version for name, version in installed.items() if name not in COMES_WITH_VENV} == locked


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_is_complete(lock: str) -> None:
    """Fails if a package needs one that its lock file lacks: with --no-deps nothing would install it."""
    locked = pinned(lock)
    there = {canonicalize_name(one.name): one for one in distributions() if one.name}
    for package in (package for package in read_lock(PROJECT / lock) if package.runs_here):
        needs = [Requirement(line) for line in there[canonicalize_name(package.name)].requires or []]
        for need in needs:
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert need.specifier.contains(locked[canonicalize_name(need.name)], prereleases=True), package.name


def test_the_sbom_is_in_step() -> None:
    """Fails if the committed bill of materials is not that of the lock files: run script/sbom."""
    assert (PROJECT / "sbom.cdx.json").read_text(encoding="utf-8") == sbom()


def test_a_file_with_another_hash_is_not_installed(tmp_path: Path) -> None:
    """Fails if script/install takes a file that is not the one that was locked."""
    source = tmp_path / "slipway_probe"
    wheel(source, tmp_path)
    (tmp_path / "locked.txt").write_text(f"slipway-probe==1 --hash=sha256:{'0' * 64}\n")
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/pip").write_text(f'#!/bin/sh\nexec {PROJECT}/.venv/bin/pip "$@"\n')
    (venv / "bin/pip").chmod(0o755)
    command = ["script/install", str(venv), str(tmp_path / "locked.txt")]
    environ = {"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_DRY_RUN": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=environ, check=False)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr


def wheel(source: Path, to: Path) -> None:
    """A wheel of a package that holds nothing."""
    info = source / "slipway_probe-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slipway-probe\nVersion: 1\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (info / "RECORD").write_text("")
    shutil.make_archive(str(to / "probe"), "zip", source)
    (to / "probe.zip").rename(to / "slipway_probe-1-py3-none-any.whl")
