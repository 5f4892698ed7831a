"""The deploy itself on real hosts (A1, A3, A5, A7, A9, B1)."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
from collections.abc import Callable

from testinfra.host import Host

from tests.hosts.conftest import APPS, App, invoke, wait_until

On = Callable[[str], Host]


def answer(on: On, app: App, host: str) -> str:
    """What the application answers on a host; nothing while the host is away."""
    try:
        return str(on(host).run(f"curl -s --max-time 2 http://127.0.0.1:{app.port}/VERSION").stdout.strip())
    except RuntimeError:  # testinfra's word for a host that cannot be reached
        return ""


def test_deploys_upgrades_and_does_nothing_twice(app: App, on: On) -> None:
    """A release that is not whole, not owned, not enabled or not recorded on some host would show here."""
    app.build("1.0.0")
    first = app.deploy("1.0.0", "--json")
    assert first.status == 0, first.err
    assert first.json["status"] == "done"
    assert {host["result"] for host in first.json["hosts"]} == {"deployed"}
    for name in APPS:
        host = on(name)
        assert answer(on, app, name) == "1.0.0"
        current = host.file(f"{app.home}/current")
        assert current.is_symlink
        program = host.file(f"{app.home}/current/bin/run")
        assert (program.user, program.group, program.mode) == ("root", "www-data", 0o755)
        assert host.service(app.name).is_enabled
        assert host.file(app.state).mode == 0o700
        assert host.check_output(f"stat -c %a {app.home}/current/.slipway") == "700"
        record = json.loads(host.check_output(f"tail -n 1 {app.state}/ledger"))
        assert (record["task"], record["version"], record["prev"]) == ("deploy", "1.0.0", "start")

    again = app.deploy("1.0.0", "--json")
    assert (again.status, again.json["status"]) == (0, "unchanged")
    app.build("1.1.0")
    upgraded = app.deploy("1.1.0")
    assert upgraded.status == 0, upgraded.err
    assert "1.0.0 → 1.1.0" in upgraded.out
    for healthy in (first, upgraded):
        assert "Failed to connect" not in healthy.err, "before it listens nobody expects an answer"
    assert {answer(on, app, name) for name in APPS} == {"1.1.0"}
    recorded = invoke("history", app.env, "--json").json["records"]
    assert [(record["task"], record["version"]) for record in recorded] == [("deploy", "1.1.0"), ("deploy", "1.0.0")]


def test_changed_configuration_alone_is_deployed(app: App, on: On) -> None:
    """Deploying the running version after a change in the inventory must not say "nothing to do"."""
    templates = app.folder / "inventory" / "templates"
    templates.mkdir(parents=True)
    (templates / "app.env.j2").write_text("COLOUR={{ colour }}\nTOKEN={{ secrets.token }}\n")
    app.write(config=[{"template": "app.env.j2", "dest": "config/app.env"}])
    variables = app.folder / "inventory" / "group_vars" / "app.yml"
    variables.write_text("colour: green\n")
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    variables.write_text("colour: blue\n")
    check = app.deploy("1.0.0", "--check")
    assert "-COLOUR=green" in check.out
    assert "+COLOUR=blue" in check.out
    assert "very-token" not in check.out + check.err
    assert on("app1").file(f"{app.home}/current/config/app.env").contains("green"), "--check touched the host"
    assert app.deploy("1.0.0", "--json").json["status"] == "done"
    config = on("app1").file(f"{app.home}/current/config/app.env")
    assert config.content_string.startswith("COLOUR=blue\nTOKEN=very-token")
    assert (config.user, config.group, config.mode) == ("root", "www-data", 0o640)


def test_unhealthy_version_takes_the_whole_fleet_back(app: App, on: On) -> None:
    """One host switched well and another not: leaving the first on the new version would be a mixed fleet (A5)."""
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    # Healthy on app1, where the file is; it dies on the others.
    on("app1").run(f"touch /run/{app.name}-may-start")
    app.build("1.1.0", line=f"[ -e /run/{app.name}-may-start ] || exit 3; exec python3 -m http.server {app.port}")
    failed = invoke("deploy", app.env, "--version=1.1.0", "--batch=1", "--json")
    assert failed.status == 1, failed.err
    assert failed.json["status"] == "rolled back"
    assert [host["result"] for host in failed.json["hosts"]] == ["rolled back", "rolled back", "untouched"]
    assert "step.unhealthy" in [host["code"] for host in failed.json["hosts"]]
    kept = invoke("history", app.env, "--json").json["records"][0]
    assert (failed.json["code"], kept["code"]) == ("step.unhealthy", "step.unhealthy")
    assert {answer(on, app, name) for name in APPS} == {"1.0.0"}
    status = invoke("status", app.env, "--json").json
    assert (status["mixed"], status["versions"]) == (False, ["1.0.0"])


def test_first_deploy_that_fails_leaves_nothing_running(app: App, on: On) -> None:
    """Back on what ran before means: nothing, not a broken unit that starts at the next boot."""
    app.build("1.0.0", line="echo it has no database\nexit 3")
    failed = app.deploy("1.0.0")
    assert failed.status == 1
    _, _, log = failed.out.partition("what the application wrote last on app1:\n")
    assert log.startswith("  | it has no database\n"), "what the unit said, and not systemd's words"
    assert "systemd" not in log and "Failed with result" not in log
    for name in APPS:
        assert not on(name).file(f"{app.home}/current").exists
        assert not on(name).file(f"/etc/systemd/system/{app.name}.service").exists
        assert not on(name).service(app.name).is_running


def test_tolerated_failure_leaves_the_others_and_is_repaired_next_time(app: App, on: On) -> None:
    """With tolerate: 1, one bad host must neither stop the fleet nor stay on the bad release."""
    app.write(rollout={"tolerate": 1})
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    app.build("1.1.0", line=f"[ ! -e /run/{app.name}-bad ] || exit 3; exec python3 -m http.server {app.port}")
    on("app2").run(f"touch /run/{app.name}-bad")
    done = app.deploy("1.1.0", "--json")
    assert done.status == 0, done.err
    assert [answer(on, app, name) for name in APPS] == ["1.1.0", "1.0.0", "1.1.0"]
    assert "MIXED" in invoke("status", app.env).out
    on("app2").run(f"rm /run/{app.name}-bad")
    repaired = app.deploy("1.1.0", "--json")
    assert [host["result"] for host in repaired.json["hosts"]] == ["unchanged", "deployed", "unchanged"]


def test_halt_leaves_the_fleet_where_it_stands_and_asks_for_a_person(app: App, on: On) -> None:
    """on_failure: halt must not take hosts back, and must not end with the status that says the fleet is back."""
    app.write(rollout={"on_failure": "halt"})
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    app.build("1.1.0", line="exit 3")
    halted = invoke("deploy", app.env, "--version=1.1.0", "--batch=1", "--json")
    assert (halted.status, halted.json["status"]) == (3, "halted")
    assert answer(on, app, "app2") == "1.0.0"
    back = invoke("rollback", app.env, "--reason=test")
    assert back.status == 0, back.err
    assert {answer(on, app, name) for name in APPS} == {"1.0.0"}


def test_ctrl_c_during_the_switch_takes_the_fleet_back(app: App, on: On) -> None:
    """Ctrl-C while a host is on the new release: leaving it there would be a half-way fleet."""
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    app.build("1.1.0", line="sleep 60")
    app.write(health={**app.settings["health"], "attempts": 60})
    process = app.start("deploy", "--version=1.1.0", "--batch=1")
    wait_until(lambda: "1.1.0" in on("app1").check_output(f"readlink {app.home}/current"))
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    assert "Ctrl-C" in out
    assert {answer(on, app, name) for name in APPS} == {"1.0.0"}


def test_services_instances_and_units_that_go_away(app: App, on: On) -> None:
    """A unit that a version no longer has must stop; a template unit must run each of its instances (E2)."""
    base = {"Service": {"ExecStart": f"{app.home}/current/bin/run"}}
    worker = {"Service": {"ExecStart": "/bin/sleep 1000", "Type": "exec", "LimitNOFILE": 4096}}
    app.write(
        services=[
            {"name": app.name, "unit": base},
            {"name": f"{app.name}-worker@", "instances": [1, 2], "unit": worker},
            {"name": f"{app.name}-only", "hosts": "app1", "unit": worker},
        ]
    )
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    assert on("app2").service(f"{app.name}-worker@2").is_running
    assert on("app2").check_output(f"systemctl show -p LimitNOFILE {app.name}-worker@1") == "LimitNOFILE=4096"
    assert on("app1").service(f"{app.name}-only").is_running
    assert not on("app2").service(f"{app.name}-only").is_running
    app.write(services=[{"name": app.name, "unit": base}])
    app.build("1.1.0")
    assert app.deploy("1.1.0").status == 0
    assert not on("app2").service(f"{app.name}-worker@1").is_running
    assert not on("app2").file(f"/etc/systemd/system/{app.name}-worker@.service").exists
    assert invoke("rollback", app.env).status == 0
    assert on("app2").service(f"{app.name}-worker@1").is_running


def test_reboot_comes_up_on_the_current_release(app: App, on: On) -> None:
    """A boot tied to a pruned release would come up with nothing."""
    app.build("1.0.0")
    app.build("1.1.0")
    assert app.deploy("1.0.0").status == 0
    assert app.deploy("1.1.0").status == 0
    booted = "systemctl show -p UserspaceTimestamp"
    before = on("app3").check_output(booted)
    with contextlib.suppress(RuntimeError):
        on("app3").run(f"rm -rf {app.home}/releases/*-1.0.0; systemctl reboot")
    wait_until(lambda: answer(on, app, "app3") == "", seconds=20)
    wait_until(lambda: answer(on, app, "app3") == "1.1.0", seconds=40)
    assert on("app3").check_output(booted) != before, "it did not reboot"


def test_hooks_run_as_asked_and_a_failing_one_stops_before_the_switch(app: App, on: On) -> None:
    """An install hook must be able to write to the release; before_switch failing must leave the old one running."""
    at = f"date +%s%N >>/run/{app.name}"
    app.write(
        hooks={
            "install": [{"run": "id -un > made-by; touch node_modules", "name": "install"}],
            "before_switch": [
                {"run": f"{at}-begins", "user": "root"},
                {"run": f"sleep 1; {at}-migrated", "user": "root", "once": True},
            ],
            "after_switch": [{"run": f"echo x >> /run/{app.name}-once", "user": "root", "once": True}],
        }
    )
    app.build("1.0.0")
    deployed = app.deploy("1.0.0")
    assert deployed.status == 0, deployed.err
    assert on("app1").file(f"{app.home}/current/made-by").content_string == f"slipway-build-{app.name}\n"
    assert on("app1").file(f"{app.home}/current/made-by").user == "root", "the application can write to its release"
    assert [on(name).file(f"/run/{app.name}-once").exists for name in APPS] == [True, False, False]
    migrated = on("app1").check_output(f"cat /run/{app.name}-migrated")
    begins = [on(name).check_output(f"cat /run/{app.name}-begins") for name in APPS]
    assert int(migrated) < min(map(int, begins)), "a host went on while another one still migrated"
    says = r"printf 'not today\n\n  at line 7\n'; exit 5"
    app.write(hooks={"before_switch": [{"run": says, "name": "gate"}]})
    app.build("1.1.0")
    failed = app.deploy("1.1.0")
    assert failed.status == 1
    assert "hook 'gate' (before_switch) ended with status 5: at line 7" in failed.out
    assert "wrote last on app1:\n  | not today\n  |   at line 7\n" in failed.out, "a line each"
    assert "Next: the release was staged well; correct the hook and deploy again" in failed.out
    assert {answer(on, app, name) for name in APPS} == {"1.0.0"}
    app.write(hooks={"before_switch": [{"run": f"sleep 1; {says}", "name": "migrate", "once": True}]})
    plan = app.deploy("1.1.0", "--check")
    assert plan.out.count("before_switch hook, before any host switches: migrate") == 1
    switched = {name: on(name).check_output(f"stat -c %Y {app.home}/current") for name in APPS}
    failed = app.deploy("1.1.0")
    assert failed.status == 1
    assert "at line 7. No host has switched" in failed.err
    assert "  | not today\n  |   at line 7\n  → " in failed.err, "a line each"
    assert {name: on(name).check_output(f"stat -c %Y {app.home}/current") for name in APPS} == switched


def test_prune_keeps_proven_releases_and_drops_failed_ones_first(app: App, on: On) -> None:
    """Failed releases that count would crowd out the ones to go back to."""
    app.write(keep_releases=2)
    for version in ("1.0.0", "1.1.0"):
        app.build(version)
        assert app.deploy(version).status == 0
    for version in ("1.2.0", "1.2.1"):
        app.build(version, line="exit 3")
        assert app.deploy(version).status == 1
    # Who names no version does not mean the one that was just taken back.
    chosen = invoke("deploy", app.env, "--json")
    assert (chosen.status, chosen.json["version"], chosen.json["status"]) == (0, "1.1.0", "unchanged"), chosen.err
    (told,) = chosen.json["warnings"]
    assert told in chosen.err and "1.1.0 is chosen" in told and "--version=1.2.1 deploys the newest" in told
    assert "past 1.2.1 (it was rolled back at " in told and ", 1.2.0 (it was rolled back at " in told, "all of them"
    app.build("1.3.0")
    assert app.deploy("1.3.0").status == 0
    left = on("app1").check_output(f"ls {app.home}/releases").split()
    assert [name.split("-")[1] for name in left] == ["1.1.0", "1.3.0"]


def test_no_secret_shows_anywhere(app: App, on: On) -> None:
    """A hook or a unit that prints what it knows must not carry it into a terminal, a log or the ledger (E3)."""
    templates = app.folder / "inventory" / "templates"
    templates.mkdir(parents=True)
    (templates / "app.env.j2").write_text("TOKEN={{ secrets.token }}\n")
    app.write(config=[{"template": "app.env.j2", "dest": "config/app.env"}])
    app.build("1.0.0", line="cat config/app.env; exit 3")
    unit = app.deploy("1.0.0")
    assert (unit.status, "TOKEN=" in unit.out) == (1, True), "the unit's log is not in the reason"
    app.write(hooks={"install": [{"run": "cat config/app.env; exit 3"}]})
    app.build("1.1.0")
    hook = app.deploy("1.1.0", "--json")
    assert (hook.status, "TOKEN=" in hook.out) == (1, True)
    secret = (app.folder / "secrets" / "token").read_text().strip()
    ledger = on("app1").check_output(f"cat {app.state}/ledger")
    assert secret not in unit.out + unit.err + hook.out + hook.err + ledger


def test_a_reload_that_fails_or_loads_nothing_is_no_deploy(app: App, on: On) -> None:
    """A unit that did not reload runs on, healthy, with the old code: "deployed" would be a lie."""
    serve = f"""while :; do cd {app.home}/current; python3 -m http.server {app.port} & trap "kill $!" HUP; wait; done"""
    stays, once = f"/run/{app.name}-stays", f"/run/{app.name}-once"
    unit = {
        "Service": {
            "ExecStart": f"{app.home}/current/bin/run",
            "ExecReload": [
                "/bin/sh -c '! test -e /run/%N-fails'",
                f"+/bin/sh -c 'test -e {stays} || kill -HUP $MAINPID; test ! -e {once} || touch {stays}'",
            ],
        }
    }
    app.write(services=[{"name": app.name, "unit": unit, "on_switch": "reload"}])
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        app.build(version, line=serve)
    first = app.deploy("1.0.0")
    assert first.status == 0, first.err
    assert "whether the new code answers is not known" in first.out
    check = {**app.settings["health"]["checks"][0], "body": "^{version}$"}
    app.write(health={**app.settings["health"], "attempts": 4, "checks": [check]})
    pids = f"systemctl show --property=MainPID --value {app.name}"
    before = on("app1").check_output(pids)
    second = app.deploy("1.1.0")
    assert second.status == 0, second.err
    assert "is not known" not in second.out
    assert (answer(on, app, "app1"), on("app1").check_output(pids)) == ("1.1.0", before), "it was restarted"

    on("app2").check_output(f"touch /run/{app.name}-fails")
    on("app1").check_output(f"touch {once}")
    failed = app.deploy("1.2.0")
    assert failed.status == 1, failed.out
    assert f"app2: {app.name}.service did not reload (exit-code), so the old code still answers. The" in failed.out
    assert re.search(rf"^app2 +{app.name}.service: .*GET /VERSION", failed.err, re.M), "its own last lines, a line each"
    assert [answer(on, app, name) for name in APPS] == ["1.1.0"] * 3, "app1 has reloaded, and would not again"
    on("app1").check_output(f"rm {once} {stays}")
    on("app2").check_output(f"rm /run/{app.name}-fails; touch {stays}")
    failed = app.deploy("1.2.0", "--force")
    assert failed.status == 1, failed.out
    assert "does not match '^1\\.2\\.0$': 1.1.0" in failed.out
    on("app2").check_output(f"rm {stays}")
