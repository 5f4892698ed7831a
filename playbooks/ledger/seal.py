"""Who wrote a record: what is signed of it, and with what (G10).

A person's key signs once a task, before anything is touched: a *delegation*, which lets a key that lives in this
process's memory sign the task's records. So a security key is touched once, a record never waits for an agent that
has gone meanwhile, and what hosts write alone (a guard's undo, a task that was interrupted) is signed beforehand, for
each host its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from playbooks.core.sshsig import ED25519, PublicKey, envelope, packed, to_be_signed
from playbooks.fleet.lock_owner import LockOwner
from playbooks.ledger.chain import OWN

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# Two of them: what is signed as the one can never be shown as the other.
RECORDS = "slipway-ledger"
DELEGATIONS = "slipway-delegation"
SIGNATURE = "signature"
# What a host may add to a record that it writes alone; the record says which of them it leaves to the host.
BY_HOST = "by_host"
GUARD_ADDS = ("at", "status")  # an undo says when it was done, and whether it could be
HEAD_DIGITS = 32
NO_LINE = "start"  # the head of a ledger that is not there yet


class SigningKey(Protocol):
    """A key that can sign; ``public`` is its public half."""

    public: PublicKey

    def sign(self, data: bytes) -> bytes:
        """Sign, in SSH's format.

        Raises:
            SlipwayError: it does not.
        """


class TaskKey:
    """A key of one task, in memory only."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key: Ed25519PrivateKey = Ed25519PrivateKey.generate()
        self.public = PublicKey(packed(ED25519, self._key.public_key().public_bytes_raw()))

    def sign(self, data: bytes) -> bytes:
        """Sign, in SSH's format."""
        return packed(ED25519, self._key.sign(data))


def canonical(document: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: JSON with sorted keys and without blanks, in UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def content(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without what its host adds to it: the same on every host."""
    return {name: value for name, value in record.items() if name not in OWN}


def signed_part(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record's signature is over: its content, but for the signature and what is left to the host."""
    left = record.get(BY_HOST)
    added = [name for name in left if name in GUARD_ADDS] if isinstance(left, list) else []
    return {name: value for name, value in content(record).items() if name != SIGNATURE and name not in added}


def digest(record: Mapping[str, Any]) -> bytes:
    """What tells the contents of records apart: 16 bytes."""
    try:
        return hashlib.sha256(canonical(content(record))).digest()[:16]
    except (RecursionError, UnicodeEncodeError):
        return b"no such content!"


def head_of(line: bytes) -> str:
    """The name of a ledger's last line, by which all before it is known too.

    Args:
        line: with its newline.
    """
    return hashlib.sha256(line).hexdigest()[:HEAD_DIGITS]


def _signed(document: dict[str, Any], key: SigningKey, namespace: str) -> dict[str, Any]:
    message = to_be_signed(canonical(signed_part(document)), namespace)
    return {**document, SIGNATURE: envelope(key.public, key.sign(message), namespace)}


class Seal:
    """Makes one task's records, signed where there is a key.

    Args:
        environment, application: where it works; a record says so, so that it counts nowhere else.
        holder: the task.
        signer: the key that vouches for the task; None: nobody does.

    Raises:
        SlipwayError: the key does not sign.
    """

    def __init__(self, environment: str, application: str, holder: LockOwner, signer: SigningKey | None) -> None:
        self._where = {"environment": environment, "application": application}
        self._delegation: dict[str, Any] | None = None
        if signer is not None:
            self._key = TaskKey()
            about = {"task": holder.task, "id": holder.id, "by": holder.who, "since": holder.since}
            self._delegation = _signed({**self._where, **about, "key": str(self._key.public)}, signer, DELEGATIONS)

    def record(self, document: Mapping[str, Any], heads: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A record to be written.

        Args:
            document: what happened.
            heads: the ledgers' last lines that the task has seen, by host: none of them can be cut off unseen.
        """
        return self._made({**document, **self._where, "heads": dict(heads or {})})

    def left_to(self, host: str, document: Mapping[str, Any], adds: Sequence[str] = ()) -> dict[str, Any]:
        """A record that a host may write alone, should it have to.

        Args:
            host: which. It counts on no other.
            document: what the record is to say.
            adds: what the host adds, of `GUARD_ADDS`.
        """
        hosts = document.get("hosts", {host: str(document.get("status", ""))})
        return self._made({**document, **self._where, "hosts": hosts, BY_HOST: list(adds)})

    def _made(self, document: dict[str, Any]) -> dict[str, Any]:
        if self._delegation is None:
            return document
        return _signed({**document, "delegation": self._delegation}, self._key, RECORDS)
