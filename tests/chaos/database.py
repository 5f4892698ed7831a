"""A database that releases migrate, broken in the middle: what must be so of it, seen by psql on its host."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.network import ssh
from lab.spec import HostSpec, Lab
from tests.chaos.fleet_view import look

# One is a transaction. Of the other, each statement stays.
MIGRATIONS = {
    "001_items.up.sql": "create table items (id int primary key, name text);\n"
    "insert into items select g, 'item ' || g from generate_series(1, 2000) g;\n",
    "001_items.down.sql": "drop table items;\n",
    "002_names.up.sql": "-- slipway: no-transaction\ncreate index concurrently by_name on items (name);\n"
    "create table log (line text);\n",
    "002_names.down.sql": "drop index by_name;\ndrop table log;\n",
}
_SCRIPT = r"""
app=$1
ask() { runuser -u postgres -- psql -XAtq -d "${2:-$app}" -c "$1"; }
locks="select from pg_locks where locktype = 'advisory' and classid = 1936484720"
[ "$(ask "select exists ($locks)")" = f ] || echo 'left the lock of migrations'
for name in $(ask "select datname from pg_database where datname like 'slipway%'" postgres); do
    echo "left database $name"
done
recorded() {
    [ "$(ask "select to_regclass('slipway.migrations') is not null")" = t ] || return 0
    ask "select case state when 'applied' then statements when 'reverted' then 0
            else case direction when 'up' then statement else statements - statement end end
        from slipway.migrations where id = '$1'"
}
has() {
    ask "select count(*) from pg_class c left join pg_index i on i.indexrelid = c.oid
        where relname = any (string_to_array('$1', ',')) and coalesce(i.indisvalid, true)"
}
first=$(recorded 001) second=$(recorded 002) tables=$(has items) parts=$(has by_name,log)
[ "$tables" -eq $((${first:-0} / 2)) ] || echo "wrong: $first of 001_items are recorded, and $tables tables are there"
[ "$parts" -eq "${second:-0}" ] || echo "wrong: $second of 002_names are recorded, and $parts parts are there"
[ "$tables" -eq 0 ] || [ "$(ask 'select count(*) from items')" -eq 2000 ] || echo 'wrong: rows of items are lost'
"""


@dataclass(frozen=True)
class Database:
    """The database of an application, with its name.

    Args:
        host: where its server runs, and whose psql Slipway uses.
    """

    host: HostSpec

    def settings(self, app: str) -> dict[str, Any]:
        """What an inventory says of it."""
        migrations = {"folder": "db", "lock_timeout": "1s", "patience": "10s"}
        owned = {"owner": f"{app}o", "owner_password": "restic", "migrations": migrations}
        return {"databases": [{"name": app, "via": self.host.name, **owned}]}

    def write(self, folder: Path) -> None:
        """Write the migrations into a release's folder."""
        place = folder / "db"
        place.mkdir(exist_ok=True)
        for name, text in MIGRATIONS.items():
            (place / name).write_text(text)

    def wrongs(self, lab: Lab, app: str) -> list[str]:
        """What must not be so, once the host has ended what it had begun."""
        return [line for line in self._look(lab, app) if not line.startswith("left database")]

    def leftovers(self, lab: Lab, app: str) -> list[str]:
        """What no finished task leaves behind."""
        (seen,) = look(lab, [self.host], app, ()).values()
        return [*self._look(lab, app), *(f"{self.host.name}: {left}" for left in seen.leftovers)]

    def _look(self, lab: Lab, app: str) -> list[str]:
        words = [*ssh(lab, self.host), f"sudo sh -s {app}"]
        try:
            done = subprocess.run(words, input=_SCRIPT, capture_output=True, text=True, timeout=15, check=False)
        except subprocess.TimeoutExpired:
            return ["the database cannot be looked at"]
        return (done.stdout + done.stderr).splitlines()
