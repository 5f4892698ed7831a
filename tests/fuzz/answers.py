"""What a hostile host may answer: every reader of answers ends in facts that can be used, or in a sentence."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from playbooks.core import names
from playbooks.core.errors import SlipwayError
from playbooks.core.invisible import visible
from playbooks.fleet import script as scripts
from playbooks.fleet.address import Address
from playbooks.fleet.failures import explain
from playbooks.fleet.lock_owner import read_lock_owner
from playbooks.fleet.progress import Silent
from playbooks.fleet.remote import Remote, StepCall
from playbooks.fleet.script import StepResult
from playbooks.fleet.session import Session
from playbooks.settings import Settings
from playbooks.steps.app_metrics import read_app_metrics
from playbooks.steps.backup import prove
from playbooks.steps.check_release import Checked, check_release
from playbooks.steps.facts import NOTHING, Facts, read_facts
from playbooks.steps.health import health_call, wait_until_healthy
from playbooks.steps.ledger import read_ledger
from playbooks.steps.promote import read_promote
from playbooks.steps.rendered import read_rendered
from playbooks.steps.retention import Expired, apply_retention
from playbooks.steps.signals import read_promotion, read_signals
from playbooks.steps.traffic_counts import Meter
from playbooks.steps.traffic_state import BalancerState, read_state
from tests.fuzz.mutate import NUMBERS, TEXTS, mutated
from tests.fuzz.nonsense import deep_json, document
from tests.fuzz.target import Violation, flaw_of, unprintable

_SETTINGS = Settings.model_validate({"app": "shop"})
_ADDRESS = Address("web1", "192.0.2.1")
_SHAPES = {
    "system": 3, "manager": 1, "memory": 2, "current": 2, "verified": 1, "lock": 1, "ledger": 2, "disk": 4,
    "interrupted": 1, "guard": 5, "moved": 3, "size": 1, "bytes": 1, "token": 1,
    "inodes": 3, "tool": 2, "release": 4, "unit": 5, "backup": 1, "verdict": 2, "check": 8, "record": 1, "file": 2,
    "error": 2, "promoted": 3, "busy": 1, "free": 0, "moment": 1, "journal": 2, "idle": 3, "idle_unit": 5, "kept": 1,
    "slot": 1, "stands": 1, "expired": 1, "strange": 1, "server": 10, "counter": 3, "counted": 3, "latency": 3,
    "epoch": 1, "cursor": 1, "version": 1, "maintenance": 1,
}  # fmt: skip
# What would do harm where it became an id, a file's name or a tag.
LIES = (
    "a/b", "../../../../etc/passwd", "1.5.0,app=other,id=x", "$(reboot)", "-rf", ".", "..", "*",
    "99991231T235958Z-9.9.9", "99991231T235959Z-9.9.9", "20261121T043100Z-../x", "20261121T043100Z-1,app=x",
    "20261121T043100Z-1.1.0\u00a0", "\uff12\uff10261121T043100Z-1.1.0", "-12", "20261321T043100Z-1.1.0",
)  # fmt: skip
_HONEST = b"""system\tDebian GNU/Linux 12 (bookworm)\t252\t1795235461
manager\trunning
token\t41
memory\t2048000\t1024000
disk\t/opt/shop\t20480000\t10240000\tyes
inodes\t/opt/shop\t1000000\t900000
disk\t/var/lib/slipway/shop\t20480000\t10240000\tyes
tool\trestic\tyes
current\t20261121T043100Z-1.1.0\t1795235400
unit\tshop.service\tactive\trunning\t0\t1795235461
release\t20261121T043100Z-1.1.0\tproven\t20261120T043100Z-1.0.0\t{"version":"1.1.0","by":"ann@laptop",\
"artifact":"a.tar",SUMS}
release\t20261120T043100Z-1.0.0\tproven\t\t{"version":"1.0.0","by":"ann@laptop",\
"artifact":"a.tar",SUMS}
backup\t{"id":"20261121T043000Z-1.0.0","created":"2026-11-21T04:30:00Z","kind":"application",\
"version":"1.0.0","snapshot":"0a1b2c3d","repository":"/r"}
interrupted\t{"who":"ann@laptop","what":"deploy 1.1.0","since":"2026-11-21T04:31:00Z",\
"id":"20261121T043100Z-1.1.0","task":"deploy","version":"1.1.0"}
idle\tblue\t20261120T043100Z-1.0.0\t1795235461
idle_unit\tshop@blue.service\tactive\trunning\t0\t1795235461
stands\t20261121T043000Z-1.0.0
expired\t20261121T043000Z-1.0.0
version\t2.6.12
maintenance\toff
server\tweb1\t192.0.2.1\t8000\t256\ton\ttester\tup\t3\t\t-
epoch\t1
cursor\t1:2
counter\tweb1\t100\t1
latency\tweb1\t10\t99
verified\t{"status":"PASSED","at":"2026-11-21T03:17:00Z"}
lock\t{"who":"ann@laptop","what":"deploy 1.1.0","since":"2026-11-21T04:31:00Z","id":"1"}
guard\tarmed\t20261121T043100Z-1.1.0\t20261120T043100Z-1.0.0\t60\t
moved\t20261121T043100Z-1.1.0\t20261120T043100Z-1.0.0\t20261121T043100Z-1.1.0
ledger\t{"prev":"start","id":"1"}\twhole
verdict\tyes\t1234
check\tversion\thttp\tyes\tyes\t1\t12\t200\t
record\t{"prev":"start","id":"1"}
file\tconfig/app.env\tUE9SVD04MDAwCg==
""".replace(b"SUMS", b'"sha256":"%b","config":"%b"' % (b"0" * 64, b"1" * 64))


@dataclass(frozen=True)
class Replays(Remote):
    """A session with a host that gives the same answer to every script."""

    said: bytes = b""

    def chain(self, asks: Sequence[StepCall]) -> Generator[StepResult, None, None]:
        for ask in asks:
            yield scripts.parse(self.name, ask.step, self.said, 0.0)


class Answers:
    """An input is what a host writes on standard output."""

    def make(self, rng: random.Random) -> bytes:
        """An honest answer damaged, records of nonsense, or both."""
        kind = rng.random()
        if kind < 0.4:
            return mutated(rng, _HONEST)
        if kind < 0.45:
            return rng.randbytes(rng.choice((0, 1, 100, 3000)))
        lines = _HONEST.split(b"\n")
        for _ in range(rng.choice((1, 1, 2, 5))):
            lines[rng.randrange(len(lines))] = _record(rng)
        data = b"\n".join(lines)
        return mutated(rng, data) if rng.random() < 0.2 else data

    def read(self, data: bytes) -> bool:
        """Let every reader read it.

        Raises:
            Violation: what one of them made of it cannot be used or shown.
        """
        remote = Replays(_ADDRESS, cast(Session, None), Silent(), said=data)
        readers: list[Callable[[], object]] = [
            lambda: read_facts(remote, "/opt/shop", _SETTINGS.state),
            lambda: wait_until_healthy(
                remote, health_call(_SETTINGS, units=[], release_folder="/opt/shop/current", secrets={})
            ),
            lambda: read_ledger(remote, _SETTINGS.state, lines=20),
            lambda: read_rendered(remote, _SETTINGS),
            lambda: read_lock_owner(_last_field(data)),
            lambda: check_release(remote, _SETTINGS, "20261121T043100Z-1.1.0"),
            lambda: prove(remote, _SETTINGS, "20261121T043100Z-1.1.0"),
            lambda: apply_retention(remote, _SETTINGS, [], {"restic_password": "x"}),
            lambda: read_state(_answer(data)),
            lambda: _counted(data),
            lambda: read_app_metrics(_answer(data)),
            lambda: read_signals(_answer(data)),
            lambda: read_promotion(_answer(data)),
            lambda: read_promote(_answer(data)),
            lambda: _explained(data),
        ]
        return sum(_accepted(reader) for reader in readers) > len(readers) // 2


def _accepted(reader: Callable[[], object]) -> bool:
    try:
        made = reader()
    except SlipwayError as error:
        if flaw := flaw_of(error):
            raise Violation(flaw) from None
        return False
    _usable(made)
    return True


def _answer(data: bytes) -> StepResult:
    return scripts.parse("web1", "facts", data, 0.0)


def _explained(data: bytes) -> object:
    """The error that a failed step becomes."""
    answer = _answer(data)
    raise explain(answer.host, "facts", answer, 1 + len(data) % 255, data[-3000:])


def _usable(made: object) -> None:
    """What the playbooks do with it all works: print it, put it into JSON, tell times and shares.

    Raises:
        Violation: something does not.
    """
    for text in _texts(made):
        shown = visible(text)
        if flaw := unprintable(shown):
            raise Violation(flaw)
        if any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in shown):
            raise Violation(f"{shown!r} steers the terminal")
    if flaw := unprintable(json.dumps(made, ensure_ascii=False, default=lambda one: list(_texts(one)))):
        raise Violation(f"as JSON it {flaw}")
    if isinstance(made, (Facts, Checked, Expired, BalancerState)):
        _harmless(made)
    if isinstance(made, Facts):
        _ = (made.version, made.current_release, [disk.used_percent for disk in made.disks])
        for moment in (made.host_time, made.switched_at or 0):
            datetime.fromtimestamp(moment, UTC)


def _harmless(made: Facts | Checked | Expired | BalancerState) -> None:
    """What becomes a file's name, a tag or an argument on other hosts is what its pattern says, and nothing else.

    Raises:
        Violation: something is not.
    """
    if isinstance(made, Facts):
        releases = [made.current, *made.releases, *(one.predecessor for one in made.releases.values())]
        releases += [made.last_switch.before, made.last_switch.after] if made.last_switch else []
        releases += [made.idle.release] if made.idle else []
        releases += [record.get("release") for record in made.backups]
        _all_fit(names.RELEASE, [one for one in releases if one not in (None, NOTHING)])
        _all_fit(names.VERSION, [one.version for one in made.releases.values()])
        _all_fit(names.BACKUP, [record["id"] for record in made.backups])
        _all_fit(names.SNAPSHOT, [record["snapshot"] for record in made.backups])
        _all_fit(names.UNIT, [unit.name for unit in made.units])
        _all_fit(names.SLOT, [one.slot for one in made.releases.values() if one.slot])
        now = datetime.now(UTC)
        if made.interrupted is not None and not made.interrupted.is_sound(now):
            raise Violation("an interrupted task that cannot have been is gone by")
        if (following := names.after(made.releases, now)) and names.is_ahead(following, now + timedelta(seconds=1)):
            raise Violation(f"the next release would be named {following}")
    elif isinstance(made, Checked):
        _all_fit(names.UNIT, made.units)
    elif isinstance(made, Expired):
        _all_fit(names.BACKUP, made.ids)
    elif any(server.weight > 256 for server in made.servers.values()):
        raise Violation("a server outweighs all others")


def _all_fit(pattern: re.Pattern[str], values: Sequence[object]) -> None:
    for value in values:
        if not (isinstance(value, str) and pattern.fullmatch(value)):
            raise Violation(f"{value!r} is gone by")


def _counted(data: bytes) -> object:
    """What two looks at a balancer's numbers come to."""
    meter = Meter()
    meter.feed(_answer(data))
    counts = meter.feed(_answer(data))
    for count in counts.values():
        if not 0 <= count.errors <= count.requests or any(number < 0 for number in count.latencies.values()):
            raise Violation(f"{count} cannot be")
    return list(counts)


def _texts(made: Any) -> Iterator[str]:
    if isinstance(made, str):
        yield made
    elif is_dataclass(made):
        for field in fields(made):
            yield from _texts(getattr(made, field.name))
    elif isinstance(made, dict):
        yield from _texts(list(made))
        yield from _texts(list(made.values()))
    elif isinstance(made, (list, tuple)):
        for one in made:
            yield from _texts(one)


def _record(rng: random.Random) -> bytes:
    tag, width = rng.choice(list(_SHAPES.items()))
    width += rng.choice((0, 0, 0, 0, -1, 1, 40))
    return "\t".join([tag, *(_field(rng) for _ in range(width))]).encode("utf-8", "surrogatepass")


def _field(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(NUMBERS)
    if kind < 0.3:
        return str(rng.choice((1, -1)) * 10 ** rng.randrange(30))
    if kind < 0.4:
        return rng.choice(TEXTS)
    if kind < 0.45:
        return rng.choice(LIES)
    if kind < 0.48:
        return deep_json(rng)
    if kind < 0.8:
        return json.dumps(document(rng), ensure_ascii=rng.random() < 0.7)
    return rng.choice(("yes", "no", "proven", "staged", "", "-", "1", "20261121T043100Z-1.1.0", "active"))


def _last_field(data: bytes) -> str:
    return data.decode("utf-8", "replace").rstrip("\n").rpartition("\n")[2].rpartition("\t")[2]
