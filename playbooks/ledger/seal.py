"""Sign records, so that a reader knows who wrote them (G10).

A person's key signs once for each task, before the task changes anything: a *delegation*, which lets a key in this
process's memory sign the task's records. So a person touches a security key once, a record never waits for an agent
that is gone, and records that hosts write alone (a guard's undo, an interrupted task) are signed in advance, for
each host separately.
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

# Two namespaces, so that a signature for one purpose is invalid for the other.
RECORDS = "slipway-ledger"
DELEGATIONS = "slipway-delegation"
SIGNATURE = "signature"
# The fields that a host may add to a record that it writes alone; the record lists those that it allows.
BY_HOST = "by_host"
GUARD_ADDS = ("at", "status")  # a guard adds the time and the result
HEAD_DIGITS = 32
NO_LINE = "start"  # the head of an empty ledger


class SigningKey(Protocol):
    """A key that can sign; ``public`` is its public half."""

    public: PublicKey

    def sign(self, data: bytes) -> bytes:
        """Sign, in SSH's format.

        Raises:
            SlipwayError: the key cannot sign.
        """


class TaskKey:
    """A key for one task, only in memory."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key: Ed25519PrivateKey = Ed25519PrivateKey.generate()
        self.public = PublicKey(packed(ED25519, self._key.public_key().public_bytes_raw()))

    def sign(self, data: bytes) -> bytes:
        """Sign, in SSH's format."""
        return packed(ED25519, self._key.sign(data))


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the bytes to sign: JSON with sorted keys, without blanks, in UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def content(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without the fields that its host adds; the rest is the same on every host."""
    return {name: value for name, value in record.items() if name not in OWN}


def signed_part(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the signed part of a record: its content without the signature and the host's fields."""
    left = record.get(BY_HOST)
    added = [name for name in left if name in GUARD_ADDS] if isinstance(left, list) else []
    return {name: value for name, value in content(record).items() if name != SIGNATURE and name not in added}


def digest(record: Mapping[str, Any]) -> bytes:
    """Return a hash of a record's content: 16 bytes."""
    try:
        return hashlib.sha256(canonical(content(record))).digest()[:16]
    except (RecursionError, UnicodeEncodeError):
        return b"no such content!"


def head_of(line: bytes) -> str:
    """Return the hash of a ledger's last line, which also covers all lines before it.

    Args:
        line: the line with its newline.
    """
    return hashlib.sha256(line).hexdigest()[:HEAD_DIGITS]


def _signed(document: dict[str, Any], key: SigningKey, namespace: str) -> dict[str, Any]:
    message = to_be_signed(canonical(signed_part(document)), namespace)
    return {**document, SIGNATURE: envelope(key.public, key.sign(message), namespace)}


class Seal:
    """Makes the records of a task, and signs them if there is a key.

    Args:
        environment, application: their names, which each record contains, so that it is invalid elsewhere.
        owner: the task's lock owner.
        signer: the key that signs the delegation; None signs nothing.

    Raises:
        SlipwayError: the key cannot sign.
    """

    def __init__(self, environment: str, application: str, owner: LockOwner, signer: SigningKey | None) -> None:
        self._where = {"environment": environment, "application": application}
        self._delegation: dict[str, Any] | None = None
        if signer is not None:
            self._key = TaskKey()
            about = {"task": owner.task, "id": owner.id, "by": owner.who, "since": owner.since}
            self._delegation = _signed({**self._where, **about, "key": str(self._key.public)}, signer, DELEGATIONS)

    def record(self, document: Mapping[str, Any], heads: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Make a record.

        Args:
            document: the record's fields.
            heads: the last lines of ledgers that the task has seen, by host, which makes a later cut detectable.
        """
        return self._made({**document, **self._where, "heads": dict(heads or {})})

    def left_to(self, host: str, document: Mapping[str, Any], adds: Sequence[str] = ()) -> dict[str, Any]:
        """Make a record that a host may write alone later.

        Args:
            host: the host. The record is invalid on any other.
            document: the record's fields.
            adds: the fields that the host may add, from `GUARD_ADDS`.
        """
        hosts = document.get("hosts", {host: str(document.get("status", ""))})
        return self._made({**document, **self._where, "hosts": hosts, BY_HOST: list(adds)})

    def _made(self, document: dict[str, Any]) -> dict[str, Any]:
        if self._delegation is None:
            return document
        return _signed({**document, "delegation": self._delegation}, self._key, RECORDS)
