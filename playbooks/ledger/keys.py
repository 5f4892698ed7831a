"""Find the key that signs for a task: the person's in an SSH agent, or the environment's."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from playbooks.core.errors import ConfigError, UsageError
from playbooks.core.sshsig import KINDS, RSA, BadSignature, PublicKey, read_public_key, require_made_by
from playbooks.fleet.lock_owner import CHANGES, LockOwner
from playbooks.ledger.agent import RSA_SHA2_512, NoAnswer, agent_keys, agent_signature
from playbooks.ledger.seal import Seal, SigningKey

if TYPE_CHECKING:
    import paramiko

    from playbooks.adapters.secrets.sources import Secrets
    from playbooks.settings.ledger import LedgerSettings

AGENT_SECONDS = 10.0
TOUCH_SECONDS = 60.0
# The tasks that write a record. Other tasks leave only a note of an interruption, which needs no signature.
SIGNING = (*CHANGES, "migrate", "rehearse", "exec", "console", "repair")


class _InAgent:
    """A key in the SSH agent."""

    def __init__(self, public: PublicKey) -> None:
        self.public = public

    def sign(self, data: bytes) -> bytes:
        """Sign in SSH's format.

        Raises:
            UsageError: the agent refuses, or nobody touches the key in time.
        """
        seconds = TOUCH_SECONDS if self.public.touched else AGENT_SECONDS
        flags = RSA_SHA2_512 if self.public.kind == RSA else 0
        try:
            signature = agent_signature(self.public, data, flags=flags, seconds=seconds)
            require_made_by(self.public, signature, data)  # an old agent ignores the flags and signs with SHA-1
        except (NoAnswer, BadSignature) as error:
            raise UsageError(
                f"the SSH agent did not sign with {shown(self.public)}: {error}. This task could not sign its record; "
                "nothing was touched",
                hint="see: ssh-add -l; a security key waits for a touch, and an agent may be locked (ssh-add -X)",
            ) from None
        return signature


class _OfEnvironment:
    """The environment's key, with its private half in memory."""

    def __init__(self, key: paramiko.PKey, name: str) -> None:
        self.public = PublicKey(key.asbytes(), f"secret {name}")
        self._key = key

    def sign(self, data: bytes) -> bytes:
        """Sign in SSH's format."""
        return self._key.sign_ssh_data(data, "rsa-sha2-512" if self.public.kind == RSA else None).asbytes()


def shown(key: PublicKey) -> str:
    """Describe a key for a person: its fingerprint and its comment."""
    return f"{key.fingerprint} ({key.comment})" if key.comment else key.fingerprint


def find_key(settings: LedgerSettings, secrets: Secrets) -> SigningKey | None:
    """Find the key that signs for this environment.

    It tries the agent's keys in the agent's order, then the environment's key. It takes the first that is among the
    signers; if no signers are set, the first that signs without a touch.

    Args:
        settings: the settings with the signers.
        secrets: the secrets with the environment's key.

    Returns:
        The key; None if there is none and none is required.

    Raises:
        UsageError: no key here may sign, and records must be signed.
        ConfigError: the environment's key cannot be used.
    """
    signers = [read_public_key(line) for line in settings.signers]
    named = {key.blob: key for key in signers}
    seen: list[PublicKey] = []
    for key in _candidates(settings, secrets):
        seen.append(key.public)
        if (not signers and not key.public.touched) or key.public.blob in named:
            return key
    if settings.required:
        raise _nobody(signers, seen)
    return None


def _nobody(signers: Sequence[PublicKey], seen: Sequence[PublicKey]) -> UsageError:
    have = ", ".join(shown(key) for key in seen) or "none"
    may = ", ".join(shown(key) for key in signers)
    who = f"; slipway_ledger.signers has {may}" if signers else ""
    return UsageError(
        f"this task's record could not be signed: of the keys that are here ({have}) none may{who}; "
        "nothing was touched",
        hint="ssh-add the key, or set slipway_ledger.key; see docs/history.md",
    )


def _candidates(settings: LedgerSettings, secrets: Secrets) -> Iterator[SigningKey]:
    try:
        held = agent_keys(AGENT_SECONDS)
    except NoAnswer:
        held = []  # the socket may be stale; if a signature is required, the error below says that there is no key
    # No certificates, because their issuer does not show who wrote a record.
    yield from (_InAgent(key) for key in held if key.kind in KINDS)
    if settings.key:
        yield _of_environment(settings.key, secrets)


def _of_environment(name: str, secrets: Secrets) -> SigningKey:
    import paramiko

    text = secrets.lines(name)
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return _OfEnvironment(kind.from_private_key(io.StringIO(text)), name)
        except paramiko.PasswordRequiredException:
            raise ConfigError([f"slipway_ledger.key: the key in the secret '{name}' has a passphrase"]) from None
        except (paramiko.SSHException, ValueError, IndexError):
            continue
    raise ConfigError(
        [f"slipway_ledger.key: the secret '{name}' is no private key in OpenSSH's format"],
        hint="make one: ssh-keygen -t ed25519 -N '' -f FILE",
    )


class Signing:
    """Signs the records of an environment.

    Args:
        settings: the settings with the signers.
        secrets: the secrets with the environment's key.
        environment, application: their names.
    """

    def __init__(self, settings: LedgerSettings, secrets: Secrets, *, environment: str, application: str) -> None:
        self._settings, self._secrets = settings, secrets
        self._environment, self._application = environment, application
        self._key: list[SigningKey | None] = []
        self._seals: dict[str, Seal] = {}

    def prepare(self, warn: Callable[[str], None]) -> None:
        """Find the key, before the task changes anything.

        Args:
            warn: receives warnings.

        Raises:
            UsageError: records must be signed, and no key here may sign.
            ConfigError: the environment's key cannot be used.
        """
        key = find_key(self._settings, self._secrets)
        self._key = [key]
        if key is not None and key.public.touched:
            warn(f"touch the security key {shown(key.public)} when it blinks: it signs this task's record")
        if key is None and self._settings.signers:
            warn("no key on this machine may sign, so this task's record does not prove who wrote it (slipway_ledger)")

    def seal(self, owner: LockOwner) -> Seal:
        """Return the seal that makes a task's records; the task's key signs each of them.

        Raises:
            UsageError: the key cannot sign.
        """
        name = f"{owner.task} {owner.id}"
        if name not in self._seals:
            key = None
            if owner.task in SIGNING:
                if not self._key:
                    self._key = [find_key(self._settings, self._secrets)]
                key = self._key[0]
            self._seals[name] = Seal(self._environment, self._application, owner, key)
        return self._seals[name]
