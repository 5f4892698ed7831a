"""No strategy costs a request, a bad release is found by its numbers, a dead controller leaves the old one (B1-B5)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import pytest
from testinfra.host import Host

from lab.load_report import NOBODY, OK, Report
from lab.spec import HostSpec, Lab
from tests.hosts.conftest import APPS, INVOKE, PROJECT, invoke, wait_until
from tests.hosts.site import IN_PLACE, QUICK, SLOTS, Site, ladder, users

pytestmark = pytest.mark.load_sensitive("requests run while releases change")

On = Callable[[str], Host]


@pytest.fixture(scope="module")
def site(lab: Lab, specs: dict[str, HostSpec], on: On, tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(lab, tmp_path_factory.mktemp("site"), specs["edge1"].address)
    made.clear(on)
    made.write(**IN_PLACE)
    made.build()
    made.provision()
    first = made.deploy("1.0.0")
    assert first.status == 0, first.err
    return made


def failures(report: Report) -> Counter[str]:
    """How requests failed, by outcome, kind, and who answered."""
    bad = [sample for sample in report.samples if sample.outcome != OK]
    return Counter(f"{sample.outcome} {sample.kind} {sample.version}" for sample in bad)


def versions(report: Report) -> Counter[str]:
    return Counter(sample.version for sample in report.samples if sample.outcome == OK)


def test_rolling_and_rollback_lose_no_request(site: Site) -> None:
    """B1, B4: each host is out of the balancer while it changes, and what it was answering is answered."""
    site.write(**IN_PLACE)
    with users(site) as load:
        done = site.deploy("1.1.0")
        assert done.status == 0, done.err
        back = invoke("rollback", site.env, "--reason=test")
        assert back.status == 0, back.err
    assert failures(load.report()) == {}
    assert set(versions(load.report())) == {"1.0.0", "1.1.0"}
    assert set(site.traffic()) == set(APPS)
    told = done.json["requests"]
    assert told["during"]["failed"] == told["before"]["failed"] == 0
    assert 100 < told["during"]["requests"] + told["before"]["requests"] < len(load.report().samples)
    assert 0 < told["during"]["p50_ms"] <= told["during"]["p99_ms"]


def test_a_canary_gets_its_share_and_then_all(site: Site) -> None:
    """B3: one host of three with a tenth of the traffic is what users meet, whatever its number among the servers."""
    site.write(**IN_PLACE, rollout={"canary": ladder(("10%", "8s"), ("100%", "4s")), "judgement": QUICK})
    with users(site) as load:
        done = site.deploy("1.1.0", "--strategy=canary")
        assert done.status == 0, done.err
    assert failures(load.report()) == {}
    first = done.json["verdicts"][0]
    errors = next(finding for finding in first["findings"] if finding["rule"] == "worse errors")
    new, old = errors["denominator"], errors["baseline_denominator"]
    assert 0.05 < new / (new + old) < 0.16
    assert [verdict["stage"] for verdict in done.json["verdicts"]] == ["10 % of the traffic", "100 % of the traffic"]


def test_a_bad_canary_is_found_by_its_numbers_and_taken_back(site: Site) -> None:
    """B3, A5: healthy by its own word, but every fifth page fails; nobody has to look at it for it to go."""
    site.build("--fault=errors:20")
    site.write(**IN_PLACE, rollout={"canary": ladder(("30%", "60s"), ("100%", "5s")), "judgement": QUICK})
    before = site.traffic()
    with users(site) as load:
        done = site.deploy("1.1.1-errors20", "--strategy=canary")
    assert done.status == 1, done.err
    assert "app1" in done.json["message"] or "errors" in done.json["message"]
    assert done.json["verdicts"][-1]["outcome"] == "bad"
    assert site.traffic() == before
    status = invoke("status", site.env, "--json").json
    assert {host["version"] for host in status["hosts"]} == {"1.1.0"}
    report = load.report()
    assert all(failure.startswith("5xx") for failure in failures(report))
    last = max(sample.at for sample in report.samples if sample.version == "1.1.1-errors20")
    assert all(sample.outcome == OK for sample in report.samples if sample.at > last + 1)
    assert versions(report)["1.1.1-errors20"] < 0.5 * len(report.samples)


def test_a_controller_that_dies_in_a_canary_leaves_all_traffic_on_the_old_release(site: Site, on: On) -> None:
    """Idea 3: laptops close. Within the guard's time-out nobody meets the new release, and then it is gone."""
    site.write(**IN_PLACE, rollout={"canary": ladder(("30%", "300s"), ("100%", "5s")), "judgement": QUICK})
    was = {host: on(host).check_output("readlink /opt/shop/current") for host in APPS}
    with users(site) as load:
        command = [str(INVOKE), "deploy", site.env, "--version=1.0.0", "--strategy=canary"]
        with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as deploy:
            assert deploy.stderr
            assert any("watch" in line for line in deploy.stderr), "it never came to the canary"
            os.kill(deploy.pid, signal.SIGKILL)
        died = time.monotonic()
        wait_until(lambda: set(site.traffic()) == {"app2", "app3"}, seconds=30)
        wait_until(lambda: len(site.traffic()) == 3, seconds=60)
    report = load.report()
    assert failures(report) == {}
    late = [sample.at - died for sample in report.samples if sample.version == "1.0.0" and sample.at > died]
    # The guard's ten seconds, its timer's, and what was being answered.
    assert max(late, default=0) < 10 + 4
    assert {host: on(host).check_output("readlink /opt/shop/current") for host in APPS} == was
    ledger = on("edge1").check_output("cat /var/lib/slipway/shop/ledger")
    assert re.search(r'"status": ?"done".*traffic went back', ledger)


def test_ctrl_c_in_a_watch_takes_everything_back(site: Site) -> None:
    """A person who has seen enough says so; traffic first, then the host."""
    site.write(**IN_PLACE, rollout={"canary": ladder(("30%", "300s"), ("100%", "5s")), "judgement": QUICK})
    with users(site) as load:
        command = [str(INVOKE), "deploy", site.env, "--version=1.0.0", "--strategy=canary", "--json"]
        with subprocess.Popen(
            command,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        ) as deploy:
            assert deploy.stderr
            assert any("watch" in line for line in deploy.stderr), "it never came to the canary"
            deploy.send_signal(signal.SIGINT)
            out, _ = deploy.communicate(timeout=120)
    assert deploy.returncode == 1
    assert "Ctrl-C" in out
    assert failures(load.report()) == {}
    assert len(site.traffic()) == 3


def test_maintenance_is_a_page_and_no_broken_request(site: Site) -> None:
    """G2: on and off again, every client gets the shop or the page, never half of either."""
    with users(site) as load:
        assert invoke("maintenance", site.env, "--on").status == 0
        time.sleep(2)
        assert invoke("maintenance", site.env, "--off").status == 0
    assert failures(load.report())
    assert all(failure.startswith("5xx") and failure.endswith(NOBODY) for failure in failures(load.report()))
    report = load.report()
    assert report.samples[-1].outcome == OK
    assert invoke("maintenance", site.env).status == 2


def test_a_server_on_the_bench_stays_there(site: Site) -> None:
    """Somebody has taken app2 out by hand. A deploy changes it as it changes the others, and sends nobody there."""
    edge = invoke("traffic", site.env, "--json").json
    assert not edge["drift"]
    site.write(**IN_PLACE)
    run = "echo 'set server shop/app2 state maint' | socat - UNIX-CONNECT:/run/haproxy/admin.sock"
    _edge(site, run)
    seen = invoke("traffic", site.env, "--json")
    assert seen.status == 3
    assert any("app2" in line for line in seen.json["drift"])
    done = site.deploy("1.0.0", "--force")
    assert done.status == 0, done.err
    assert "app2 was disabled in the balancer by hand" in done.err
    assert set(site.traffic()) == {"app1", "app3"}
    _edge(site, "echo 'set server shop/app2 state ready' | socat - UNIX-CONNECT:/run/haproxy/admin.sock")


def _edge(site: Site, command: str) -> None:
    config = site.lab.folder / "ssh" / "config"
    subprocess.run(["ssh", "-F", str(config), site.edge, f"sudo sh -c {command!r}"], check=True, capture_output=True)


def test_blue_green_loses_no_request_and_the_way_back_is_a_switch(site: Site, on: On) -> None:
    """B2: beside each other on the same hosts; from in place to slots, the other slot, and back to both."""
    steps = ladder(("25%", "4s"), ("100%", "4s"))
    # The first slot has the port that the application has in place.
    slots = {"slots": {"blue": 8000, "green": 8001}}
    site.write(**{**SLOTS, **slots}, rollout={"strategy": "blue-green", "blue_green": steps, "judgement": QUICK})
    with users(site) as load:
        site.provision()
        turned = site.deploy("1.0.0", "--force")
        assert turned.status == 0, turned.err
        done = site.deploy("1.1.0")
        assert done.status == 0, done.err
        assert set(site.traffic()) == {f"{host}-green" for host in APPS}
        pids = {host: on(host).check_output("systemctl show -P MainPID shop-web@blue") for host in APPS}
        back = invoke("rollback", site.env, "--reason=test")
        assert back.status == 0, back.err
        assert set(site.traffic()) == {f"{host}-blue" for host in APPS}
        # What was kept has served again, and was not started anew.
        assert pids == {host: on(host).check_output("systemctl show -P MainPID shop-web@blue") for host in APPS}
        # Once more, to what ran in no slot: there is no place beside, so it goes in batches.
        further = invoke("rollback", site.env, "--reason=test")
        assert further.status == 0, further.err
    assert failures(load.report()) == {}
    assert set(versions(load.report())) == {"1.0.0", "1.1.0"}
    assert all(on(host).service("shop-web").is_running for host in APPS)


def test_nginx_rolls_and_has_canaries_without_a_failed_request(site: Site, on: On) -> None:
    """B4 with the other balancer: a file and a graceful reload for each change, numbers out of its log."""
    on("edge1").check_output("systemctl disable --now haproxy")
    nginx = {"hosts": "edge", "kind": "nginx", "port": 8000}
    rollout = {"canary": ladder(("20%", "6s"), ("100%", "4s")), "judgement": QUICK}
    try:
        site.write(**IN_PLACE, balancer=nginx, rollout=rollout)
        site.provision()
        first = site.deploy("1.0.0", "--force")
        assert first.status == 0, first.err
        with users(site) as load:
            for version, strategy in (("1.1.0", "rolling"), ("1.0.0", "canary")):
                done = site.deploy(version, f"--strategy={strategy}")
                assert done.status == 0, done.err
        assert failures(load.report()) == {}
        errors = next(one for one in done.json["verdicts"][0]["findings"] if one["rule"] == "worse errors")
        new, old = errors["denominator"], errors["baseline_denominator"]
        assert 0.1 < new / (new + old) < 0.3
    finally:
        on("edge1").check_output("systemctl disable --now nginx; systemctl enable --now haproxy")
