"""One host lies in its answers: what is decided for the others does not follow it; tests/hosts does it for real."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from playbooks.adapters.metrics.source import MeasuredServer
from playbooks.core.errors import BadAnswer, SlipwayError, StepFailed, UsageError
from playbooks.core.names import stamp
from playbooks.core.requests import DeployRequest
from playbooks.core.states import TaskStatus
from playbooks.environments.environment import Environment
from playbooks.environments.host_facts import interrupted
from playbooks.fleet.address import Address
from playbooks.fleet.failures import explain
from playbooks.fleet.fleet import Fleet
from playbooks.fleet.lock_owner import LockOwner
from playbooks.fleet.progress import Silent
from playbooks.fleet.script import parse
from playbooks.fleet.session import Session
from playbooks.restore import version_of_most
from playbooks.resume_deploy import resume
from playbooks.rollout.databases import contracts
from playbooks.rollout.mover import Move
from playbooks.rollout.outcome import Outcome
from playbooks.rollout.planning.rollback_target import choose_releases
from playbooks.rollout.watching.host_looks import HostLooks
from playbooks.rollout.watching.metric_sources import open_metrics
from playbooks.settings.load import read_settings
from playbooks.settings.metrics import MetricsSettings
from playbooks.steps.exec import Command, run_command
from playbooks.steps.facts import Facts, read_facts
from playbooks.steps.health import health_call
from playbooks.steps.traffic_state import read_state
from tests.fuzz.answers import Replays

NOW = datetime.now(UTC)
OLD, NEW = (f"{stamp(NOW - timedelta(days=days))}-1.{2 - days}.0" for days in (2, 1))
FUTURE = "99991231T235958Z-9.9.9"
HOSTS = ("app1", "app2", "app3")
ABOUT = {"sha256": "0" * 64, "config": "1" * 64, "artifact": "a.tar", "by": "ann@laptop"}
BASE = "system\tDebian\t252\t1795235461\nmanager\trunning\nmemory\t1\t1\n"


def fleet(said: Mapping[str, str]) -> Fleet:
    """Sessions with hosts that give one answer to whatever they are asked."""
    remotes = {
        host: Replays(Address(host, "192.0.2.1"), cast(Session, None), Silent(), said=text.encode())
        for host, text in said.items()
    }
    return Fleet(remotes, {}, Silent(), forks=4)


def facts(said: str, host: str = "app1") -> Facts:
    return read_facts(fleet({host: BASE + said}).remotes[host], "/opt/shop", "/var/lib/slipway/shop")


def running(host: str, release: str, before: str) -> Facts:
    lines = [
        f"release\t{name}\tproven\t{was}\t{json.dumps({**ABOUT, 'version': name.partition('-')[2]})}\n"
        for name, was in ((before, "-"), (release, before))
    ]
    return facts(f"current\t{release}\t1795235400\n{''.join(lines)}", host)


def says_interrupted(host: str, **words: str) -> Facts:
    owner = {"who": "eve@x", "what": "deploy", "task": "deploy", "since": (NOW - timedelta(hours=1)).isoformat()}
    return facts(f"interrupted\t{json.dumps({**owner, **words})}\n", host)


@pytest.mark.parametrize(
    "words",
    [
        {"id": "../../../etc", "version": "1"},
        {"id": f"{stamp(NOW)}-1.0", "version": "0.1"},
        {"id": FUTURE, "version": "9.9.9"},
        {"id": NEW, "version": "1.1.0", "since": "9999-12-31T00:00:00Z"},
        {"id": NEW, "version": "1.1.0", "since": "yesterday"},
        {"id": f"{stamp(NOW)}-rollback", "task": "rollback", "version": "", "undoes": "../../etc"},
        {"id": stamp(NOW), "task": "x; reboot", "version": ""},
        {"id": NEW, "version": "1.1.0", "batch": "$(reboot)"},
    ],
)
def test_an_interrupted_task_that_cannot_have_been_is_none(words: dict[str, str]) -> None:
    """Its ids become names of folders that rollback removes on every host, and a release that --resume deploys."""
    fact = says_interrupted("app1", **words)
    assert fact.interrupted is None
    assert "an interrupted task is invalid" in fact.anomalies[0]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_is_in_no_calendar_ends_no_status(at: str) -> None:
    """One host's ledger said that its guard had fired in the year 0: status failed, of all hosts."""
    owner = {"who": "eve@x", "what": "deploy", "task": "deploy", "since": (NOW - timedelta(hours=1)).isoformat()}
    record = {"prev": "start", "task": "guard", "id": NEW, "status": "done"}

    def said(at: str) -> Facts:
        fired = json.dumps({**record, "at": at}).replace('{"prev": ', '{"prev":')
        return facts(f"interrupted\t{json.dumps({**owner, 'id': NEW, 'version': '1.1.0'})}\nfired\t{fired}\n")

    assert said("2026-11-21T04:31:00Z").went_back == 1795235460
    assert said(at).went_back is None


def test_how_a_command_ended_is_a_number_of_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """A status of five thousand digits after 0001 ended the thread that read it, with Python's own words."""
    remote = fleet({"app1": ""}).remotes["app1"]
    settings = cast("object", SimpleNamespace(home="/opt/shop", run_user="www-data"))

    def ran(status: bytes) -> int | None:
        monkeypatch.setattr("playbooks.steps.exec.listen", lambda *_, **__: (line for line in (b"status\t" + status,)))
        return run_command(remote, settings, Command(["id"], None, "x"), print, threading.Event())  # type: ignore[arg-type]

    assert ran(b"137") == 137
    for status in (b"", b"-1", b"256", b"0001" + b"0" * 5000, "٣".encode()):
        with pytest.raises(BadAnswer):
            ran(status)


def test_what_most_hosts_say_was_interrupted_counts() -> None:
    """A host that says another one, and later, would choose what --resume deploys everywhere."""
    told = {"id": NEW, "version": "1.1.0"}
    later = {"id": f"{stamp(NOW)}-0.1", "version": "0.1", "since": NOW.isoformat()}
    said = {"app1": says_interrupted("app1", **later), **{name: says_interrupted(name, **told) for name in HOSTS[1:]}}
    found = interrupted(said)
    assert found is not None
    assert found.id == NEW
    alone = interrupted({name: said[name] for name in HOSTS[:2]})
    assert alone is not None
    assert alone.id == later["id"], "of as many, the latest"


def test_a_release_from_the_future_is_the_newest_of_its_own_host_only() -> None:
    """Hosts on the newest release go back, and the others stay: a liar would keep them on what is bad."""
    honest = {name: running(name, NEW, OLD) for name in HOSTS[1:]}
    liar = running("app1", FUTURE, OLD)
    assert choose_releases({"app1": liar, **honest}, None) == {"app1": FUTURE, "app2": OLD, "app3": OLD}
    assert choose_releases({"app1": liar}, None) == {"app1": OLD}, "alone it can still go back"
    assert "has an id in the future" in liar.anomalies[0]


def test_what_runs_and_is_no_release_refuses_the_host_with_a_way_on() -> None:
    """A name of another kind sorts and matches as it likes."""
    with pytest.raises(BadAnswer, match=r"app1: /opt/shop/current leads to 'zzz'(.|\n)*ls /opt/shop/releases"):
        facts("current\tzzz\t1795235400\n")
    with pytest.raises(
        BadAnswer, match=r"app1: /opt/shop/current leads to releases/\.\./x, which is no version's name"
    ):
        facts("foreign_release\t../x\n")


def test_one_word_out_of_three_promotes_nothing() -> None:
    """A held stage waits for a person, not for one host that says there was one."""
    looks = dict.fromkeys(HOSTS, "moment\t5.00\njournal\t-\t0\n")
    lie = "promoted\tdeploy-1\teve@x\thalf\n"
    moves = {name: Move(name, OLD, NEW, (), ("shop.service",), fallback=OLD) for name in HOSTS}

    def promoted(*liars: str) -> str | None:
        said = {name: text + (lie if name in liars else "") for name, text in looks.items()}
        hosts = HostLooks(fleet(said), cast("object", _Env()), moves, "deploy-1")  # type: ignore[arg-type]
        hosts.look(frozenset())
        return hosts.promoted("half")

    assert promoted("app1") is None
    assert promoted("app1", "app2") == "eve@x"


class _Env:
    """An environment that there is nothing to know of but a state folder."""

    class settings:
        state = "/var/lib/slipway/shop"

    def target(self, _: str) -> _Env:
        return self


def test_a_host_says_nothing_of_what_others_serve() -> None:
    """Its page under another's name would make that one's release good or bad."""
    settings = MetricsSettings.model_validate(
        {"source": "application", "requests": "hits", "errors": "fails", "latency": "took_bucket"}
    )
    page = "line\t# TYPE hits counter\nline\t# TYPE fails counter\nline\t# TYPE took histogram\nline\thits 7\n"
    servers = [MeasuredServer(name, name, "192.0.2.1", 80) for name in HOSTS[:2]]
    said = {"app1": f"server\tapp1\t\n{page}", "app2": f"server\tapp2\t\n{page}server\tapp1\tit burns\n"}
    metrics = open_metrics(settings, servers, fleet(said), {})
    assert metrics.read().problems == ()
    assert set(metrics.read().counts) == {"app1", "app2"}


def test_a_server_cannot_outweigh_all_others() -> None:
    """Which group of hosts has the traffic is told by sums of weights."""
    line = "version\t2\nmaintenance\toff\nserver\tapp1\t192.0.2.1\t80\t{}\ton\t-\tup\t0\t\t-\n"
    assert read_state(parse("edge1", "x", line.format(256).encode(), 0.0)).servers["app1"].weight == 256
    for weight in ("257", "999999999999999999", "-1"):
        with pytest.raises(BadAnswer):
            read_state(parse("edge1", "x", line.format(weight).encode(), 0.0))


def test_a_long_sentence_of_one_host_fits_into_every_ledger() -> None:
    """A record is one argument of a script: longer than 128 kB, no host's could be written."""
    error = explain("app1", "stage", parse("app1", "stage", b"error\t$(x)\t" + b"\xc3\xa4" * 10**6, 0.0), 1, b"")
    assert isinstance(error, StepFailed)
    assert (error.code, len(error.message)) == ("step.failed", 2000)
    many = tuple(f"{host}: {'ä' * 5000}" for host in range(500))
    outcome = Outcome("deploy", "1", "e", "1", TaskStatus.FAILED, "ä" * 10**6, (), "", 0.0, "", warnings=many)
    assert len(json.dumps(outcome.record(), ensure_ascii=False).encode()) < 128 * 1024


def test_what_is_asked_for_is_not_taken_from_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """--limit=@FILE reads a file here, ~EXPRESSION may take hours: as a host's word neither is gone by."""
    for limit in ("@/etc/shadow", "~(a+)+$"):
        said = says_interrupted("app1", id=NEW, version="1.1.0", limit=limit)
        assert said.interrupted is not None
        _resumes(monkeypatch, said.interrupted, limit)


def _resumes(monkeypatch: pytest.MonkeyPatch, owner: LockOwner, limit: str) -> None:
    fact = replace(facts(""), interrupted=owner)
    monkeypatch.setattr("playbooks.resume_deploy.read_all", lambda *_: {"app1": fact})
    with pytest.raises(UsageError, match="from a host's report") as caught:
        resume(cast("object", _Whole()), cast("object", None), Silent())  # type: ignore[arg-type]
    assert limit in caught.value.message


def test_a_sum_that_a_person_gives_counts_more_than_a_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is root on a host chose the sum that --resume --sha256=… held an artifact against."""
    said = says_interrupted("app1", id=NEW, version="1.1.0").interrupted
    assert said is not None
    release = SimpleNamespace(about={"sha256": "b" * 64}, state="complete")
    fact = SimpleNamespace(interrupted=said, releases={NEW: release})
    asked: list[str | None] = []

    def find(_: object, *, sha256: str | None, **__: object) -> None:
        asked.append(sha256)
        raise UsageError("not here")

    monkeypatch.setattr("playbooks.resume_deploy.read_all", lambda *_: {"app1": fact})
    monkeypatch.setattr("playbooks.resume_deploy.interrupted", lambda _: said)
    monkeypatch.setattr("playbooks.resume_deploy.find_artifact", find)
    wanted = DeployRequest(sha256="A" * 64)
    with pytest.raises(UsageError, match="not here"):
        resume(cast("object", _Whole()), wanted, Silent())  # type: ignore[arg-type]
    assert asked == ["a" * 64]


class _Whole:
    """An environment of no host, which nothing is asked of."""

    targets = ()
    limited = False

    class settings:
        forks = 1


def test_what_our_own_tasks_write_of_themselves_makes_sense() -> None:
    """A backup whose controller died was left out of status: it names no version, and that was held against it."""
    now = datetime.now(UTC)
    for task in ("backup", "verify-backups", "maintenance", "repair"):
        assert LockOwner("ann@laptop", task, "2026-11-21T04:31:00Z", "20261121T043100Z", task).is_sound(now), task
    assert LockOwner("a@b", "deploy 1", "2026-11-21T04:31:00Z", "20261121T043100Z-1", "deploy", "1").is_sound(now)
    assert LockOwner("a@b", "rollback", "2026-11-21T04:31:00Z", "20261121T043100Z", "rollback", "").is_sound(now)


def test_one_host_does_not_choose_the_state_of_the_databases() -> None:
    """It said that 1.1.0 ran before, and databases were "restored" to what they were after that migration."""
    good, lie = "20260101T000000Z-1.0.0", "20260102T000000Z-1.1.0"
    assert version_of_most({"app1": lie, "app2": good, "app3": good}, "--env=e") == "1.0.0"
    assert version_of_most({}, "--env=e") == ""
    with pytest.raises(UsageError, match=r"1\.0\.0 and 1\.1\.0"):
        version_of_most({"app1": lie, "app2": good}, "--env=e")


@pytest.mark.parametrize(
    "line",
    ["foreign\t/opt/{}\teve\tdrwxrwxrwx", "disk\t/opt/{}\t9\t1\tyes", "unit\tu{}.service\tactive\trunning\t0\t0"],
)
def test_a_host_has_no_more_of_anything_than_hosts_have(line: str) -> None:
    """90000 of its folders made an error of 18 MB, which a person had to scroll through to see what went wrong."""
    with pytest.raises(BadAnswer, match="more than"):
        facts("".join(line.format(number) + "\n" for number in range(2000)))


def test_a_secret_of_two_lines_is_no_check_of_its_own() -> None:
    """Its second line was a check of a health check's list, and the host said the kind of it, which is the secret."""
    variables = {"slipway_app": "shop", "slipway_services": [{"name": "shop", "template": "x.j2"}]}
    checks = [{"type": "redis", "password": "cache"}]
    found, mistakes = read_settings({**variables, "slipway_health": {"checks": checks}}, lambda *_: "")
    assert found is not None, mistakes
    with pytest.raises(SlipwayError, match="nothing was sent") as refused:
        health_call(found, units=[], release_folder="/x", secrets={"cache": "first\nsecond"})
    assert "second" not in str(refused.value)


def test_one_host_alone_does_not_have_a_contract_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """It said that the release that runs everywhere knew the contract, and was the one that was asked."""
    said = {"app1": ("001_a.up.sql", "002_b.up.sql"), "app2": ("001_a.up.sql",), "app3": ("001_a.up.sql",)}
    monkeypatch.setattr(contracts, "read_sql", lambda remote, *_: dict.fromkeys(said[remote.name], b""))
    database = SimpleNamespace(name="shop", migrations=SimpleNamespace(folder="sql", by_tool=False))
    env = SimpleNamespace(
        settings=SimpleNamespace(databases=[database]), target=lambda _: SimpleNamespace(settings=database)
    )
    kept = contracts.kept_releases({host: running(host, NEW, OLD) for host in HOSTS})
    assert [(one.hosts, one.use) for one in kept] == [(HOSTS, "is kept to go back to"), (HOSTS, "runs")]
    for hosts, known in ((HOSTS, {"001"}), (HOSTS[:1], {"001", "002"})):
        found = contracts.known_ids(fleet(dict.fromkeys(HOSTS, BASE)), cast(Environment, env), {NEW: hosts})
        assert found == {NEW: {"shop": known}}
