"""What a deploy's backup of a database costs, by a dump and by pgBackRest. Prints a Markdown table.

    python -m bench.database_backup                    # 256 MB, three deploys each
    python -m bench.database_backup --megabytes=2048

The same database is backed up by each method in turn. A fiftieth changes before each deploy; half of it compresses.
Root, Debian 12; see docs/lab.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import yaml

from bench.place import tell
from bench.zero_downtime import INVOKE, table
from lab import shell
from lab import up as lab_up
from lab.network import ssh
from lab.spec import PROJECT, HostSpec, Lab

PORT = 5444
METHODS: dict[str, dict[str, Any] | None] = {
    "no database": None,
    "dump": {"method": "dump"},
    "pgbackrest": {"method": "pgbackrest", "stanza": "bench"},
}
SERVER = f"""
set -eu
cat >/etc/pgbackrest.conf <<'END'
[global]
repo1-path=/var/lib/pgbackrest
repo1-retention-full=2
start-fast=y
compress-type=zst
compress-level=1
process-max=2
[bench]
pg1-path=/var/lib/postgresql/15/bench
pg1-port={PORT}
END
pg_createcluster 15 bench --port {PORT} >/dev/null
cat >>/etc/postgresql/15/bench/postgresql.conf <<'END'
archive_mode = on
archive_command = 'pgbackrest --stanza=bench archive-push %p'
max_wal_size = 2GB
END
systemctl daemon-reload
systemctl start postgresql@15-bench
"""
# Eight bytes of a kilobyte are the key; half of the rest is random.
FILL = """create database bench;
\\connect bench
create table pages as select i,
    (select string_agg(md5(random()::text || n || i), '') from generate_series(1, 15) n) as text,
    repeat('slipway ', 60) as more from generate_series(1, {rows}) i;
alter table pages alter more set storage plain;
alter table pages add primary key (i);
vacuum analyze pages;
checkpoint;
select pg_size_pretty(pg_database_size('bench'));
"""
CHANGE = "update pages set text = reverse(text) where i % 50 = {turn};"


@dataclass(frozen=True)
class Bench:
    """Where it happens: a lab with one application host, and the folder of its inventory and artifacts."""

    lab: Lab
    folder: Path
    database: HostSpec

    def on_database(self, script: str) -> str:
        """Run a script as root on the database's host."""
        return shell.run([*ssh(self.lab, self.database), "sudo sh"], stdin=script)

    def sql(self, statements: str) -> str:
        """Run SQL as the server's user."""
        return self.on_database(
            f"cd / && runuser -u postgres -- psql -XAtqv ON_ERROR_STOP=1 -p {PORT} <<'END'\n{statements}\nEND"
        )

    def write(self, method: dict[str, Any] | None) -> None:
        """The environment with this method."""
        place = self.folder / "inventory" / "group_vars"
        place.mkdir(parents=True, exist_ok=True)
        (self.folder / "inventory/hosts.yml").write_text((self.lab.folder / "inventory/hosts.yml").read_text())
        secret = self.folder / "restic"
        secret.touch(mode=0o600)
        secret.write_text("for-the-bench-only\n")
        database = {"name": "bench", "via": "db", "port": PORT, "backup": method}
        settings: dict[str, Any] = {
            "slipway_app": "bench",
            "slipway_hosts": "app",
            "slipway_user": "www-data",
            "slipway_artifact": f"{self.folder}/bench-{{version}}.tar.gz",
            "slipway_secrets": {"restic_password": {"file": str(secret)}},
            "slipway_timeouts": {"command": "1h"},
            "slipway_services": [
                {"name": "bench", "unit": {"Service": {"ExecStart": "/usr/bin/python3 -m http.server 8000"}}}
            ],
            "slipway_health": {"interval": "200ms", "checks": [{"type": "tcp", "port": 8000}]},
            "slipway_databases": [database] if method else [],
        }
        (place / "all.yml").write_text(yaml.safe_dump(settings))

    def invoke(self, *words: str) -> dict[str, Any]:
        """Run a task that must end well; returns its document."""
        command = [str(INVOKE), *words, f"--env={self.folder}/inventory", "--json"]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"invoke {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def deploy(self, number: int) -> tuple[float, float]:
        """Deploy the next version; returns the seconds of the deploy, and of the backup on the database's host."""
        version = f"1.{number}.0"
        with tarfile.open(self.folder / f"bench-{version}.tar.gz", "w:gz") as tar:
            info = tarfile.TarInfo("VERSION")
            info.size = len(version)
            tar.addfile(info, BytesIO(version.encode()))
        seconds = self.invoke("deploy", f"--version={version}")["seconds"]
        records = [one for one in self.invoke("backups")["backups"] if one["host"] == self.database.name]
        newest = max(records, key=lambda one: str(one["id"]), default=None)
        return float(seconds), float(newest["seconds"]) if newest else 0.0


@contextmanager
def place(name: str) -> Iterator[Bench]:
    """A lab of its own, with a disk that counts; it goes down at the end."""
    try:
        lab, specs = lab_up.up(name, hosts=1)
        database = next(host for host in specs if host.role == "db")
        with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
            bench = Bench(lab, Path(folder), database)
            bench.on_database(SERVER)
            yield bench
    finally:
        lab_up.down(name)


def main() -> int:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256, help="size of the database (default: 256)")
    parser.add_argument("--rounds", type=int, default=3, help="deploys by each method (default: 3)")
    parser.add_argument("--lab", default="dbcost", help="name of the lab (default: dbcost)")
    options = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in METHODS}
    with place(options.lab) as bench:
        tell(f"a database of {options.megabytes} MB")
        tell(bench.sql(FILL.format(rows=options.megabytes * 1024)).strip())
        number = 0
        for name, method in METHODS.items():
            bench.write(method)
            bench.invoke("provision")
            # The first one makes the repository, and what the others add to.
            for turn in range(options.rounds + 1):
                bench.sql("\\connect bench\n" + CHANGE.format(turn=number % 50))
                number += 1
                took = bench.deploy(number)
                tell(f"{name}: deploy {took[0]:.1f} s, backup of the database {took[1]:.2f} s")
                taken[name] += [took] if turn else []
    least = statistics.median(deploy for deploy, _ in taken["no database"])
    rows = [
        [
            name,
            f"{statistics.median(deploy for deploy, _ in each):.1f} s",
            f"{statistics.median(backup for _, backup in each):.1f} s" if METHODS[name] else "–",
            f"{statistics.median(deploy for deploy, _ in each) - least:.1f} s" if METHODS[name] else "–",
        ]
        for name, each in taken.items()
    ]
    head = ["method", "deploy", "backup on the database's host", "more than without"]
    sys.stdout.write(table(head, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
