"""A vault text as `ansible-vault encrypt` makes one (format 1.1), with a fixed salt so that runs are alike."""

from __future__ import annotations

from binascii import hexlify
from functools import cache

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

_SALT = bytes(range(32))


@cache
def encrypted(plain: str, password: str) -> bytes:
    """The vault text of a plain text."""
    derived = PBKDF2HMAC(hashes.SHA256(), 80, _SALT, 10_000).derive(password.encode())
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(derived[:32]), modes.CTR(derived[64:])).encryptor()
    data = encryptor.update(padder.update(plain.encode()) + padder.finalize()) + encryptor.finalize()
    mac = HMAC(derived[32:64], hashes.SHA256())
    mac.update(data)
    body = hexlify(b"\n".join(map(hexlify, (_SALT, mac.finalize(), data))))
    lines = [body[at : at + 80] for at in range(0, len(body), 80)]
    return b"\n".join([b"$ANSIBLE_VAULT;1.1;AES256", *lines, b""])
