"""What systemd does as root for a unit, and what it starts as root, is out of reach for the application's user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from testinfra.host import Host

from tests.hosts.conftest import App, wait_until

On = Callable[[str], Host]
USER = "www-data"
HOST = "app1"
# What is root's, and none of the user's business.
ROOTS = "/srv/roots"


@dataclass(frozen=True)
class Way:
    """A unit, and what its user does once it runs.

    Args:
        service: directives; NAME stands for the application's name.
        sentence: why it is refused.
        attack: what the user does; then it ends its own application, which systemd starts again.
        harm: the command that succeeds where root's own was reached.
        line: what the program does.
        shared: its shared folders.
    """

    service: dict[str, Any]
    sentence: str
    attack: str
    harm: str
    line: str = "exec python3 -m http.server PORT"
    shared: list[str] = field(default_factory=list)


WAYS = {
    "runtime": Way(
        {"RuntimeDirectory": "NAME", "RuntimeDirectoryPreserve": "restart", "EnvironmentFile": "-/run/NAME/env"},
        "EnvironmentFile=, and /run/NAME/env is in /run/NAME",
        f"ln -s {ROOTS}/secret /run/NAME/env",
        "tr '\\0' '\\n' </proc/$(systemctl show --property=MainPID --value NAME)/environ | grep MARK",
    ),
    "state": Way(
        {"StateDirectory": ["NAME", "NAME/data/roots"]},
        "StateDirectory=, and /var/lib/NAME/data/roots is in /var/lib/NAME",
        "mv /var/lib/NAME/data /var/lib/NAME/old && ln -s /srv /var/lib/NAME/data",
        f'test "$(stat -c %U {ROOTS})" != root',
    ),
    "log": Way(
        {"LogsDirectory": "NAME", "StandardOutput": "append:/var/log/NAME/web.log"},
        "StandardOutput=, and /var/log/NAME/web.log is in /var/log/NAME",
        f"ln -sf {ROOTS}/made /var/log/NAME/web.log",
        f"test -e {ROOTS}/made",
    ),
    "program": Way(
        {"ExecStartPre": "-+/opt/NAME/shared/tools/prepare"},
        "ExecStartPre=, and /opt/NAME/shared/tools/prepare is in /opt/NAME/shared/tools",
        "cd /opt/NAME/shared/tools; printf '#!/bin/sh\\n>/srv/roots/made\\n' >prepare; chmod +x prepare",
        f"test -e {ROOTS}/made",
        shared=["tools"],
    ),
    "folder": Way(
        {"WorkingDirectory": "/opt/NAME/shared/tools", "ExecStartPre": "-+/bin/sh -e prepare"},
        "ExecStartPre=, and /opt/NAME/shared/tools/prepare is in /opt/NAME/shared/tools",
        "cd /opt/NAME/shared/tools; echo '>/srv/roots/made' >prepare",
        f"test -e {ROOTS}/made",
        shared=["tools"],
    ),
    "variable": Way(
        {"Environment": "PATH=/opt/NAME/shared/tools:/usr/bin", "ExecStartPre": "-+/bin/sh -c 'mkdir -p /run/NAME'"},
        "Environment=, and /opt/NAME/shared/tools is in /opt/NAME/shared/tools",
        "cd /opt/NAME/shared/tools; printf '#!/bin/sh\\n>/srv/roots/made\\n' >mkdir; chmod +x mkdir",
        f"test -e {ROOTS}/made",
        shared=["tools"],
    ),
    "group": Way(
        {"Group": "games", "StandardOutput": "append:/srv/logs/web.log"},
        "StandardOutput=, and /srv/logs/web.log is in /srv/logs",
        ":",
        f"test -e {ROOTS}/made",
        line=f"ln -sf {ROOTS}/made /srv/logs/web.log; exec python3 -m http.server PORT",
    ),
}
BEFORE = f"""
rm -rf {ROOTS} /srv/logs
mkdir -m 0711 {ROOTS}
install -m 0600 /dev/null {ROOTS}/secret
echo MARK=of-roots >{ROOTS}/secret
install -d -m 0770 -g games /srv/logs
mkdir -p /var/log/"$1"
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_unit_takes_root_into_no_folder_of_its_users(way: str, app: App, on: On) -> None:
    """Not there yet when it was looked at, a folder was made by systemd, for the user; nobody looked at programs that
    are started as root, nor at what the user may write by a group of the unit's."""
    host, found = on(HOST), WAYS[way]

    def named(text: str) -> str:
        return text.replace("NAME", app.name)

    service = {
        key: [named(one) for one in value] if isinstance(value, list) else named(value)
        for key, value in found.service.items()
    }
    service |= {"ExecStart": f"{app.home}/current/bin/run", "Restart": "always"}
    app.write(hosts=HOST, shared=found.shared, services=[{"name": app.name, "unit": {"Service": service}}])
    app.build("1.0.0", line=found.line.replace("PORT", str(app.port)))
    host.check_output("sh -euc %s before %s", BEFORE, app.name)
    deployed = app.deploy("1.0.0")
    if deployed.status == 0:
        before = host.check_output(f"systemctl show --property=MainPID --value {app.name}")
        host.check_output(f"runuser -u {USER} -- sh -euc %s", f"{named(found.attack)}; kill {before}")
        wait_until(lambda: host.run(named(found.harm)).rc == 0, seconds=15)
        pytest.fail(f"the user reached what is root's: {found.harm}")
    assert deployed.status == 1, deployed.out + deployed.err
    assert named(found.sentence) in deployed.out + deployed.err
    assert host.run(f"systemctl is-active {app.name}").rc != 0
