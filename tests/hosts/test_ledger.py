"""Ledgers on real hosts: tampered with in every way, repaired from one another, torn by a power cut (A9)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from testinfra.host import Host

from lab import machine, up
from lab.spec import HostSpec, Lab
from tests.hosts.conftest import APPS, App, invoke, wait_until
from tests.hosts.ledgers import APPEND, append, repair, verdicts, verify
from tests.unit.test_signatures import add, agent, auditor_says, make_key, public  # noqa: F401 - agent is a fixture

On = Callable[[str], Host]
RECORDS = 5


def ids(app: App) -> list[str]:
    return [record["id"] for record in invoke("history", app.env, "--json").json["records"]]


@pytest.fixture
def kept(app: App, on: On) -> App:
    """An application whose hosts have a few records in common."""
    for name in APPS:
        done = append(
            on(name),
            app.state,
            *(
                {
                    "host": name,
                    "task": "deploy",
                    "id": f"id{number}",
                    "version": f"1.{number}.0",
                    "status": "done",
                    "started": f"2025-11-21T04:0{number}:00Z",
                    "seconds": 3.5,
                    "by": "somebody@somewhere — ünïcode",
                    "hosts": dict.fromkeys(APPS, "deployed"),
                }
                for number in range(RECORDS)
            ),
        )
        assert done.rc == 0, done.stdout + done.stderr
    return app


# The shell's way to each, and what verifying must say: a kind of fault with its line, or only that a record is missing.
TAMPERINGS: Mapping[str, tuple[str, tuple[str, int] | None, bool]] = {
    "a byte changed": ("sed -i '3s/1.2.0/1.2.1/' ledger", ("changed", 3), True),
    "a line dropped": ("sed -i 3d ledger", ("changed", 2), True),
    "lines swapped": ("sed -i '3{h;d};4G' ledger", ("order", 3), False),
    "a line put in": ("sed -i '3{p;s/id2/id99/}' ledger", ("order", 4), False),
    "the beginning cut off": ("sed -i 1d ledger", ("start", 1), True),
    "the tail cut off": ("sed -i '4,$d' ledger", None, True),
    "emptied": (": >ledger", None, True),
    "removed": ("rm ledger", None, True),
    "the state folder lost": ("rm -rf ../$(basename $PWD)", None, True),
    "garbage": ("head -c 100000 /dev/urandom >ledger; echo >>ledger", ("record", 1), True),
    "the last line torn": ("truncate -s -30 ledger", ("torn", 5), True),
}


@pytest.mark.parametrize("how", TAMPERINGS)
def test_tampering_is_told_with_host_and_line_and_repaired(kept: App, on: On, how: str) -> None:
    """What is not found proves nothing; what is found and cannot be mended is an alarm that stays on."""
    command, fault, missing = TAMPERINGS[how]
    on("app2").check_output(f"cd {kept.state} && {command}")
    left = "" if how == "garbage" else on("app2").run(f"cat {kept.state}/ledger").stdout
    changed = on("app2").run(f"sha256sum <{kept.state}/ledger").stdout.split()[:1]

    found = verify(kept)
    assert (found.status, found.json["status"]) == (3, "FAILED")
    hosts = verdicts(found)
    assert [hosts[name]["status"] for name in APPS] == ["PASSED", "FAILED", "PASSED"]
    first = hosts["app2"]["faults"][:1]
    assert [(one["kind"], one["line"]) for one in first] == ([fault] if fault else [])
    assert bool(hosts["app2"]["missing"] or hosts["app2"]["differs"]) == missing
    assert "--repair" in found.json["next"] or "compare" in found.json["next"]

    mended = repair(kept)
    assert (mended.status, mended.json["status"]) == (0, "PASSED"), mended.out + mended.err
    assert [one["host"] for one in mended.json["repairs"]] == ["app2"]
    assert sorted(ids(kept)[1:]) == [f"id{number}" for number in range(RECORDS)]

    aside = mended.json["repairs"][0]["kept"]
    after = on("app2").check_output(f"cat {kept.state}/ledger")
    if aside:
        assert on("app2").check_output(f"sha256sum <{kept.state}/{aside}").split()[:1] == changed, "kept as it was"
        assert json.loads(after.splitlines()[0])["replaces"] == changed[0]
    else:
        assert after.startswith(left), "what stood was overwritten"
    copies = [json.loads(line) for line in after.splitlines() if "repaired_from" in line]
    assert {copy["repaired_from"] for copy in copies} <= {"app1", "app3"}


def test_what_is_whole_passes_and_is_left_alone(kept: App, on: On) -> None:
    """An alarm without a fire teaches people to ignore it; a repair of what is whole would grow ledgers for nothing."""
    told = invoke("history", kept.env, "--verify")
    assert told.status == 0, told.out
    assert told.out.splitlines()[-1] == "PASSED"
    before = on("app1").check_output(f"cat {kept.state}/ledger")
    assert repair(kept).json["repairs"] == []
    assert on("app1").check_output(f"cat {kept.state}/ledger") == before
    # For a person, with what to type next.
    on("app1").check_output(f"sed -i 2s/1.1.0/1.1.1/ {kept.state}/ledger")
    told = invoke("history", kept.env, "--verify")
    assert told.status == 3
    assert "app1: line 2 was changed" in told.out
    assert "FAILED\nNext: " in told.out
    assert "--verify" in invoke("history", kept.env).out


def test_history_of_a_fleet_with_a_rebuilt_host_shows_everything_once(kept: App, on: On) -> None:
    """The history must survive the host that kept it, and must not say a thing twice once it has been repaired."""
    on("app1").check_output(f"rm -rf {kept.state}")
    assert sorted(ids(kept)) == [f"id{number}" for number in range(RECORDS)]
    assert repair(kept).status == 0
    records = invoke("history", kept.env, "--json").json["records"]
    assert [record["task"] for record in records].count("repair") == 1
    assert sorted(record["id"] for record in records[1:]) == [f"id{number}" for number in range(RECORDS)]
    assert "5 records from app2" in invoke("history", kept.env).out


def test_a_deploy_goes_on_in_a_repaired_ledger(kept: App, on: On) -> None:
    """A repair that left a ledger no deploy could continue would end in the next record's failure."""
    on("app3").check_output(f"truncate -s -9 {kept.state}/ledger")
    assert repair(kept).status == 0
    kept.build("2.0.0")
    assert kept.deploy("2.0.0").status == 0
    proven = verify(kept)
    assert proven.status == 0, proven.out
    assert verdicts(proven)["app3"]["torn"] == 1
    assert invoke("history", kept.env, "--json").json["records"][0]["version"] in ("2.0.0", "")


def test_repair_waits_for_no_deploy_and_disturbs_none(kept: App, on: On) -> None:
    """While a deploy runs its record is not on every host yet: a repair then would copy what is about to be written."""
    kept.write(hooks={"before_switch": [{"name": "slow", "run": "sleep 6"}]})
    kept.build("2.0.0")
    running = kept.start("deploy", "--version=2.0.0")
    try:
        wait_until(lambda: bool(on("app1").run(f"cat {kept.state}/lock").stdout.strip()))
        assert invoke("history", kept.env, "--repair").status == 4
    finally:
        running.communicate(timeout=120)
    assert running.returncode == 0
    assert verify(kept).status == 0


def test_full_disk_leaves_no_half_line(kept: App, on: On) -> None:
    """A half line at the end of a full disk would be there for the next record to stumble over."""
    host = on("app1")
    host.check_output(f"mount -t tmpfs -o size=64k tmpfs {kept.state}")
    try:
        small = append(host, kept.state, {"id": "a"})
        assert small.rc == 0, small.stdout
        before = host.check_output(f"cat {kept.state}/ledger")
        host.run(f"head -c 100000 /dev/zero >{kept.state}/filler")
        large = {"id": "b", "text": "x" * 30000}
        failed = append(host, kept.state, large)
        assert failed.rc == 1
        assert "is full" in failed.stdout
        assert host.check_output(f"cat {kept.state}/ledger") == before
        host.check_output(f"rm {kept.state}/filler")
        assert append(host, kept.state, large).rc == 0
    finally:
        host.check_output(f"umount {kept.state}")


def test_power_cut_while_records_are_written(kept: App, lab: Lab, specs: dict[str, HostSpec], on: On) -> None:
    """What was told to be written is there after the power comes back, and the chain holds, whatever was cut."""
    host = on("app2")
    loop = 'append_record "$1" "{\\"id\\":\\"p$i\\",\\"text\\":\\"$2\\"}"; echo $i >/run/done'
    host.run(f"cat >/var/tmp/writer.sh <<'END'\n{APPEND}\ni=0; while :; do i=$((i + 1)); {loop}; done\nEND")

    def written() -> int:
        return int(host.run("cat /run/done").stdout.strip() or 0)

    for few in (5, 9):
        host.check_output("rm -f /run/done")
        host.check_output(
            "systemd-run --quiet --collect --unit=writer sh /var/tmp/writer.sh %s %s", kept.state, "x" * 20000
        )
        wait_until(partial(_more, written, than=few))
        told = written()
        machine.power_off(lab, specs["app2"])
        assert verify(kept).json["unreachable"].keys() == {"app2"}
        up.up(lab.name, hosts=3)
        assert append(host, kept.state, {"id": "after"}).rc == 0
        proven = verify(kept)
        assert proven.status == 0, proven.out
        assert f'"id":"p{told}"' in host.check_output(f"cat {kept.state}/ledger"), (
            "a record that was told to be on disk is gone"
        )
    host.run("rm /var/tmp/writer.sh")


def _more(count: Callable[[], int], *, than: int) -> bool:
    return count() > than


def test_a_large_ledger_is_read_in_pieces(kept: App, on: On) -> None:
    """A ledger of years must not fill the controller, nor make the everyday history slow: that reads its end only."""
    host = on("app1")
    write = """import hashlib, sys
tip = "start"
with open(sys.argv[1], "wb") as ledger:
    for n in range(100000):
        about = '"id":"n%d","task":"deploy","started":"2024","text":"%s"' % (n, "x" * 400)
        line = ('{"prev":"%s",%s}\\n' % (tip, about)).encode()
        tip = hashlib.sha256(line).hexdigest()
        ledger.write(line)
"""
    host.check_output("python3 -c %s %s", write, f"{kept.state}/ledger")
    proven = verify(kept)
    assert verdicts(proven)["app1"]["lines"] == 100000
    assert verdicts(proven)["app1"]["faults"] == []
    assert len(verdicts(proven)["app1"]["missing"]) == RECORDS, "the others have what this one has lost"
    shown = invoke("history", kept.env, "--records=3", "--json")
    assert [record["id"] for record in shown.json["records"]] == ["id4", "id3", "id2"]
    host.check_output(f"sed -i 50000s/xxx/xyx/ {kept.state}/ledger")
    assert verdicts(verify(kept))["app1"]["faults"][0]["line"] == 50000


@pytest.mark.usefixtures("agent")
def test_a_deploy_is_signed_by_who_runs_it(app: App, on: On, tmp_path: Path) -> None:
    """Who did it is what the person's own key says, not what a line of text does; and it needs no Slipway to check."""
    key = make_key(tmp_path, "ed25519")
    add(key)
    app.write(ledger={"signers": [public(key)]})
    app.build("1.0.0")
    done = app.deploy("1.0.0")
    assert done.status == 0, done.err
    assert invoke("exec", app.env, "--", "true").status == 0
    ran, record = invoke("history", app.env, "--json").json["records"]
    assert [one["signed"]["standing"] for one in (ran, record)] == ["trusted", "trusted"]
    assert record["signed"]["by"].endswith(" (ed25519@here)")
    assert "ed25519@here" in invoke("history", app.env).out
    lines = [on(host).check_output(f"head -n 1 {app.state}/ledger") for host in APPS]
    assert len({json.loads(line)["signature"] for line in lines}) == 1, "one signature for all hosts"
    said = auditor_says(tmp_path, json.loads(lines[1]), public(key))
    assert said.count("Good") == 2, said
    told = invoke("history", app.env, "--verify")
    assert told.status == 0 and "signed by SHA256:" in told.out and "--since=" in told.out
