"""Whoever is root on one host forges, cuts and replays history: it shows there, and no other host suffers."""
# ruff: noqa: F811 - fixtures by their names

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

from playbooks.adapters.secrets.sources import Secrets
from playbooks.fleet.lock_owner import LockOwner
from playbooks.ledger.keys import find_key
from playbooks.ledger.seal import Seal
from playbooks.settings.ledger import LedgerSettings
from playbooks.settings.model import FileSecret
from tests.chaos import driver
from tests.hosts.conftest import APPS, App, Ran, app, invoke, lab, on, specs, wait_until  # noqa: F401 - fixtures
from tests.hosts.ledgers import append, repair, verdicts, verify

On = Callable[[str], Host]
FORGED = "20260101T000000Z-6.6.6"
# Change a ledger and make its chain whole again, as whoever is root on a host can.
REWRITE = """import hashlib, sys
path, how, line, *more = sys.argv[1:]
lines = [each.split(",", 1)[1] for each in open(path).read().splitlines()]
place = int(line) - 1
if how == "drop":
    del lines[place]
elif how == "change":
    lines[place] = lines[place].replace(*more)
elif how == "insert":
    lines.insert(place, more[0])
tip = "start"
with open(path, "w") as ledger:
    for each in lines:
        whole = '{"prev":"%s",%s\\n' % (tip, each)
        ledger.write(whole)
        tip = hashlib.sha256(whole.encode()).hexdigest()
"""


def forgery(**more: Any) -> dict[str, Any]:
    """A deploy that never was, on all hosts."""
    return {
        "task": "deploy",
        "id": FORGED,
        "version": "6.6.6",
        "status": "done",
        "started": "2026-01-01T00:00:00Z",
        "by": "admin@headquarters",
        "hosts": dict.fromkeys(APPS, "deployed"),
        **more,
    }


def rewrite(host: Host, state: str, *words: str) -> None:
    host.check_output("python3 -c %s %s" + " %s" * len(words), REWRITE, f"{state}/ledger", *words)


def make_key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True)
    return Path(f"{path}.pub").read_text().strip()


def sealed(key: Path, document: dict[str, Any], environment: str, application: str) -> dict[str, Any]:
    """A record signed with a key, whoever has it."""
    found = find_key(LedgerSettings.model_validate({"key": "k"}), Secrets({"k": FileSecret(file=str(key))}, key.parent))
    owner = LockOwner(str(document["by"]), "deploy", str(document["started"]), str(document["id"]), "deploy")
    return Seal(environment, application, owner, found).record(document)


def ledger(host: Host, state: str) -> str:
    return str(host.run(f"cat {state}/ledger").stdout)


def statuses(ran: Ran) -> list[str]:
    hosts = verdicts(ran)
    assert list(hosts) == list(APPS), ran.out + ran.err
    return [hosts[host]["status"] for host in APPS]


def kinds(ran: Ran, host: str) -> set[str]:
    return {fault["kind"] for fault in verdicts(ran)[host]["faults"]}


@pytest.fixture
def signed(app: App, on: On, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    """One record from before records were signed, then a deploy that is signed with the environment's key."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    public = make_key(tmp_path / "ann")
    make_key(tmp_path / "eve")
    for host in APPS:
        old = forgery(id="old", version="0.9.0", started="2025-01-01T00:00:00Z", host=host)
        assert append(on(host), app.state, old).rc == 0
    secrets = {**app.settings["secrets"], "ledger": {"file": str(tmp_path / "ann")}}
    app.write(ledger={"signers": [public], "key": "ledger"}, secrets=secrets)
    app.build("1.0.0")
    done = app.deploy("1.0.0")
    assert done.status == 0, done.err
    return app


@contextmanager
def elsewhere(tmp_path: Path) -> Iterator[None]:
    """On another machine: it remembers nothing of what this one has seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
        yield


def test_a_forged_record_stays_on_the_host_it_was_made_on(app: App, on: On) -> None:
    """An honest host was told to be at fault, and --repair copied the forgery to it; then all was PASSED."""
    app.build("1.0.0")
    assert app.deploy("1.0.0").status == 0
    assert append(on("app3"), app.state, forgery()).rc == 0
    found = verify(app)
    assert found.status == 3
    assert statuses(found) == ["PASSED", "PASSED", "FAILED"]
    assert FORGED in found.out
    asked = repair(app)
    for host in ("app1", "app2"):
        assert FORGED not in ledger(on(host), app.state), "the forgery was spread"
    assert asked.status == 3, "a forgery that nobody has judged is no PASSED"
    (question,) = asked.json["questions"]
    assert (question["id"], question["hosts"]) == (FORGED, ["app3"])
    assert "admin@headquarters" in question["said"] and FORGED not in question["said"]
    assert "--accept=" in asked.json["next"]

    mended = repair(app, f"--reject={FORGED}")
    assert (mended.status, mended.json["status"]) == (0, "PASSED"), mended.out
    (one,) = mended.json["repairs"]
    assert FORGED in on("app3").check_output(f"cat {app.state}/{one['kept']}"), "evidence was destroyed"
    records = invoke("history", app.env, "--json").json["records"]
    assert [record["task"] for record in records] == ["repair", "deploy"]


def test_history_is_forged_in_every_way_on_one_host(signed: App, on: On, tmp_path: Path) -> None:
    """Whatever root does to one host's ledger, hashes and all: it shows there, says how, and accuses nobody else."""
    host, state = on("app3"), signed.state
    whole = ledger(host, state)
    assert verify(signed).status == 0, "records from before signatures are no fault"
    deployed = json.loads(whole.splitlines()[1])
    again = json.dumps(deployed, ensure_ascii=False).partition(",")[2].strip()
    here = (str(deployed["environment"]), signed.name)
    ways: dict[str, tuple[Callable[[], object], set[str]]] = {
        "put at the end": (lambda: append(host, state, forgery()), {"unsigned"}),
        "signed by somebody else": (
            lambda: append(host, state, sealed(tmp_path / "eve", forgery(), *here)),
            {"untrusted"},
        ),
        "changed": (
            lambda: rewrite(host, state, "change", "2", '"status": "done"', '"status": "failed"'),
            {"signature"},
        ),
        "put there once more": (lambda: rewrite(host, state, "insert", "3", again), {"replayed"}),
        "from another environment": (
            lambda: append(host, state, sealed(tmp_path / "ann", forgery(), "staging", signed.name)),
            {"misplaced"},
        ),
        "from another host": (
            lambda: append(host, state, sealed(tmp_path / "ann", forgery(hosts={"app1": "deployed"}), *here)),
            {"misplaced"},
        ),
        "put in before records were signed": (
            lambda: rewrite(host, state, "insert", "1", json.dumps(forgery())[1:]),
            {"heads", "unsigned"},
        ),
        "taken out from before records were signed": (lambda: rewrite(host, state, "drop", "1"), {"heads"}),
        "written anew": (
            lambda: host.check_output(f"rm {state}/ledger") + str(append(host, state, forgery())),
            {"heads", "unsigned"},
        ),
    }
    with elsewhere(tmp_path):
        for way, (act, kind) in ways.items():
            act()
            found = verify(signed)
            assert statuses(found) == ["PASSED", "PASSED", "FAILED"], f"{way}: {found.out}"
            assert kinds(found, "app3") == kind, f"{way}: {found.out}"
            host.run(f"cat >{state}/ledger <<'END'\n{whole}END")
        assert verify(signed).status == 0
    # What is rejected goes, and nothing else does: not the record from before signatures either.
    assert append(host, state, forgery()).rc == 0
    mended = repair(signed, f"--reject={FORGED}")
    assert (mended.status, mended.json["status"]) == (0, "PASSED"), mended.out
    left = [json.loads(line) for line in ledger(host, state).splitlines()]
    assert [record["id"] for record in left[1:]] == ["old", deployed["id"]]
    assert append(host, state, forgery(repaired_from="app3")).rc == 0
    assert statuses(verify(signed)) == ["PASSED", "PASSED", "FAILED"], "a repair lets nothing in beside it"


def test_a_person_accepts_what_nobody_signed(signed: App, on: On) -> None:
    """A record that could not be signed, and was so all the same, must not be an alarm that stays on."""
    for host in ("app2", "app3"):
        assert append(on(host), signed.state, forgery()).rc == 0
    before = ledger(on("app1"), signed.state)
    asked = repair(signed)
    assert statuses(asked) == ["PASSED", "FAILED", "FAILED"], "two hosts may be hostile as well as one"
    assert ledger(on("app1"), signed.state) == before
    (question,) = asked.json["questions"]
    assert repair(signed, "--accept=nothing").status == 2
    # Between the look and the answer, their root puts other words behind the id; that nobody has read.
    for host in ("app2", "app3"):
        on(host).check_output(f"sed -i '$d' {signed.state}/ledger")
        assert append(on(host), signed.state, forgery(reason="not read")).rc == 0
    for name in (question["id"], question["digest"]):
        swapped = repair(signed, f"--accept={name}")
        assert swapped.status == 2 and "no record in question has the digest" in swapped.out + swapped.err
    for host in ("app2", "app3"):
        on(host).check_output(f"sed -i '$d' {signed.state}/ledger")
        assert append(on(host), signed.state, forgery()).rc == 0
    # Of a part of a digest a host can make two contents.
    assert repair(signed, f"--accept={question['digest'][:12]}").status == 2
    mended = repair(signed, f"--accept={question['digest']}")
    assert (mended.status, mended.json["status"]) == (0, "PASSED"), mended.out
    assert FORGED in ledger(on("app1"), signed.state)
    # It is that record that was accepted, not whatever calls itself the same.
    assert append(on("app3"), signed.state, forgery(reason="other")).rc == 0
    assert statuses(verify(signed)) == ["PASSED", "PASSED", "FAILED"]


def test_what_is_cut_off_on_all_hosts_is_missed(signed: App, on: On, tmp_path: Path) -> None:
    """The newest records cut off everywhere left nothing that could tell, and everything was PASSED."""
    signed.build("1.1.0")
    assert signed.deploy("1.1.0").status == 0
    written = verify(signed)
    heads = ",".join(host["head"] for host in written.json["hosts"])
    (tmp_path / "heads.json").write_text(written.out)
    for host in APPS:
        on(host).check_output(f"sed -i '$d' {signed.state}/ledger")

    with elsewhere(tmp_path):
        assert verify(signed).status == 0, "nothing on the hosts can tell; if it can, test that instead"
        for since in (heads, f"{tmp_path}/heads.json"):
            missed = verify(signed, f"--since={since}")
            assert (missed.status, len(missed.json["gone"])) == (3, 3)
    for task in ("status", "history"):
        told = invoke(task, signed.env)
        assert told.status == 0
        assert "was cut off or rewritten" in told.out + told.err and "-1.1.0" in told.out + told.err, told.err
    found = verify(signed)
    assert (found.status, statuses(found)) == (3, ["FAILED"] * 3)
    assert all(kinds(found, host) == {"seen"} for host in APPS)
    told = signed.deploy("1.1.0", "--force")
    assert told.status == 0 and "was cut off or rewritten" in told.err
    assert verify(signed, f"--since={heads}").status == 3, "a new record makes it no better"


def test_what_is_cut_out_of_a_host_that_was_deployed_alone_is_missed(signed: App, on: On, tmp_path: Path) -> None:
    """A record that stands on one host only has no other to tell of it; but the next task has seen it there."""
    for version, flags in (("1.1.0", ("--limit=app3",)), ("1.2.0", ())):
        signed.build(version)
        assert signed.deploy(version, *flags).status == 0
    rewrite(on("app3"), signed.state, "drop", "3")
    with elsewhere(tmp_path):
        found = verify(signed)
        assert statuses(found) == ["PASSED", "PASSED", "FAILED"]
        assert kinds(found, "app3") == {"heads"}
        (fault,) = verdicts(found)["app3"]["faults"]
        assert "-1.2.0" in fault["sentence"]
    # It is gone for good, which a person says once.
    mended = repair(signed)
    assert (mended.status, mended.json["status"]) == (0, "PASSED"), mended.out
    assert [one["gone"] for one in mended.json["repairs"]] == [True]


def test_what_a_guard_writes_is_known_by_who_armed_it(signed: App, on: On) -> None:
    """A guard writes when nobody is there to sign: its record must be no alarm, and no way to forge one either."""
    signed.write(guard={"timeout": 6})
    signed.build("2.0.0")
    process = driver.start("kill:app2/health/answered/1", "deploy", "--version=2.0.0", "--batch=1", signed.env)
    process.communicate()
    wait_until(lambda: not any(on(host).file(f"{signed.state}/guard").exists for host in APPS))
    assert invoke("backup", signed.env).status in (0, 2, 3)
    found = verify(signed)
    assert found.status == 0, found.out
    assert [verdicts(found)[host]["by_host"] for host in ("app1", "app2")] == [1, 1]
    guard = next(line for line in ledger(on("app1"), signed.state).splitlines() if '"task": "guard"' in line)
    record = {name: value for name, value in json.loads(guard).items() if name not in ("prev", "host")}
    assert append(on("app3"), signed.state, record).rc == 0
    assert append(on("app2"), signed.state, {**record, "version": "6.6.6"}).rc == 0
    found = verify(signed)
    assert [kinds(found, host) for host in APPS] == [set(), {"signature"}, {"misplaced"}]


def test_who_cannot_sign_touches_nothing(signed: App, on: On) -> None:
    """A deploy that finds out at its end that it cannot say who did it has done it all the same."""
    before = [ledger(on(host), signed.state) for host in APPS]
    signed.write(ledger={"signers": signed.settings["ledger"]["signers"]})
    signed.build("1.1.0")
    for refused in (signed.deploy("1.1.0"), invoke("rollback", signed.env), repair(signed)):
        assert refused.status == 2
        assert "nothing was touched" in refused.err and "ssh-add" in refused.err
    assert [ledger(on(host), signed.state) for host in APPS] == before
    assert on("app1").file(f"{signed.home}/current/VERSION").content_string.strip() == "1.0.0"
