"""Metrics of real servers: every source must count what a client counted that knows of none of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt
import pytest
import yaml
from testinfra.host import Host

from lab.load import run_load
from lab.load_plan import Kind, Plan
from lab.load_report import Report
from lab.spec import HostSpec
from playbooks.adapters.metrics.source import MeasuredServer, MetricsError, MetricsSource
from playbooks.environments.environment import Environment
from playbooks.environments.load import load_environment
from playbooks.fleet.fleet import Fleet, open_fleet
from playbooks.fleet.progress import Silent
from playbooks.judgement.counts import Counts
from playbooks.judgement.host import HostLimits, HostReading, host_signals
from playbooks.rollout.watching.metric_sources import open_metrics
from playbooks.steps.signals import read_signals, signals_call
from tests.hosts.conftest import APPS, PROJECT, App, wait_until

pytestmark = pytest.mark.load_sensitive("a release is judged by its times of answer")

On = Callable[[str], Host]
# Without a database the page answers 503, and the style sheet 200: errors, just as many as asked for.
MIX = (Kind("style", 9, path="/static/style.css"), Kind("page", 1, path="/", keep=False))
PASSWORD = "seen-by-nobody-9090"


@pytest.fixture
def shop(app: App) -> App:
    """The example's shop, without a database."""
    service = {
        "Type": "notify",
        "Environment": f"SHOP_LISTEN=0.0.0.0:{app.port} SHOP_DB_PORT=1",
        "ExecStart": f"{app.home}/current/bin/shop",
        "MemoryMax": "100M",
        "Restart": "on-failure",
        "RestartSec": "100ms",
    }
    app.write(
        artifact=f"{app.folder}/shop-{{version}}.tar.gz",
        services=[{"name": app.name, "unit": {"Service": service}}],
        health={
            **app.settings["health"],
            "checks": [{"type": "http", "url": f"http://127.0.0.1:{app.port}/health/live"}],
        },
    )
    return app


def ship(app: App, *flags: str, version: str) -> None:
    """Build a version of the shop and deploy it."""
    command = [sys.executable, str(PROJECT / "examples/build"), f"--dist={app.folder}", "--format=gz", *flags]
    subprocess.run(command, check=True, capture_output=True)
    deployed = app.deploy(version)
    assert deployed.status == 0, deployed.err


def servers(app: App, specs: dict[str, HostSpec]) -> list[MeasuredServer]:
    return [MeasuredServer(name, name, specs[name].address, app.port) for name in APPS]


@pytest.fixture
def prometheus(shop: App, on: On, specs: dict[str, HostSpec]) -> Iterator[str]:
    """A Prometheus on db1 that scrapes the shop and asks for a password; its URL."""
    targets = [f"{specs[name].address}:{shop.port}" for name in APPS]
    scrape = {"job_name": "shop", "static_configs": [{"targets": targets}]}
    password = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    files = {
        "prometheus.yml": {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]},
        "web.yml": {"basic_auth_users": {"slipway": password}},
    }
    host = on("db1")
    for name, content in files.items():
        host.check_output("printf %s %s >%s", "%s", yaml.safe_dump(content), f"/etc/prometheus/{name}")
    host.check_output("echo 'ARGS=--web.config.file=/etc/prometheus/web.yml' >/etc/default/prometheus")
    host.check_output("systemctl restart prometheus")
    yield f"http://{specs['db1'].address}:9090"
    host.check_output("systemctl stop prometheus; rm -rf /var/lib/prometheus/metrics2")


def configure(app: App, url: str, **more: object) -> Environment:
    """The environment with a Prometheus in its settings."""
    secret = Path(app.settings["secrets"]["token"]["file"])
    secret.write_text(PASSWORD + "\n")
    login = {"user": "slipway", "password": "token"}
    app.write(metrics={"source": "prometheus", "prometheus": {"url": url, **login, **more}})
    return load_environment(app.env.removeprefix("--env="), PROJECT)


def put_load(app: App, specs: dict[str, HostSpec], name: str, *, seconds: float = 2.0) -> Report:
    return run_load(Plan(f"http://{specs[name].address}:{app.port}", rate=100, seconds=seconds, mix=MIX))


def count_until(metrics: MetricsSource, found: dict[str, Counts], expected: dict[str, int]) -> None:
    """Read until all of it has arrived: Prometheus knows what was there when it last looked."""

    def all_there() -> bool:
        for name, counts in metrics.read().counts.items():
            found[name] = found.get(name, Counts()) + counts
        return all(found.get(name, Counts()).requests >= count for name, count in expected.items())

    wait_until(all_there)


def test_every_source_counts_what_a_client_counted(
    shop: App, prometheus: str, specs: dict[str, HostSpec], on: On
) -> None:
    """A source that counts health checks, misses errors or mixes up servers judges another release."""
    ship(shop, "--version=1.0.0", version="1.0.0")
    direct = configure(shop, prometheus)
    through = configure(shop, "http://127.0.0.1:9090", via="db")
    shop.write(metrics={"source": "application"})
    own = load_environment(shop.env.removeprefix("--env="), PROJECT)
    everyone = servers(shop, specs)
    put_load(shop, specs, "app1", seconds=0.3)  # what was before the first reading does not count
    with open_fleet([own.target(name).address for name in (*APPS, "db1")], progress=Silent(), forks=8) as fleet:
        fleet.require_all()
        sources: dict[str, MetricsSource] = {
            "application": open_metrics(own.settings.metrics, everyone, fleet, own.secrets),
            "prometheus": open_metrics(direct.settings.metrics, everyone, fleet, direct.secrets),
            "via": open_metrics(through.settings.metrics, everyone, fleet, through.secrets, via="db1"),
        }
        wait_until(lambda: has_started(sources["prometheus"]))
        on("db1").check_output("sleep 3")  # scraped again: nothing of before is still to come
        for source in sources.values():
            source.read()
        reports = {name: put_load(shop, specs, name) for name in ("app1", "app2")}
        expected = {name: len(report.samples) for name, report in reports.items()}
        assert all(0 < report.failed == report.outcomes["5xx"] for report in reports.values())
        for kind, source in sources.items():
            found: dict[str, Counts] = {}
            count_until(source, found, expected)
            for name, report in reports.items():
                assert (found[name].requests, found[name].errors) == (len(report.samples), report.failed), kind
                assert sum(found[name].latencies.values()) == len(report.samples), kind
            assert found.get("app3", Counts()).requests == 0, kind
        wrong_password(shop, prometheus, everyone, fleet)
        on("db1").check_output("systemctl stop prometheus")
        reading = sources["prometheus"].read()
        assert reading.counts == {}
        assert any("refuse" in problem for problem in reading.problems)
    assert PASSWORD not in on("db1").check_output("journalctl --no-pager | tail -n 2000")


def has_started(source: MetricsSource) -> bool:
    """Whether Prometheus knows our servers by now."""
    try:
        source.read()
    except MetricsError:
        return False
    return True


def wrong_password(app: App, url: str, everyone: list[MeasuredServer], fleet: Fleet) -> None:
    env = configure(app, url)
    secrets = {**env.secrets, "token": "another"}
    with pytest.raises(MetricsError, match="HTTP 401"):
        open_metrics(env.settings.metrics, everyone, fleet, secrets).read()


def test_hosts_tell_what_is_wrong_with_them(shop: App, specs: dict[str, HostSpec], on: On) -> None:
    """A leak, a log full of errors and a unit that dies show on hosts before they show in requests."""
    ship(shop, "--fault=leak:512", version="1.1.1-leak512")
    env = load_environment(shop.env.removeprefix("--env="), PROJECT)
    readings: dict[str, list[HostReading]] = {name: [] for name in APPS}
    limits = HostLimits(settle=1.0, memory=0.95)

    def bad(name: str) -> dict[str, str]:
        baseline = [readings["app2"]]
        return {one.rule: one.sentence for one in host_signals(readings[name], baseline, limits) if one.bad}

    with open_fleet([target.address for target in env.targets], progress=Silent(), forks=8) as fleet:

        def look() -> None:
            for name, some in readings.items():
                ask = signals_call(
                    f"/var/lib/slipway/{shop.name}", [f"{shop.name}.service"], some[-1].cursor if some else None
                )
                some.append(read_signals(next(fleet.remotes[name].chain([ask]))))

        look()
        for _ in range(3):
            put_load(shop, specs, "app1", seconds=2.0)
            look()
        on("app3").check_output(f"systemctl kill --signal=KILL {shop.name}")
        wait_until(lambda: on("app3").check_output(f"systemctl show -P NRestarts {shop.name}") == "1")
        look()
    assert set(bad("app1")) == {"memory", "log"}, readings["app1"]
    assert "grows by" in bad("app1")["memory"]
    assert bad("app2") == {}
    assert bad("app3") == {"restarts": f"{shop.name}.service restarted once"}
    errors = sum(reading.errors for reading in readings["app1"])
    logged = on("app1").check_output(f"journalctl --unit={shop.name} -p err -o cat | wc -l")
    assert errors == int(logged), "each line once"
