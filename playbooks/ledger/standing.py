"""Check a record's standing: who signed it, for which environment, and for which host (G10)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from playbooks.core.sshsig import BadSignature, PublicKey, check, claimed, read_public_key
from playbooks.core.states import TaskStatus
from playbooks.ledger.keys import SIGNING, shown
from playbooks.ledger.seal import BY_HOST, DELEGATIONS, RECORDS, SIGNATURE, canonical, signed_part

# The fields in which a record and its delegation must agree.
ALIKE = ("environment", "application", "id", "by")
GUARD = "guard"  # the task of a record that a guard's undo writes


class Standing(StrEnum):
    """How far a record can be trusted."""

    TRUSTED = "trusted"  # signed by a signer
    UNTRUSTED = "untrusted"  # signed by another key, or no signers are set
    UNSIGNED = "unsigned"
    BROKEN = "signature"  # the signature does not match
    MISPLACED = "misplaced"  # a signer signed it for another place


@dataclass(frozen=True)
class RecordVerdict:
    """The standing of a record.

    Args:
        standing: its standing.
        key: the key that signed it.
        why: the problem, to follow "it is" or "its"; empty if there is none.
        by_host: whether its host wrote it alone, so that it is valid for that host only.
    """

    standing: Standing
    key: PublicKey | None = None
    why: str = ""
    by_host: bool = False

    @property
    def trusted(self) -> bool:
        """Return whether a signer has signed it."""
        return self.standing is Standing.TRUSTED


UNSIGNED = RecordVerdict(Standing.UNSIGNED, why="nobody has signed it")


class Verifier:
    """Checks an environment's records, each content once. Threads may share it.

    Args:
        signers: the trusted public keys, in the format of authorized_keys.
        environment, application: their names.
    """

    def __init__(self, signers: Sequence[str], *, environment: str, application: str) -> None:
        self._signers = {key.blob: key for key in map(read_public_key, signers)}
        self._here = {"environment": environment, "application": application}
        self._known: dict[bytes, RecordVerdict] = {}
        self._delegations: dict[bytes, tuple[PublicKey, PublicKey]] = {}
        self._guard = threading.Lock()

    @property
    def believes(self) -> bool:
        """Return whether there are signers."""
        return bool(self._signers)

    def judge(self, host: str, record: Mapping[str, Any], digest: bytes) -> RecordVerdict:
        """Return a record's standing on a host.

        Args:
            host: the record's host.
            record: the record on that host.
            digest: the hash of its content.
        """
        with self._guard:
            known = self._known.get(digest)
        if known is None:
            known = self._judge(record)
            with self._guard:
                self._known[digest] = known
        return known if not known.trusted or _names(record, host, alone=known.by_host) else _misplaced(record, known)

    def _judge(self, record: Mapping[str, Any]) -> RecordVerdict:
        signature, delegation = record.get(SIGNATURE), record.get("delegation")
        if signature is None and delegation is None:
            return UNSIGNED
        try:
            key = self._signer(record, signature, delegation)
        except (BadSignature, RecursionError, UnicodeEncodeError) as error:
            return RecordVerdict(Standing.BROKEN, why=f"its signature does not match: {error}")
        by_host = BY_HOST in record
        believed = self._signers.get(key.blob)
        if believed is None:
            return RecordVerdict(
                Standing.UNTRUSTED, key, f"it is signed by {shown(key)}, which is not trusted", by_host
            )
        if any(record.get(name) != value for name, value in self._here.items()):
            where = f"{record.get('application')} on {record.get('environment')}"
            return RecordVerdict(Standing.MISPLACED, believed, f"it was signed for {where}", by_host)
        return RecordVerdict(Standing.TRUSTED, believed, by_host=by_host)

    def _signer(self, record: Mapping[str, Any], signature: object, delegation: object) -> PublicKey:
        """Return who signed a record through the task's key. For an untrusted key the signature is not checked.

        Raises:
            BadSignature: the signature is invalid.
        """
        if not isinstance(signature, str) or not isinstance(delegation, dict):
            raise BadSignature("half of it is missing")
        by = claimed(str(delegation.get(SIGNATURE)))
        if self._signers and by.blob not in self._signers:
            return by  # Do not check it, because a hostile host may have any number of these.
        key, delegated = self._delegated(delegation)
        if check(signature, canonical(signed_part(record)), RECORDS) != delegated:
            raise BadSignature("the task's key has not made it")
        _require_alike(record, delegation)
        return key

    def _delegated(self, delegation: dict[str, Any]) -> tuple[PublicKey, PublicKey]:
        """Return who delegated, and to which key.

        Raises:
            BadSignature: the delegation's signature is invalid.
        """
        signature, signed = delegation.get(SIGNATURE), signed_part(delegation)
        if not isinstance(signature, str):
            raise BadSignature("its delegation is not signed")
        message = canonical(signed)
        name = message + signature.encode()
        with self._guard:
            known = self._delegations.get(name)
        if known is None:
            try:
                delegated = read_public_key(str(signed.get("key")))
            except ValueError:
                raise BadSignature("its delegation names no key") from None
            known = (check(signature, message, DELEGATIONS), delegated)
            with self._guard:
                self._delegations[name] = known
        return known


def _require_alike(record: Mapping[str, Any], delegation: Mapping[str, Any]) -> None:
    for name in ALIKE:
        if record.get(name) != delegation.get(name):
            raise BadSignature(f"its {name} is not the one that was delegated")
    task = record.get("task")
    if task != delegation.get("task") and not (task == GUARD and BY_HOST in record):
        raise BadSignature("its task is not the one that was delegated")


def _names(record: Mapping[str, Any], host: str, *, alone: bool) -> bool:
    """Return whether a record belongs on a host. A record that a host writes alone is about that host only."""
    hosts = record.get("hosts")
    return isinstance(hosts, dict) and host in hosts and (not alone or len(hosts) == 1)


def _misplaced(record: Mapping[str, Any], judged: RecordVerdict) -> RecordVerdict:
    hosts = record.get("hosts")
    names = ", ".join(map(str, hosts)) if isinstance(hosts, dict) else "no host"
    return RecordVerdict(
        Standing.MISPLACED, judged.key, f"it is about {names[:200]}, not about this host", judged.by_host
    )


def is_minor(record: Mapping[str, Any]) -> bool:
    """Return whether it only reports the interruption of a read-only task, which needs no signing key."""
    return record.get("status") == TaskStatus.INTERRUPTED and record.get("task") not in (*SIGNING, GUARD)
