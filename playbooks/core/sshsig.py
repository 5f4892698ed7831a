"""Make and check signatures in OpenSSH's format (PROTOCOL.sshsig), which ssh-keygen can also check."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

MAGIC = b"SSHSIG"
VERSION = 1
ED25519 = "ssh-ed25519"
SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
RSA = "ssh-rsa"
CURVES = {"nistp256": "secp256r1", "nistp384": "secp384r1", "nistp521": "secp521r1"}
KINDS = (ED25519, *(f"ecdsa-sha2-{curve}" for curve in CURVES), RSA, SK_ED25519, SK_ECDSA)
SMALLEST_RSA = 2048
MAX_BYTES = 16384


class BadSignature(ValueError):
    """The text is no signature, or does not match the message."""


@dataclass(frozen=True)
class PublicKey:
    """A public key.

    Args:
        blob: the key as SSH sends it.
        comment: the comment beside the key, which names its owner.
    """

    blob: bytes
    comment: str = field(default="", compare=False)

    @property
    def kind(self) -> str:
        """Return its type, e.g. ssh-ed25519."""
        return Reader(self.blob).text()

    @property
    def touched(self) -> bool:
        """Return whether a signature normally needs a person's touch."""
        return self.kind in (SK_ED25519, SK_ECDSA)

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint as `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def __str__(self) -> str:
        """Return the key in the format of authorized_keys."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()} {self.comment}".rstrip()


def read_public_key(text: str) -> PublicKey:
    """Read a public key in the format of authorized_keys and `ssh-add -L`: ``ssh-ed25519 AAAA… comment``.

    Raises:
        ValueError: the text is no key, or its kind is not supported; the sentence says which.
    """
    kind, _, rest = text.strip().partition(" ")
    packed, _, comment = rest.strip().partition(" ")
    if kind not in KINDS:
        raise ValueError(f"'{kind}' is none of {', '.join(KINDS)}")
    try:
        key = PublicKey(base64.b64decode(packed, validate=True), comment.strip())
        found = key.kind
        _checker(key.blob)
    except (ValueError, binascii.Error):
        found = ""
    if found != kind:
        raise ValueError(f"expected a public key such as '{ED25519} AAAA… name'")
    return key


class Reader:
    """Reads SSH's wire format (RFC 4251).

    Args:
        data: the bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        """Read the next bytes.

        Raises:
            BadSignature: there are fewer bytes.
        """
        end = self._at + count
        if end > len(self._data):
            raise BadSignature("it ends too early")
        found, self._at = self._data[self._at : end], end
        return found

    def number(self) -> int:
        """Read the next 32 bits as a number."""
        return int(struct.unpack(">I", self.take(4))[0])

    def string(self) -> bytes:
        """Read the next string."""
        return self.take(self.number())

    def text(self) -> str:
        """Read the next string as text."""
        return self.string().decode("ascii", "replace")

    def end(self) -> None:
        """Refuse any further bytes.

        Raises:
            BadSignature: there are more bytes.
        """
        if self._at != len(self._data):
            raise BadSignature("something follows it")


def packed(*parts: bytes | str) -> bytes:
    """Pack strings in SSH's wire format."""
    found = b""
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found += struct.pack(">I", len(data)) + data
    return found


def to_be_signed(message: bytes, namespace: str, algorithm: str = "sha512") -> bytes:
    """Return the bytes that a key signs for a message."""
    return MAGIC + packed(namespace, b"", algorithm, hashlib.new(algorithm, message).digest())


def envelope(key: PublicKey, signature: bytes, namespace: str) -> str:
    """Return a signature for storage: base64 on one line, without ssh-keygen's BEGIN and END lines.

    Args:
        key: the key that made it.
        signature: the signature over `to_be_signed`, as SSH sends it.
        namespace: the purpose of the signature.
    """
    whole = MAGIC + struct.pack(">I", VERSION) + packed(key.blob, namespace, b"", "sha512", signature)
    return base64.b64encode(whole).decode()


def armoured(text: str) -> str:
    """Return a stored signature in the format of `ssh-keygen -Y verify`."""
    lines = "\n".join(text[start : start + 70] for start in range(0, len(text), 70))
    return f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n"


def check(text: str, message: bytes, namespace: str) -> PublicKey:
    """Check a stored signature. Only one spelling is valid: a second one would make another record of equal content.

    Args:
        text: the result of `envelope`.
        message: the signed message.
        namespace: the purpose of the signature.

    Returns:
        The key that made it. The caller decides whether to trust the key.

    Raises:
        BadSignature: the text is no signature, or not one of this message.
    """
    key, reader = _opened(text)
    for_, reserved, algorithm, signature = reader.text(), reader.string(), reader.text(), reader.string()
    reader.end()
    if reserved:
        raise BadSignature("it has something where nothing belongs")
    if for_ != namespace:
        raise BadSignature(f"it is for '{for_[:60]}'")
    if algorithm not in ("sha256", "sha512"):
        raise BadSignature("its hash is not known")
    _checker(key.blob)(signature, to_be_signed(message, namespace, algorithm))
    return key


def claimed(text: str) -> PublicKey:
    """Return the key that a stored signature names, without a check.

    Raises:
        BadSignature: the text is no signature.
    """
    return _opened(text)[0]


def _opened(text: str) -> tuple[PublicKey, Reader]:
    if len(text) > MAX_BYTES:
        raise BadSignature("it is too long")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadSignature("it is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise BadSignature("it is not base64 as it should be")
    reader = Reader(data)
    if reader.take(len(MAGIC)) != MAGIC or reader.number() != VERSION:
        raise BadSignature("it is no SSH signature")
    return PublicKey(reader.string()), reader


def require_made_by(key: PublicKey, signature: bytes, data: bytes) -> None:
    """Check a signature as SSH sends it.

    Raises:
        BadSignature: the key has not signed this data.
    """
    _checker(key.blob)(signature, data)


Checker = Callable[[bytes, bytes], None]


def _checker(blob: bytes) -> Checker:
    """Return the function that checks a key's signatures, and raises BadSignature."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return _made(blob)
    except BadSignature:
        raise
    except (ValueError, UnsupportedAlgorithm):
        raise BadSignature("its key is damaged, or of a kind that is not used here") from None


def _made(blob: bytes) -> Checker:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    reader = Reader(blob)
    kind = reader.text()
    if kind not in KINDS:
        raise BadSignature(f"its key is a '{kind[:60]}', which is not used here")
    if kind == SK_ED25519:
        key: object = ed25519.Ed25519PublicKey.from_public_bytes(reader.string())
    elif kind == SK_ECDSA:
        reader.string()
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), reader.string())
    else:
        key = load_ssh_public_key(f"{kind} ".encode() + base64.b64encode(blob))
    application = reader.string() if kind in (SK_ED25519, SK_ECDSA) else b""
    if application:
        reader.end()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA:
        raise BadSignature(f"its RSA key has {key.key_size} bits, fewer than {SMALLEST_RSA}")

    def checker(signature: bytes, data: bytes) -> None:
        made = Reader(signature)
        algorithm, raw = made.text(), made.string()
        if kind in (SK_ED25519, SK_ECDSA):
            # What a security key signs is about the message, with its own word on whether it was touched: a key that is
            # made to sign without (no-touch-required) may, where somebody lists it.
            flags, counter = made.take(1), made.take(4)
            data = hashlib.sha256(application).digest() + flags + counter + hashlib.sha256(data).digest()
        made.end()
        _verify(key, kind, algorithm, raw, data)

    return checker


def _verify(key: object, kind: str, algorithm: str, raw: bytes, data: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    try:
        if isinstance(key, ed25519.Ed25519PublicKey) and algorithm == kind:
            key.verify(raw, data)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm == kind:
            numbers = Reader(raw)
            r, s = (int.from_bytes(numbers.string()) for _ in range(2))
            numbers.end()
            sizes: dict[int, hashes.HashAlgorithm] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(sizes[key.curve.key_size]))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm in ("rsa-sha2-256", "rsa-sha2-512"):
            hashed = hashes.SHA256() if algorithm == "rsa-sha2-256" else hashes.SHA512()
            key.verify(raw, data, padding.PKCS1v15(), hashed)
        else:
            raise BadSignature(f"it was made with '{algorithm[:60]}'")
    except (InvalidSignature, ValueError) as error:
        raise BadSignature(str(error) or "it does not match") from None
