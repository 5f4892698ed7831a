"""Deploys under load: what became of every request, and how soon a bad release is gone. Prints Markdown tables.

    python -m bench.zero_downtime --rate=150                  # every scenario, then every planted release
    python -m bench.zero_downtime --only=rolling,errors:20

Only on a quiet machine: hosts, load and deploys share its processors, and a host that gets none answers 503 by itself.
"stolen" is what others had of a rented machine's processors meanwhile: with more than a few per cent p99 tells of them.

Root, Debian 12; see docs/lab.md. The load comes from lab/load.py, which knows nothing of Slipway: whether a release was
met by users is told by the version in their answers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.place import tell
from lab import shell
from lab import up as lab_up
from lab.load import loading
from lab.load_plan import Plan
from lab.load_report import OK, Report
from lab.network import ssh
from lab.processors import stolen, ticks
from lab.spec import PROJECT, HostSpec, Lab

INVOKE = PROJECT / ".venv/bin/invoke"
AFTER = 3.0
GOOD = ("1.0.0", "1.1.0")
SLOTS: dict[str, Any] = {
    "slipway_health": {
        "interval": "500ms",
        "attempts": 24,
        "checks": [{"type": "http", "name": "ready", "url": "http://127.0.0.1:{port}/health/ready"}],
    },
    "slipway_slots": {"blue": 8001, "green": 8002},
    "slipway_services": [{"name": "shop-web@", "template": "shop/shop-web.service.j2"}],
}
CRITERIA = {"errors": "1%", "p99": "2s", "worse_errors": "50%", "worse_latency": "20%"}
LADDER = [{"share": share, "for": "20s", "criteria": CRITERIA} for share in ("10%", "50%", "100%")]
# What is judged here in minutes is judged in half an hour out there, at a fraction of the rate.
SOON = {"interval": "2s", "inconclusive": "promote"}
SCENARIOS: dict[str, dict[str, Any]] = {
    "rolling": {"slipway_rollout": {"strategy": "rolling", "watch": {"for": "0s"}}},
    "blue-green": {
        **SLOTS,
        "slipway_rollout": {
            "strategy": "blue-green",
            "blue_green": [{"share": share, "for": "5s"} for share in ("10%", "50%", "100%")],
            "judgement": SOON,
            "watch": {"for": "0s"},
        },
    },
    "canary": {"slipway_rollout": {"strategy": "canary", "canary": LADDER, "judgement": SOON, "watch": {"for": "0s"}}},
    # One host, and nothing in front of it.
    "socket": {
        "slipway_hosts": "app1",
        "slipway_balancer": None,
        "slipway_services": [{"name": "shop-web", "template": "shop/shop-web.service.j2", "socket": "0.0.0.0:8000"}],
    },
}
FAULTS = ("errors:1", "errors:3", "errors:20", "slow:30", "slow:200", "leak", "crash:20", "broken")
JUDGED: dict[str, Any] = {
    "slipway_rollout": {
        "strategy": "canary",
        "canary": [{"share": "10%", "for": "120s", "criteria": CRITERIA}, {"share": "100%", "for": "30s"}],
        "judgement": {**SOON, "inconclusive": "abort"},
        "watch": {"for": "0s"},
    },
    "shop_work_ms": 60,  # 30 % of it are more than the 10 ms that are never too much
}


@dataclass(frozen=True)
class Bench:
    """Where it happens.

    Args:
        lab: its hosts.
        folder: inventory and artifacts.
        database: the host that has the shop's.
        edge, single: URLs of the balancer, and of a host that has none in front.
        rate: requests a second.
        around: seconds of load before each task, to compare with.
    """

    lab: Lab
    folder: Path
    database: HostSpec
    edge: str
    single: str
    rate: float
    around: float

    def write(self, **settings: object) -> None:
        """The environment: the lab's own settings, and what is different here."""
        place = self.folder / "inventory" / "group_vars" / "all"
        place.mkdir(parents=True, exist_ok=True)
        (self.folder / "inventory/hosts.yml").write_text((self.lab.folder / "inventory/hosts.yml").read_text())
        (place / "00-lab.yml").write_text((PROJECT / "inventory/lab/group_vars/all.yml").read_text())
        own = {
            "slipway_artifact": f"{self.folder}/shop-{{version}}.tar.zst",
            "slipway_backup": {"enabled": False},
            "shop_rehearsal": False,
        }
        (place / "10-bench.yml").write_text(yaml.safe_dump({**own, **settings}))

    def invoke(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a task as a person would."""
        command = [str(INVOKE), *words, f"--env={self.folder}/inventory", "--json"]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    def forget_orders(self) -> None:
        """Begin each measurement with an empty table: the load's orders of hours are not what is measured."""
        empty = "cd /; sudo runuser -u postgres -- psql -XAtqc 'truncate orders' -d shop"
        shell.run([*ssh(self.lab, self.database), empty])

    def must(self, *words: str) -> None:
        """Run a task that must end well."""
        done = self.invoke(*words)
        if done.returncode:
            sys.exit(
                f"invoke {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-2000:]}"
            )


@dataclass(frozen=True)
class Under:
    """A task under load.

    Args:
        report: of all the load.
        began, ended: of the task, by the monotonic clock.
        done: the task.
        stolen: how much of this machine's processors others had meanwhile, 0 to 1.
    """

    report: Report
    began: float
    ended: float
    done: subprocess.CompletedProcess[str]
    stolen: float


def under_load(bench: Bench, *words: str, url: str = "") -> Under:
    """Run a task while users go on."""
    bench.forget_orders()
    with loading(Plan(url or bench.edge, rate=bench.rate)) as load:
        before = ticks()
        time.sleep(bench.around)
        began = time.monotonic()
        done = bench.invoke(*words)
        ended = time.monotonic()
        time.sleep(AFTER)
        others = stolen(before)
    return Under(load.report(), began, ended, done, others)


def row(bench: Bench, name: str, *words: str, url: str = "") -> list[str]:
    """A task that must lose no request."""
    under = under_load(bench, *words, url=url)
    before = under.report.between(under.report.began, under.began)
    during = under.report.between(under.began, under.ended + AFTER)
    p99 = before.quantile(0.99) or 0.0, during.quantile(0.99) or 0.0
    # "-" is the balancer itself, or nobody.
    failed = Counter((one.outcome, one.version) for one in under.report.samples if one.outcome != OK)
    told = ", ".join(f"{count} {outcome} of {version}" for (outcome, version), count in sorted(failed.items()))
    status = f"status {under.done.returncode}" if under.done.returncode else f"{under.ended - under.began:.1f} s"
    figures = [f"{len(under.report.samples)}", f"{under.report.failed}" + (f" ({told})" if told else "")]
    cells = [
        name,
        status,
        *figures,
        f"{p99[0]:.0f} ms",
        f"{p99[1]:.0f} ms",
        f"{p99[1] / p99[0]:.2f}" if p99[0] else "-",
        f"{under.stolen:.0%}",
    ]
    tell(f"  {' | '.join(cells)}")
    if under.done.returncode:
        tell(f"    {why(under)}")
    return cells


def good_releases(bench: Bench, names: Sequence[str], kind: str) -> Iterator[list[str]]:
    """Each strategy there and back, behind a balancer; one host without any."""
    for name in names:
        if name != "socket":
            balancer = yaml.safe_load((PROJECT / "inventory/lab/group_vars/all.yml").read_text())["slipway_balancer"]
            bench.write(**{**SCENARIOS[name], "slipway_balancer": {**balancer, "kind": kind}})
            bench.must("provision")
            bench.must("deploy", f"--version={GOOD[0]}", "--strategy=rolling", "--force")
            yield row(bench, f"{name}, {kind}", "deploy", f"--version={GOOD[1]}")
            yield row(bench, f"rollback after it, {kind}", "rollback", "--reason=bench")
    if "socket" in names:
        bench.write(**SCENARIOS["socket"])
        bench.must("provision")
        bench.must("deploy", f"--version={GOOD[0]}", "--force")
        yield row(bench, "one host with a socket", "deploy", f"--version={GOOD[1]}", url=bench.single)
        yield row(bench, "rollback after it", "rollback", "--reason=bench", url=bench.single)


def bad_release(bench: Bench, fault: str) -> list[str]:
    """A planted release: how many of the users met it, and for how long."""
    version = build(bench, fault)
    bench.write(**JUDGED)
    bench.must("provision")
    bench.must("deploy", f"--version={GOOD[0]}", "--strategy=rolling", "--force")
    under = under_load(bench, "deploy", f"--version={version}")
    during = under.report.between(under.began, under.ended + AFTER)
    met = [sample.at for sample in during.samples if sample.version == version]
    seconds = max(met) - min(met) if met else 0.0
    share = len(met) / len(during.samples)
    caught = "caught" if under.done.returncode == 1 else f"not caught (status {under.done.returncode})"
    cells = [fault, caught, f"{share:.1%}", f"{seconds:.0f} s", f"{during.failed} of {len(during.samples)}", why(under)]
    tell(f"  {' | '.join(cells)}")
    return cells


def why(under: Under) -> str:
    """The task's own words for what it ended with."""
    try:
        document = json.loads(under.done.stdout)
    except ValueError:
        return under.done.stderr.strip().rpartition("\n")[2][:200]
    found = document.get("reason") or document.get("message") or (document.get("error") or {}).get("message") or ""
    return " ".join(str(found).split()).partition(". ")[0][:200]


def build(bench: Bench, fault: str | None = None) -> str:
    """Artifacts of the good versions, or of one with a fault; returns its version."""
    command = [sys.executable, str(PROJECT / "examples/build"), f"--dist={bench.folder}"]
    subprocess.run([*command, *([f"--fault={fault}"] if fault else [])], check=True, capture_output=True)
    if fault is None:
        return GOOD[1]
    newest = max(bench.folder.glob("shop-1.1.1-*.tar.zst"), key=lambda path: path.stat().st_mtime)
    return newest.name.removeprefix("shop-").removesuffix(".tar.zst")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


@contextmanager
def place(name: str, hosts: int, rate: float, around: float) -> Iterator[Bench]:
    """A lab of its own; it goes down at the end."""
    try:
        # Seconds are compared with the seconds before: of a disk that stops meanwhile nothing else would be seen.
        lab, specs = lab_up.up(name, hosts=hosts, durable=False)
        edge = next(host for host in specs if host.role == "edge")
        single = next(host for host in specs if host.role == "app")
        database = next(host for host in specs if host.role == "db")
        with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
            urls = f"http://{edge.address}", f"http://{single.address}:8000"
            bench = Bench(lab, Path(folder), database, *urls, rate, around)
            build(bench)
            yield bench
    finally:
        lab_up.down(name)


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", default=",".join([*SCENARIOS, *FAULTS]), metavar="A,B", help="scenarios and faults (default: all)")
    add("--balancers", default="haproxy,nginx", metavar="A,B", help="of the scenarios (default: haproxy,nginx)")
    add("--rate", type=float, default=150.0, help="requests a second (default: 150)")
    add("--around", type=float, default=10.0, help="seconds of load before each task (default: 10)")
    add("--hosts", type=int, default=3, help="application hosts (default: 3)")
    add("--lab", default="zero", help="name of the lab (default: zero)")
    options = parser.parse_args()
    only = options.only.split(",")
    if unknown := [name for name in only if name not in (*SCENARIOS, *FAULTS)]:
        parser.error(f"--only: {', '.join(unknown)} is none of {', '.join([*SCENARIOS, *FAULTS])}")
    names = [name for name in only if name in SCENARIOS]
    good: list[list[str]] = []
    bad: list[list[str]] = []
    for number, kind in enumerate(options.balancers.split(",")):
        # Both would listen on the same port of the same edge.
        with place(options.lab, options.hosts, options.rate, options.around) as bench:
            good += good_releases(bench, [name for name in names if not number or name != "socket"], kind)
            bad += [] if number else [bad_release(bench, fault) for fault in only if fault in FAULTS]
    if good:
        sys.stdout.write(
            table(["task", "took", "requests", "failed", "p99 before", "p99 during", "ratio", "stolen"], good) + "\n"
        )
    if bad:
        sys.stdout.write(table(["fault", "", "users who met it", "gone after", "failed requests", "why"], bad))
    return 0


if __name__ == "__main__":
    sys.exit(main())
