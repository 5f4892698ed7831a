"""Whether every backup that was ever recorded can still be had, asked of restic itself."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from lab.network import ssh
from lab.spec import HostSpec, Lab

_SCRIPT = r"""
app=$1
export RESTIC_PASSWORD=matrix RESTIC_REPOSITORY=/var/backups/$1
[ -e "$RESTIC_REPOSITORY/config" ] || exit 0
said=$(restic --no-cache check --read-data 2>&1) || echo "the repository is damaged: $said"
snapshots=$(restic --no-cache snapshots --json | jq -r '.[].id')
for record in /var/lib/slipway/"$app"/backups/*.json; do
    [ -e "$record" ] || continue
    snapshot=$(jq -r .snapshot "$record")
    echo "$snapshots" | grep -q "^$snapshot" || echo "$record has no snapshot"
done
"""


def damage_of_backups(lab: Lab, hosts: Sequence[HostSpec], app: str) -> list[str]:
    """What is wrong with them, as sentences."""
    found = []
    for host in hosts:
        words = [*ssh(lab, host), f"sudo sh -s {app}"]
        done = subprocess.run(words, input=_SCRIPT, capture_output=True, text=True, check=False)
        found += [f"{host.name}: {line}" for line in (done.stdout + done.stderr).splitlines()]
    return found
