"""Whether a record counts: who signed it, for which environment, and whether it is in its own place (G10)."""

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

# What a record and its delegation must say alike.
ALIKE = ("environment", "application", "id", "by")
GUARD = "guard"  # the task of a record that a guard's undo writes


class Standing(StrEnum):
    """What a record is worth."""

    TRUSTED = "trusted"  # signed by one of the signers
    UNTRUSTED = "untrusted"  # signed by somebody else, or there are no signers
    UNSIGNED = "unsigned"
    BROKEN = "signature"  # the signature does not match
    MISPLACED = "misplaced"  # one of the signers signed it for somewhere else


@dataclass(frozen=True)
class RecordVerdict:
    """A record's standing.

    Args:
        standing: what it is worth.
        key: who signed it.
        why: what is wrong with it, to follow "it is" or "its"; empty where nothing is.
        by_host: whether its host wrote it alone: it counts for that host only.
    """

    standing: Standing
    key: PublicKey | None = None
    why: str = ""
    by_host: bool = False

    @property
    def trusted(self) -> bool:
        """Whether one of the signers vouches for it."""
        return self.standing is Standing.TRUSTED


UNSIGNED = RecordVerdict(Standing.UNSIGNED, why="nobody has signed it")


class Verifier:
    """Judges an environment's records; each content once. Threads may share it.

    Args:
        signers: the public keys that are believed, as authorized_keys has them.
        environment, application: whose records.
    """

    def __init__(self, signers: Sequence[str], *, environment: str, application: str) -> None:
        self._signers = {key.blob: key for key in map(read_public_key, signers)}
        self._here = {"environment": environment, "application": application}
        self._known: dict[bytes, RecordVerdict] = {}
        self._delegations: dict[bytes, tuple[PublicKey, PublicKey]] = {}
        self._guard = threading.Lock()

    @property
    def believes(self) -> bool:
        """Whether there are signers."""
        return bool(self._signers)

    def judge(self, host: str, record: Mapping[str, Any], digest: bytes) -> RecordVerdict:
        """A record's standing on a host.

        Args:
            host: where it stands.
            record: as it stands there.
            digest: of its content.
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
        """Who has signed a record, by way of the task's key; who is not trusted is only known to be named.

        Raises:
            BadSignature: nobody has.
        """
        if not isinstance(signature, str) or not isinstance(delegation, dict):
            raise BadSignature("half of it is missing")
        by = claimed(str(delegation.get(SIGNATURE)))
        if self._signers and by.blob not in self._signers:
            return by  # It is not worth the work of checking it: a hostile host may have any number of these.
        key, delegated = self._delegated(delegation)
        if check(signature, canonical(signed_part(record)), RECORDS) != delegated:
            raise BadSignature("the task's key has not made it")
        _require_alike(record, delegation)
        return key

    def _delegated(self, delegation: dict[str, Any]) -> tuple[PublicKey, PublicKey]:
        """Who delegated, and to which key.

        Raises:
            BadSignature: nobody has signed it.
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
    """Whether a record says that it belongs on a host: what a host writes alone is about that host alone."""
    hosts = record.get("hosts")
    return isinstance(hosts, dict) and host in hosts and (not alone or len(hosts) == 1)


def _misplaced(record: Mapping[str, Any], judged: RecordVerdict) -> RecordVerdict:
    hosts = record.get("hosts")
    names = ", ".join(map(str, hosts)) if isinstance(hosts, dict) else "no host"
    return RecordVerdict(
        Standing.MISPLACED, judged.key, f"it is about {names[:200]}, not about this host", judged.by_host
    )


def is_minor(record: Mapping[str, Any]) -> bool:
    """Whether it only says that a task was interrupted which changes nothing: such a task need not be able to sign."""
    return record.get("status") == TaskStatus.INTERRUPTED and record.get("task") not in (*SIGNING, GUARD)
