"""Hash passwords by SHA-crypt (akkadia.org/drepper/SHA-crypt.txt), because Python 3.13 has no crypt module."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

MAX_ROUNDS = 2_000_000  # some seconds
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def sha_crypt(password: str, kind: str, salt: str, rounds: int) -> str:
    """Return a password's hash with its method, rounds and salt.

    Args:
        password: the password.
        kind: "sha256" or "sha512".
        salt: the salt; at most 16 characters count.
        rounds: 1,000 or more.

    Raises:
        ValueError: the salt or the rounds are invalid.
    """
    if not salt or any(character not in _ALPHABET for character in salt):
        raise ValueError("a salt has letters, digits, . and / only")
    if not 1000 <= rounds <= MAX_ROUNDS:
        raise ValueError(f"{rounds} rounds; expected from 1,000 to {MAX_ROUNDS:,}")
    salt = salt[:16]
    digest = _digest(password.encode(), salt.encode(), kind, rounds)
    shown = "" if rounds == 5000 else f"rounds={rounds}$"
    return f"${'6' if kind == 'sha512' else '5'}${shown}{salt}${_encoded(digest)}"


def _digest(key: bytes, salt: bytes, kind: str, rounds: int) -> bytes:
    def hashed(*parts: bytes) -> bytes:
        return hashlib.new(kind, b"".join(parts)).digest()

    inner = hashed(key, salt, key)
    length = len(key)
    bits = []
    left = length
    while left:
        bits.append(inner if left & 1 else key)
        left >>= 1
    result = hashed(key, salt, _stretched(inner, length), *bits)
    long_key = _stretched(hashed(key * length), length)
    long_salt = _stretched(hashed(salt * (16 + result[0])), len(salt))
    for number in range(rounds):
        odd = number & 1
        parts = [long_key if odd else result]
        if number % 3:
            parts.append(long_salt)
        if number % 7:
            parts.append(long_key)
        parts.append(result if odd else long_key)
        result = hashed(*parts)
    return result


def _stretched(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _encoded(digest: bytes) -> str:
    return "".join(_ALPHABET[value >> 6 * at & 63] for value, count in _groups(digest) for at in range(count))


def _groups(digest: bytes) -> Iterator[tuple[int, int]]:
    """Encode groups of three bytes as four letters, in the format's order."""
    size = len(digest)
    third = size // 3
    turns = -1 if size == 32 else 1
    first = (0, third, 2 * third)
    for number in range(third):
        order = [first[(at + turns * number) % 3] + number for at in range(3)]
        yield digest[order[0]] << 16 | digest[order[1]] << 8 | digest[order[2]], 4
    if size == 64:
        yield digest[63], 2
    else:
        yield digest[31] << 8 | digest[30], 3
