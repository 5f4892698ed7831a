"""Decrypt Ansible Vault's values and files: AES-256, formats 1.1 and 1.2.

The format: a header line `$ANSIBLE_VAULT;1.1;AES256` (1.2 adds a label), then the hex of three lines, each hex itself:
salt, HMAC-SHA-256, ciphertext. Keys come from PBKDF2-HMAC-SHA256 with 10,000 rounds: 32 bytes for AES in counter mode,
32 for the HMAC, 16 for the counter.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from playbooks.core.errors import ConfigError
from playbooks.core.surroundings import own_path

HEADER = "$ANSIBLE_VAULT"
_ROUNDS = 10_000
_SCRIPT_TIMEOUT = 60.0  # seconds; a script may wait for a person to touch a key


@dataclass(frozen=True)
class VaultValue:
    """A value that is still encrypted; str() and repr() show only that."""

    ciphertext: str = field(repr=False)

    def __str__(self) -> str:
        return "<encrypted>"


@dataclass(frozen=True)
class Password:
    """A vault password with its label ("default" if none was given)."""

    label: str
    secret: bytes = field(repr=False)


class VaultError(Exception):
    """A value cannot be decrypted; the message is the end of a sentence."""


def is_encrypted(text: str) -> bool:
    """Return whether a whole file is encrypted."""
    return text.startswith(HEADER)


@dataclass
class Vault:
    """Decrypts with the passwords that the environment variables name, which are read when first needed.

    Args:
        instead: the text to return for each value, if nothing may be decrypted; None decrypts.
        environ: ANSIBLE_VAULT_PASSWORD_FILE names a file, or a script that prints the password;
            ANSIBLE_VAULT_IDENTITY_LIST names several as `label@file`, separated by commas.
    """

    environ: Mapping[str, str]
    instead: str | None = None
    _passwords: list[Password] | None = field(default=None, repr=False)
    _plain: dict[str, str] = field(default_factory=dict, repr=False)  # because each decryption takes 10,000 rounds
    _values: set[str] = field(default_factory=set, repr=False)
    _listener: Callable[[str], None] | None = field(default=None, repr=False)

    def tell(self, listener: Callable[[str], None]) -> None:
        """Register a function that gets each secret value, past and future, to strike it out."""
        self._listener = listener
        for value in sorted(self._values):
            listener(value)

    def read(self, value: str) -> None:
        """Record that an encrypted value of the inventory was read.

        Args:
            value: its plain text.
        """
        if value in self._values or self.instead is not None:
            return
        self._values.add(value)
        if self._listener:
            self._listener(value)

    def decrypt(self, ciphertext: str) -> str:
        """The plain text.

        Raises:
            VaultError: no password is set, none fits, or the text is damaged.
            ConfigError: a password file cannot be read.
        """
        if self.instead is not None:
            return self.instead
        if ciphertext in self._plain:
            return self._plain[ciphertext]
        if self._passwords is None:
            self._passwords = read_passwords(self.environ)
        if not self._passwords:
            raise VaultError(
                "it is encrypted and no password is set; set ANSIBLE_VAULT_PASSWORD_FILE to the password's file"
            )
        label = _label(ciphertext)
        fitting_first = sorted(self._passwords, key=lambda password: password.label != label)
        for password in fitting_first:
            plain = decrypt(ciphertext, password.secret)
            if plain is not None:
                self._plain[ciphertext] = plain
                return plain
        raise VaultError("it is encrypted with another password than the one that is set (or was altered)")


def decrypt(ciphertext: str, password: bytes) -> str | None:
    """Return the plain text; None if the password is wrong or the text was altered (the HMAC covers both).

    Raises:
        VaultError: the data is not in the format, or is not text.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, padding
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.hmac import HMAC
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    salt, signature, data = _parts(ciphertext)
    derived = PBKDF2HMAC(hashes.SHA256(), 80, salt, _ROUNDS).derive(password)
    mac = HMAC(derived[32:64], hashes.SHA256())
    mac.update(data)
    try:
        mac.verify(signature)  # in constant time, before decryption
    except InvalidSignature:
        return None
    decryptor = Cipher(algorithms.AES(derived[:32]), modes.CTR(derived[64:])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    try:
        padded = decryptor.update(data) + decryptor.finalize()
        return (unpadder.update(padded) + unpadder.finalize()).decode()
    except ValueError:
        raise VaultError("what is encrypted is not UTF-8 text") from None


def _header(ciphertext: str) -> list[str]:
    first = ciphertext.strip().partition("\n")[0]
    return [part.strip() for part in first.split(";")]


def _label(ciphertext: str) -> str:
    header = _header(ciphertext)
    return header[3] if len(header) > 3 else "default"


def _parts(ciphertext: str) -> tuple[bytes, bytes, bytes]:
    header = _header(ciphertext)
    if header[0] != HEADER or len(header) < 3:
        raise VaultError(f"it does not start with {HEADER};1.1;AES256")
    if header[1] not in ("1.1", "1.2") or header[2] != "AES256":
        raise VaultError(f"format {header[1]} with {header[2]} is not supported; 1.1 and 1.2 with AES256 are")
    body = "".join(ciphertext.split()[1:])
    try:
        salt, signature, data = unhexlify(body).split(b"\n", 2)
        return unhexlify(salt), unhexlify(signature), unhexlify(data)
    except (HexError, ValueError):
        raise VaultError("the encrypted text is damaged or cut short") from None


def read_passwords(environ: Mapping[str, str]) -> list[Password]:
    """Read the passwords that the environment variables name, in Ansible's order.

    Raises:
        ConfigError: a file cannot be read, a script fails, or a password is empty.
    """
    named = [("default", environ["ANSIBLE_VAULT_PASSWORD_FILE"])] if environ.get("ANSIBLE_VAULT_PASSWORD_FILE") else []
    for entry in filter(None, (part.strip() for part in environ.get("ANSIBLE_VAULT_IDENTITY_LIST", "").split(","))):
        label, found, file = entry.rpartition("@")
        named.append((label if found and label else "default", file))
    return [Password(label, _read_password(label, own_path(file))) for label, file in named]


def _read_password(label: str, file: Path) -> bytes:
    try:
        secret = _ask_script(label, file) if file.is_file() and os.access(file, os.X_OK) else file.read_bytes()
    except OSError as error:
        raise ConfigError([f"The vault password file {file} cannot be read: {error.strerror or error}."]) from None
    if not secret.strip():
        raise ConfigError([f"The vault password from {file} is empty."])
    return secret.strip()


def _ask_script(label: str, script: Path) -> bytes:
    command = [str(script)]
    if script.stem.endswith("-client"):  # Ansible's convention for scripts with several passwords
        command += ["--vault-id", label]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SCRIPT_TIMEOUT, check=False, stdin=None)
    except subprocess.TimeoutExpired:
        raise ConfigError([f"The vault password script {script} gave no answer in {_SCRIPT_TIMEOUT:.0f} s."]) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        reason = f": {said[0]}" if said else ""
        raise ConfigError(
            [f"The vault password script {shlex.join(command)} ended with status {done.returncode}{reason}."]
        )
    return done.stdout
