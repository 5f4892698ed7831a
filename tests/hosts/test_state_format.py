"""What another Slipway left on a host: an older one's state is gone on with, a newer one's is refused."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testinfra.host import Host

from tests.hosts.conftest import App, invoke

On = Callable[[str], Host]
NAME, PORT = "elder", 9600
# Of host app1, made by Slipway before it wrote a format: provision, deploy 1.0.0, backup, deploy 1.1.0. Its folders in
# /opt, /var/lib/slipway and /var/backups/slipway, and its unit.
LEFT = Path(__file__).parent / "fixtures" / "format-0.tar.gz"
BACKUP = "20261130T204409Z-1.0.0"


@pytest.fixture
def elder(app: App, on: On) -> Iterator[App]:
    """The application that the older Slipway deployed, with its inventory; its environment was called inventory."""
    host = on("app1")
    packed = base64.encodebytes(LEFT.read_bytes()).decode()
    host.check_output(f"base64 -d <<'END' | tar -xzf - -C /\n{packed}\nEND")
    host.check_output(f"systemctl daemon-reload && systemctl start {NAME}")
    made = App(NAME, PORT, app.folder, app.lab)
    secret = app.folder / "secrets" / "restic"
    secret.write_text("very-old-secret\n")
    made.write(
        app=NAME,
        hosts="app1",
        user="www-data",
        artifact=f"{app.folder}/{NAME}-{{version}}.tar.gz",
        shared=["data"],
        services=[{"name": NAME, "unit": {"Service": {"ExecStart": f"/opt/{NAME}/current/bin/run"}}}],
        health={"interval": "500ms", "checks": [{"type": "http", "url": f"http://127.0.0.1:{PORT}/VERSION"}]},
        backup={"repository": f"/var/backups/slipway/{NAME}", "max_age": "36500d"},
        secrets={"restic_password": {"file": str(secret)}},
    )
    yield made
    folders = f"/opt/{NAME} /var/lib/slipway/{NAME} /var/backups/slipway/{NAME} /root/elder"
    host.run(f"systemctl disable --now {NAME}; rm -rf {folders}")


def test_what_an_older_slipway_left_is_gone_on_with(elder: App, on: On) -> None:
    """After an upgrade of Slipway there is no way back, no backup, or a ledger that seems forged."""
    host = on("app1")
    told = invoke("status", elder.env, "--json").json["hosts"][0]
    assert (told["version"], told["health"]) == ("1.1.0", "healthy")
    assert BACKUP in {backup["id"] for backup in invoke("backups", elder.env, "--json").json["backups"]}
    assert invoke("history", elder.env, "--verify").status == 0
    restored = invoke("restore", elder.env, f"--backup={BACKUP}", "--to-dir=/root/elder")
    assert restored.status == 0, restored.err
    back = invoke("rollback", elder.env, "--reason=test")
    assert back.status == 0, back.err
    assert host.file(f"/opt/{NAME}/current/VERSION").content_string == "1.0.0\n"
    assert host.file(f"{elder.state}/format").content_string == "1\n"
    elder.build("1.2.0")
    assert elder.deploy("1.2.0").status == 0
    verified = invoke("verify-backups", elder.env)
    assert verified.status == 0, verified.out + verified.err
    assert invoke("history", elder.env, "--verify").status == 0


def test_what_a_newer_slipway_left_is_refused(elder: App, on: On) -> None:
    """An older Slipway takes for broken what it does not know, and mends it."""
    host = on("app1")
    host.check_output(f"echo 2 >{elder.state}/format")
    elder.build("1.2.0")
    before = host.check_output(f"find /opt/{NAME} {elder.state} -newermt 2000-01-01 -printf '%p %T@\\n' | sort")
    for words in (["deploy", "--version=1.2.0"], ["rollback", "--reason=test"], ["status"], ["backup"], ["drift"]):
        refused = invoke(words[0], elder.env, *words[1:], "--json")
        assert refused.status != 0
        assert words[0] in ("status", "drift") or "step.newer-format" in refused.out, refused.out
        assert "a newer Slipway was here: it left format 2" in refused.out + refused.err
    after = host.check_output(f"find /opt/{NAME} {elder.state} -newermt 2000-01-01 -printf '%p %T@\\n' | sort")
    assert after == before
