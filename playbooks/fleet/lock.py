"""One deploy at a time: a lock on every host, held through a live SSH channel, so that it cannot go stale (A1)."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass

import paramiko

from playbooks.errors import Locked, Unreachable
from playbooks.fleet import script as scripts
from playbooks.fleet.remote import Remote

MOST_ANSWER = 65536


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Args:
        who: user@machine.
        what: the task, e.g. "deploy 1.1.0".
        since: UTC, as 2026-11-21T04:31:00Z.
        id: the deploy's id.
    """

    who: str
    what: str
    since: str
    id: str

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.__dict__, ensure_ascii=False)


def read_holder(text: str) -> Holder:
    """Read what a host says of the holder; a host that says nonsense gives an unknown holder, not an error."""
    with contextlib.suppress(ValueError, TypeError):
        data = json.loads(text)
        return Holder(*(str(data.get(key, "?"))[:200] for key in ("who", "what", "since", "id")))
    return Holder("somebody", "something", "?", "?")


@dataclass(frozen=True)
class Lock:
    """A lock held on one host; it ends with `release` or with the session.

    Args:
        current: the release that is current there now that nobody else can change it.
    """

    host: str
    channel: paramiko.Channel
    current: str | None

    def release(self) -> None:
        """Let go."""
        with contextlib.suppress(Exception):
            self.channel.shutdown_write()
            self.channel.settimeout(5)
            while self.channel.recv(1024):
                pass
        with contextlib.suppress(Exception):
            self.channel.close()


def take(remote: Remote, state: str, home: str, holder: Holder, *, wait: float) -> Lock:
    """Take the lock on one host.

    Args:
        remote: the host.
        state, home: the application's folders there.
        holder: who we are, for others to read.
        wait: seconds to wait for another holder; a fraction rides out a mere look at the lock.

    Raises:
        Locked: somebody else has it.
    """
    script = scripts.load("lock")
    channel = remote.open(script.command([state, f"{max(wait, 0.5):g}", holder.to_json(), home]))
    line = bytearray()
    try:
        channel.settimeout(wait + 30)
        channel.sendall(remote.preamble() + script.text)
        while not line.endswith(b"\n") and len(line) < MOST_ANSWER:
            byte = channel.recv(1)
            if not byte:
                break
            line += byte
    except (OSError, EOFError, paramiko.SSHException) as error:
        channel.close()
        raise Unreachable(f"the connection broke while taking the lock: {error}", host=remote.name) from None
    answer = scripts.parse(remote.name, "lock", bytes(line), 0.0)
    locked = answer.maybe("locked", 1)
    if locked is not None:
        return Lock(remote.name, channel, locked[0] if locked[0] != "-" else None)
    held = answer.maybe("held", 1)
    if held is None:
        errors = channel.recv_stderr(4096) if channel.recv_stderr_ready() else b""
        status = channel.recv_exit_status()
        channel.close()
        raise remote.explain("lock", answer, status, errors)
    channel.close()
    other = read_holder(held[0])
    raise Locked(
        f"{other.who} has held the lock since {other.since} for '{other.what}'",
        host=remote.name,
        hint="wait for it with --wait=SECONDS; the lock ends by itself with its holder, there is nothing to delete",
    )
