"""What `schedule` writes, on a host where cron and systemd really run (G9)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from testinfra.host import Host

from playbooks.adapters.timers import Places
from playbooks.environments.load import load_environment
from playbooks.fleet.progress import Silent
from playbooks.schedule import calendar, render_timer, schedule
from tests.hosts.conftest import PROJECT, App, wait_until

pytestmark = pytest.mark.load_sensitive("cron and timers run by the clock")

On = Callable[[str], Host]


def put(host: Host, path: Path, text: str, mode: str) -> None:
    done = host.run(
        "mkdir -p %s && printf %%s %s >%s && chmod %s %s", str(path.parent), text, str(path), mode, str(path)
    )
    assert done.rc == 0, done.stderr


def test_cron_and_systemd_run_it(app: App, on: On) -> None:
    """cron drops a bad line silently, and systemd expands what it should not: only a run shows that it runs."""
    project = app.folder / 'pro%ject $HOME\'s "own"'
    inventory = project / "inventory" / "lab"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("all:\n  hosts:\n    web1:\n")
    (inventory / "group_vars" / "all.yml").write_text(f"slipway_app: {app.name}\n")
    (project / "templates").symlink_to(PROJECT / "templates")
    where = Places(app.folder / "cron.d", app.folder / "units", app.folder / "state", ("false",))
    env = load_environment("lab", project)
    done = schedule(env, Silent(), at="* * * * *", timer=False, where=where)
    entry, log = Path(done.place), Path(done.log)
    service, timer = render_timer(env, calendar("03:17"), log, {})

    # The same paths on a host, which is the controller here.
    host = on("app1")
    put(host, project / ".venv/bin/invoke", '#!/bin/sh\npwd\nprintf "%s\\n" "$@"\n', "755")
    said = f"{project}\nverify-backups\n--env=lab\n"
    host.check_output("mkdir -p %s", str(log.parent))
    put(host, Path(f"/etc/systemd/system/{entry.name}.service"), service, "644")
    put(host, Path(f"/etc/systemd/system/{entry.name}.timer"), timer, "644")
    host.check_output(f"systemctl daemon-reload && systemctl start {entry.name}.service {entry.name}.timer")
    assert host.check_output("cat %s", str(log)) + "\n" == said
    assert "03:17:00" in host.check_output(f"systemctl list-timers {entry.name}.timer")
    host.check_output(f"systemctl stop {entry.name}.timer; rm %s", str(log))
    put(host, Path("/etc/cron.d") / entry.name, entry.read_text(), "644")
    wait_until(lambda: host.file(str(log)).exists, seconds=70)
    wait_until(lambda: bool(host.file(str(log)).content_string == said))
    host.check_output(f"rm /etc/cron.d/{entry.name} /etc/systemd/system/{entry.name}.*")
