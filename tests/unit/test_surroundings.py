"""The controller as real ones are: another locale, no home, no name, streams that are closed or full. Real commands."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from playbooks.core.streams import GLYPHS

PROJECT = Path(__file__).resolve().parent.parent.parent
INVOKE = PROJECT / ".venv" / "bin" / "invoke"
C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LATIN = {"PYTHONIOENCODING": "latin-1"}
WORDS = "für “Ünïcode” → 漢字 … ✓"


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    """An inventory whose values no small encoding has."""
    folder = tmp_path / "inventory"
    (folder / "group_vars").mkdir(parents=True)
    (folder / "hosts.yml").write_text("web:\n  hosts:\n    web[1:3]:\n", encoding="utf-8")
    settings = {"slipway_app": "app", "slipway_artifact": f"{WORDS}-{{version}}.tar.gz"}
    (folder / "group_vars" / "all.yml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return f"--env={folder}"


def ran(
    *words: str | bytes, environment: Mapping[str, str] | None = None, shell: str = '"$@"', at: Path = PROJECT
) -> subprocess.CompletedProcess[bytes]:
    """Run a task by a line of shell. Nothing may be called a fault of Slipway's, whatever surrounds it."""
    done = subprocess.run(
        ["sh", "-c", shell, "-", str(INVOKE), *words],
        cwd=at,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    told = done.stdout + done.stderr
    for bad in (b"fault in Slipway", b"Traceback", b"Exception ignored"):
        assert bad not in told, told.decode("utf-8", "backslashreplace")
    return done


@pytest.mark.parametrize("environment", [C, LATIN, {"PYTHONIOENCODING": "ascii:strict"}])
def test_no_output_fails_for_its_encoding(environment: dict[str, str], inventory: str) -> None:
    """A deploy that is live ended in a traceback with 1, which says that it went back."""
    shown = ran("inventory", inventory, environment=environment)
    assert shown.returncode == 0
    assert b"\\u6f22" in shown.stdout
    assert b" > " in shown.stdout, "an arrow is not shown as something like it"
    document = ran("inventory", inventory, "--json", environment=environment)
    assert document.returncode == 0
    artifact = json.loads(document.stdout.decode("utf-8"))["hosts"][0]["settings"]["artifact"]
    assert WORDS in artifact
    assert ran("deploy", "--nö", environment=environment).returncode == 2


@pytest.mark.parametrize("environment", [C, LATIN])
def test_the_live_picture_on_a_terminal_of_another_encoding(environment: dict[str, str], inventory: str) -> None:
    """Rich draws with characters that such a terminal does not have."""
    own, theirs = pty.openpty()
    with subprocess.Popen(
        [INVOKE, "deploy", inventory, "--version=9"],
        cwd=PROJECT,
        env={**os.environ, **environment, "TERM": "xterm", "CI": ""},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        told = b""
        while True:
            try:
                part = os.read(own, 65536)
            except OSError:  # the other end is closed
                break
            told += part
            if not part:
                break
    os.close(own)
    assert process.returncode == 2
    assert b"fault in Slipway" not in told
    assert b"Traceback" not in told


@pytest.mark.parametrize(
    ("shell", "told"),
    [
        ('"$@" >/dev/full', b"could not be written: No space left on device"),
        ('"$@" 2>/dev/full', b"web1"),
        ('"$@" >/dev/full 2>&1', b""),
        ('"$@" >&- 2>&- <&-', b""),
        ('{ "$@"; echo "ended with $?" >&2; } | head -n 1', b"ended with 0"),
    ],
)
def test_a_stream_that_takes_nothing_changes_nothing(shell: str, told: bytes, inventory: str) -> None:
    """The status says how the fleet is; a reader that has seen enough, or a full disk, is nothing about the fleet."""
    done = ran("inventory", inventory, shell=shell)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout + done.stderr
    if "<&-" in shell:
        assert ran("inventory", "--env=/nosuch/inventory", "--json", shell=shell).returncode == 2


def test_variables_that_make_no_sense(inventory: str) -> None:
    """Nobody looks at all of them before a deploy."""
    odd = {
        "TMPDIR": "/nosuch",
        "HOME": "/nosuch",
        "TERM": "nonsense",
        "COLUMNS": "x",
        "LINES": "-1",
        "USER": "a\udcff",
        "LOGNAME": "\udcff",
        "ANSIBLE_VAULT_PASSWORD_FILE": "\udcff/x",
        "SSH_AUTH_SOCK": "/nosuch",
        "LANG": "xx_YY.nonsense",
        "LC_ALL": "",
    }
    assert ran("inventory", inventory, environment=odd).returncode == 0
    assert ran("deploy", inventory, "--version=9", environment={**odd, "HOME": "", "TERM": ""}).returncode == 2


def test_no_home_no_name_no_folder(inventory: str, tmp_path: Path) -> None:
    """A container's user may have none of them; and somebody may remove the folder that we are in."""
    nobody = 'unset HOME XDG_STATE_HOME; exec unshare --user --map-user=4711 "$@"'
    assert ran("inventory", inventory, shell=nobody).returncode == 0
    assert ran("deploy", inventory, "--version=9", shell=nobody).returncode == 2
    assert ran("deploy", inventory, "--report=~nobody-here/x", shell=nobody).returncode == 2
    gone = tmp_path / "gone"
    gone.mkdir()
    for env, status in ((inventory, 0), ("--env=./x", 2)):
        gone.mkdir(exist_ok=True)
        lines = f'rmdir "$PWD"; "$1" --search-root="{PROJECT}" inventory "$2"'
        done = ran(env, at=gone, shell=lines)
        assert done.returncode == status, done.stderr


def test_flags_are_read_as_they_are_typed(inventory: str) -> None:
    """A C locale reads a "ü" as two odd halves, which no ledger can hold; what is no text at all is refused."""
    script = "import sys; from playbooks.cli.bad_usage import as_meant; print(ascii(as_meant('reason', sys.argv[1])))"
    said = subprocess.run(
        [sys.executable, "-c", script, WORDS], cwd=PROJECT, env={**os.environ, **C}, capture_output=True, check=True
    )
    assert said.stdout.decode().strip() == ascii(WORDS)
    refused = ran("rollback", inventory, b"--reason=\xff")
    assert (refused.returncode, b"--reason holds bytes that are no UTF-8" in refused.stderr) == (2, True)


def test_what_stands_for_a_glyph_is_as_wide() -> None:
    """A picture whose lines grow past the screen's edge falls apart."""
    assert {len(one) for one in (*GLYPHS, *GLYPHS.values())} == {1}
    assert "".join(GLYPHS.values()).isascii()
