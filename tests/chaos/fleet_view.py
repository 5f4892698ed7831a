"""What is on the hosts of an application, seen without Slipway: over plain ssh, by a script of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab.network import ssh
from lab.spec import HostSpec, Lab

_SCRIPT = r"""
app=$1 home=/opt/$1 state=/var/lib/slipway/$1
release=$(readlink "$home/current" || echo -)
version=$(cat "$home/current/VERSION" 2>/dev/null || echo -)
echo "version $version"
shift
serves=-
beside=-
for port in "$@"; do
    answer=$(curl --silent --max-time 2 "http://127.0.0.1:$port/VERSION" || echo -)
    if [ "$serves" = - ] || [ "$answer" = "$version" ]; then beside=$serves serves=$answer; else beside=$answer; fi
done
echo "serves $serves"
echo "beside $beside"
damaged() { cd "$home/current" && sha256sum --check --quiet --strict .slipway/manifest 2>&1 | head -n 1; }
echo "whole $([ "$release" = - ] || damaged)"
if [ -s "$state/lock" ] && flock --nonblock "$state/lock" true; then echo "interrupted yes"; fi
flock --nonblock "$state/lock" true 2>/dev/null || [ ! -e "$state/lock" ] || echo "left lock is held"
for path in "$state/guard" "$state/guard.new" "$home"/releases/.incoming* "$state/backup.d" "$state"/retention.* \
    "$state/slipway-drill-$app"/* "$home/.current.new" /run/slipway/switch.*; do
    [ ! -e "$path" ] || echo "left $path"
done
# Without --all: systemd remembers a guard whose files are gone until its next daemon-reload, and does nothing with it.
for unit in $(systemctl list-units --plain --no-legend "slipway-guard-$app-*" "slipway-$app-*" | cut -d ' ' -f 1); do
    echo "left unit $unit"
done
units=/etc/systemd/system
for file in "$units/slipway-guard-$app"-* "$units/timers.target.wants/slipway-guard-$app"-*; do
    [ ! -e "$file" ] && [ ! -L "$file" ] || echo "left $file"
done
for release in "$home"/releases/*/; do
    [ -d "$release" ] || continue
    [ -e "$release/.slipway/proven" ] || [ "${release%/}" = "$(readlink -f "$home/current")" ] || echo "left $release"
done
"""


@dataclass(frozen=True)
class Seen:
    """One host.

    Args:
        version: of the current release; None if there is none.
        serves: the version that answers on the application's port; of two ports the one where the current one does.
        beside: the version that answers on the other port.
        damaged: the first file of the current release that is not what its manifest says.
        interrupted: whether the lock's last owner was interrupted.
        leftovers: what no finished task leaves behind.
        reached: whether it could be looked at.
    """

    version: str | None = None
    serves: str | None = None
    beside: str | None = None
    damaged: str = ""
    interrupted: bool = False
    leftovers: tuple[str, ...] = ()
    reached: bool = True

    def wrongs(self) -> list[str]:
        """What must not be so once the guards have had their time. Rubbish of staging may wait for the next task."""
        found = [] if self.reached else ["cannot be reached"]
        if self.version != self.serves:
            found.append(f"{self.version} is current and {self.serves} answers")
        if self.damaged:
            found.append(f"its release is damaged: {self.damaged}")
        return found + [left for left in self.leftovers if "guard" in left or "lock" in left or "unit" in left]


def look(lab: Lab, hosts: Sequence[HostSpec], app: str, ports: Sequence[int]) -> dict[str, Seen]:
    """Look at every host, side by side."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        seen = pool.map(lambda host: _look(lab, host, app, ports), hosts)
        return dict(zip((host.name for host in hosts), seen, strict=True))


def _look(lab: Lab, host: HostSpec, app: str, ports: Sequence[int]) -> Seen:
    words = [*ssh(lab, host), f"sudo sh -s {app} {' '.join(map(str, ports))}"]
    try:
        done = subprocess.run(words, input=_SCRIPT, capture_output=True, text=True, timeout=15, check=False)
    except subprocess.TimeoutExpired:
        return Seen(reached=False)
    if done.returncode == 255:
        return Seen(reached=False)
    lines = [line.partition(" ")[::2] for line in done.stdout.splitlines()]
    said = dict(lines)
    return Seen(
        version=_some(said.get("version", "-")),
        serves=_some(said.get("serves", "-")),
        beside=_some(said.get("beside", "-")),
        damaged=said.get("whole", ""),
        interrupted=said.get("interrupted") == "yes",
        leftovers=tuple(value for tag, value in lines if tag == "left"),
    )


def _some(text: str) -> str | None:
    return None if text in ("-", "") else text
