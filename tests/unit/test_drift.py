"""What was changed by hand of a release is found, by name; and no diff shows a secret, nor one of before."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from playbooks.adapters.secrets.masking import MASK
from playbooks.fleet.script import load
from playbooks.releases.difference import told_apart, without_old_secrets
from playbooks.releases.render import File, Rendered
from playbooks.steps.rendered import OnHost

FILES = {"bin/run": "run\n", "lib/a b\\c.py": "code\n", "lib/deep/x.py": "x\n", "VERSION": "1.0\n", "data/cache": "1\n"}
FILES["lib/e\nf\\ng"] = "1"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A release as staging leaves it: a manifest, links, a path of the application's own, and how it looks."""
    place = tmp_path / "release"
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    (place / "current.py").symlink_to("lib/deep/x.py")
    meta = place / ".slipway"
    meta.mkdir()
    (meta / "writable").write_text("data\n")
    (meta / "units").write_text("shop.service\n")
    (meta / "links").write_text("./current.py -> lib/deep/x.py\n")
    names = [*(f"./{name}" for name in FILES if not name.startswith("data/")), "./.slipway/units", "./.slipway/links"]
    sums = subprocess.run(["sha256sum", *names], cwd=place, capture_output=True, text=True, check=True)
    (meta / "manifest").write_text(sums.stdout)
    _in_shell(place, 'keep_print "$1"')
    return place


def _in_shell(release: Path, line: str) -> str:
    script = load("check_release")
    lib = script.body.partition("\nif [")[0].partition("\n")[2].partition("\n")[2]
    text = f'{script.prelude}\nprivate_folder() {{ mktemp -d "{release.parent}/XXXXXX"; }}\n{lib}\n{line}\n'
    done = subprocess.run(["/bin/sh", "-c", text, "sh", str(release)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def _compared(release: Path, how: str) -> set[str]:
    return set(_in_shell(release, f'compare_release "$1" {how}').split("\n")) - {""}


def _append(place: Path) -> None:
    with place.open("a") as file:
        file.write("more\n")


def _unseen(place: Path) -> None:
    """As many bytes, in the same file, with its time set back: only who reads it can tell."""
    before = place.stat()
    with place.open("r+") as file:
        file.write("R")
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))


def _bend(place: Path) -> None:
    place.unlink()
    place.symlink_to("/etc/passwd")


def _make_folder(place: Path) -> None:
    place.mkdir()
    _append(place / "file")


def _add_links(place: Path) -> None:
    place.mkdir()
    (place / "link").symlink_to("/etc")


def _odd_names(place: Path) -> None:
    (place / "a\nb\tc\\d").touch()
    (place / "lib/e\nf\\ng").write_text("2")


def _rename_away(place: Path) -> None:
    place.rename(place.parent.parent / "aside")


HARMS: dict[str, tuple[Callable[[Path], None], set[str], set[str]]] = {
    "nothing": (lambda _: None, set(), set()),
    "touched": (lambda at: (at / "VERSION").touch(), set(), set()),
    "changed": (lambda at: _append(at / "lib/deep/x.py"), {"changed\tlib/deep/x.py"}, {"changed\tlib/deep/x.py"}),
    "an odd name": (
        lambda at: _append(at / "lib/a b\\c.py"),
        {"changed\tlib/a b\\c.py"},
        {"changed\tlib/a b\\c.py"},
    ),
    "unseen": (lambda at: _unseen(at / "bin/run"), set(), {"changed\tbin/run"}),
    "gone": (lambda at: (at / "VERSION").unlink(), {"missing\tVERSION"}, {"missing\tVERSION"}),
    "a folder gone": (
        lambda at: _rename_away(at / "lib"),
        {"missing\tlib"},
        {"missing\tlib"},
    ),
    "added": (lambda at: _make_folder(at / "new"), {"added\tnew"}, {"added\tnew"}),
    "mode": (lambda at: (at / "VERSION").chmod(0o600), {"mode\tVERSION"}, {"mode\tVERSION"}),
    "bent": (
        lambda at: _bend(at / "current.py"),
        {"link\tcurrent.py"},
        {"link\tcurrent.py"},
    ),
    "a link gone": (lambda at: (at / "current.py").unlink(), {"missing\tcurrent.py"}, {"missing\tcurrent.py"}),
    "a link added": (lambda at: (at / "lib/new").symlink_to("/etc"), {"added\tlib/new"}, {"added\tlib/new"}),
    "a folder of links added": (
        lambda at: _add_links(at / "new"),
        {"added\tnew"},
        {"added\tnew"},
    ),
    "a link for a file": (
        lambda at: _bend(at / "VERSION"),
        {"changed\tVERSION"},
        {"changed\tVERSION"},
    ),
    "names of several lines": (
        lambda at: _odd_names(at),
        {"added\ta\1b\2c\\d", "changed\tlib/e\1f\\ng"},
        {"added\ta\1b\2c\\d", "changed\tlib/e\1f\\ng"},
    ),
    "metadata": (
        lambda at: _append(at / ".slipway/units"),
        {"changed\t.slipway/units"},
        {"changed\t.slipway/units"},
    ),
    "its own data": (lambda at: _append(at / "data/cache"), set(), set()),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_was_changed_is_found_by_name(release: Path, harm: str) -> None:
    """A look that costs little finds all but what root hid on purpose; who reads everything finds that, too."""
    act, seen, all_of_it = HARMS[harm]
    act(release)
    assert _compared(release, "look") == seen
    assert _compared(release, "all") == all_of_it


def test_what_was_added_keeps_nobody_from_going_back(release: Path) -> None:
    """A link did, and a file did not."""
    (release / "lib/new").symlink_to("/etc")
    (release / "lib/file").touch()
    assert _compared(release, "sums") == set()
    _bend(release / "current.py")
    assert _compared(release, "sums") == {"link\tcurrent.py"}


def test_a_release_from_before_looks_were_kept(release: Path) -> None:
    """It has a print only: then every file is read, once that says that something was touched."""
    (release / ".slipway/looks").unlink()
    assert _compared(release, "look") == set()
    _append(release / "VERSION")
    assert _compared(release, "look") == {"changed\tVERSION"}


def _mask(text: str) -> str:
    return text.replace("new-secret", MASK)


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        (["TOKEN=old-secret", "A=1"], [f"TOKEN={MASK}", "A=2"], [f"TOKEN={MASK}", "A=1"]),
        (["url: db://me:old-secret@db/x"], [f"url: db://me:{MASK}@db/x"], [f"url: db://me:{MASK}@db/x"]),
        (["API_TOKEN=old-secret", "A=1"], [f"TOKEN={MASK}", "A=1"], [f"API_TOKEN={MASK}", "A=1"]),
        (["DB_PASSWORD=old-secret", "A=1"], ["A=1"], [f"DB_PASSWORD={MASK}", "A=1"]),
        (["old-secret"], [MASK], [MASK]),
        (["MemoryMax=1G", "User=shop"], ["User=shop"], ["MemoryMax=1G", "User=shop"]),
    ],
)
def test_a_secret_that_was_rotated_is_not_shown(before: list[str], after: list[str], shown: list[str]) -> None:
    """Nobody knows the old value any more, so nothing strikes it out; it may well be the one that still works."""
    assert without_old_secrets(before, after, _mask) == shown


def test_what_was_changed_by_hand_is_told_apart_from_what_was_never_deployed() -> None:
    """What somebody had added on a host was shown as what the inventory was about to take away."""
    deployed = {
        "kept": b"a=1\n",
        "edited": b"a=1\n",
        "new in the inventory": b"a=1\n",
        "both": b"a=1\n",
        "gone": b"a=1\n",
    }
    there = {**deployed, "edited": b"a=1\nb=new-secret\n", "both": b"b=2\n"}
    del there["gone"]
    today = {**deployed, "new in the inventory": b"a=2\n", "both": b"a=3\n", "added": b"x=1\n"}
    sums = {f"./{name}": sha256(content).hexdigest() for name, content in deployed.items()}
    unit = b"[Service]\nNice=1\n"
    sums["./.slipway/unit-files/shop.service"] = sha256(unit).hexdigest()
    on_host = OnHost(
        there, {"shop.service": unit}, {"shop.service": b"# Slipway: /opt/shop/current\n" + unit + b"# x\n"}, sums
    )
    files = {name: File(content, 0o640) for name, content in today.items()}
    rendered = Rendered(files, {"shop.service": unit}, (), (), {}, "")
    apart = told_apart(rendered, on_host, {}, _mask, now="today")
    assert [diff.splitlines()[1] for diff in apart.by_hand] == [
        "+++ edited (on the host, changed by hand)",
        "+++ gone (on the host, changed by hand)",
        "+++ shop.service (on the host, changed by hand)",
    ]
    assert apart.by_hand[0].splitlines()[3:] == [" a=1", f"+b={MASK}"]
    assert [diff.splitlines()[:2] for diff in apart.undeployed] == [
        ["--- added (deployed)", "+++ added (today)"],
        ["--- both (on the host, changed by hand)", "+++ both (today)"],
        ["--- new in the inventory (deployed)", "+++ new in the inventory (today)"],
    ]
