"""Tar archives that nobody should unpack: names, links, devices, sizes and headers as only an enemy writes them."""

# ruff: noqa: E501  lists of words

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import tarfile
from collections.abc import Sequence
from typing import TypeVar

from tests.fuzz.mutate import TEXTS, mutated

T = TypeVar("T")

OUTSIDE = "/tmp/slipway-fuzz-outside"  # never made by the fuzzer: whoever makes it has broken out
FORMATS = ("none", "gzip", "xz", "zstd")

_NAMES = (
    "a", "b", "c", "d", "a/b", "a/b/c", "b/c", "c/d", "d/e/f", "./a", "./b/", ".//c", "a//b", "a/./b", "a/", "./", ".", "..",
    "../canary", "../../canary", "a/../../canary", "a/..", "..a", "a..", ".../x", "/", "//", OUTSIDE, f"{OUTSIDE}/x", "tmp",
    ".slipway", "./.slipway/hooks", ".slipway/hooks", "a/.slipway/hooks", ".//.slipway", ".slipway2", ".Slipway", "b/hooks",
    "a/hooks", "c/d/hooks", "a/canary", "b/canary", "a/b/canary", "-rf", "--checkpoint=1", "a -> b", "a link to b", 'a"b',
    "a\\b", "a\\101", "a b", "é", "\udcff", "\udcc3a", "a\nb", "a\tb", "a\rb", "\x1b[2J", "\x7f", "\u202e", "x" * 99, "x" * 101,
    "y/" * 60 + "z", "z" * 255, "z" * 256, "q/" * 2000, *TEXTS[:4],
)  # fmt: skip
_TARGETS = (
    "a", "b", "c", ".", "..", "../..", "../../..", "a/..", "a/../..", "b/../../canary", ".slipway", "./.slipway/", "a/.slipway",
    ".slipway/hooks", "../.slipway", "../../tree/.slipway", "../canary", "../../canary", "/", "/tmp", OUTSIDE, "/etc/passwd",
    "", "a -> /etc", '" -> "/etc', "d/e/f", "d/e", "c/d", "x" * 150, "\n/etc", "/proc/self/root", "./..", ".//..//..",
    "\\..", "a\\/..", *_NAMES[:12],
)  # fmt: skip
_TYPES = (
    *((tarfile.REGTYPE,) * 8), *((tarfile.DIRTYPE,) * 4), *((tarfile.SYMTYPE,) * 8), *((tarfile.LNKTYPE,) * 5),
    tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.AREGTYPE, b"S", b"D", b"M", b"N", b"V",
    b"A", b"I", b"X", b"x", b"g", b"L", b"K", b"Z", b"\xff", b"s",
)  # fmt: skip
_SIZES = (0, 1, 511, 512, 513, 8 * 1024**3, 2**33, 2**40, 2**60, 2**62)
_MODES = (0o644, 0o755, 0o644, 0o755, 0o4755, 0o2755, 0o1777, 0o7777, 0, 0o777, 0o4000, 0o2777)
_PAX = {
    "path": _NAMES,
    "linkpath": _TARGETS,
    "size": ("0", "5", "-1", "99999999999999999999", "x", "9223372036854775807"),
    "GNU.sparse.major": ("0", "1", "9"),
    "GNU.sparse.minor": ("0", "1"),
    "GNU.sparse.name": _NAMES,
    "GNU.sparse.realsize": ("0", "1000000", "1152921504606846976", "-1"),
    "GNU.sparse.size": ("0", "1000000", "1152921504606846976"),
    "GNU.sparse.map": ("0,1", "0,1,5,-1", "9223372036854775807,9223372036854775807", ",,"),
    "GNU.sparse.numblocks": ("0", "1", "999999999"),
    "GNU.volume.filename": _NAMES,
    "GNU.dumpdir": ("Ya", "R../x", "T/tmp", "X"),
    "SCHILY.xattr.user.evil": ("1",),
    "SCHILY.xattr.security.capability": ("\x01\x00\x00\x02\x00\x20",),
    "SCHILY.acl.access": ("user::rwx,group::rwx,other::rwx",),
    "RHT.security.selinux": ("system_u:object_r:bin_t:s0",),
    "hdrcharset": ("BINARY", "ISO-IR 10646 2000 UTF-8"),
    "mtime": ("1e99", "-1", "nan", "99999999999999999999.5"),
    "uid": ("99999999999", "-1"),
    "uname": ("root", "x" * 300),
    "comment": ("x",),
}


def archive(rng: random.Random) -> tuple[str, bytes]:
    """The format it claims to have, and an archive: at times whole, at times damaged, at times two in a row."""
    calm = rng.choice((0.0, 0.5, 0.9, 0.9, 0.97, 1.0))
    data = b"".join(_member(rng, calm) for _ in range(rng.choice((1, 2, 3, 4, 6))))
    data += bytes(rng.choice((0, 512, 1024, 1024, 1024, 10240)))
    kind = rng.random()
    if kind < 0.1:
        data = mutated(rng, data)
    elif kind < 0.2:
        data += b"".join(_member(rng, calm) for _ in range(2)) + bytes(1024)
    elif kind < 0.22:
        data = rng.randbytes(rng.choice((0, 10, 512, 2048)))
    name = rng.choice(("none",) * 7 + FORMATS)
    if rng.random() < 0.03:
        return name, bz2.compress(data)  # not what it claims to be
    packed = _pack(name, data)
    if rng.random() < 0.05:
        packed = mutated(rng, packed)
    return name, packed


def _pack(name: str, data: bytes) -> bytes:
    if name == "gzip":
        return gzip.compress(data, 1, mtime=0)
    if name == "xz":
        return lzma.compress(data, preset=0)
    return _zstd(data) if name == "zstd" else data


def _zstd(data: bytes) -> bytes:
    """A frame of raw blocks (RFC 8878): no window, no checksum, a content size of 4 bytes."""
    blocks = [data[at : at + 65536] for at in range(0, len(data), 65536)] or [b""]
    heads = [(int(at == len(blocks) - 1) | len(block) << 3).to_bytes(3, "little") for at, block in enumerate(blocks)]
    frame = b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little")
    return frame + b"".join(head + block for head, block in zip(heads, blocks, strict=True))


def _member(rng: random.Random, calm: float) -> bytes:
    """A member, each part of which is with this probability one that may be in an honest archive."""

    def of(honest: Sequence[T], hostile: Sequence[T]) -> T:
        return rng.choice(honest if rng.random() < calm else hostile)

    info = tarfile.TarInfo(of(_NAMES[:14], _NAMES))
    info.type = of(_TYPES[:-20], _TYPES)
    info.mode = of((0o644, 0o755, 0o750), _MODES)
    info.linkname = of(_TARGETS[:4] + _TARGETS[-12:], _TARGETS)
    info.mtime = of((1795235461,), (0, -1, 2**40))
    info.uid = of((0, 1000), (0, 1000, 2**31 - 5, 2**40))
    content = b"" if info.type not in (b"0", b"\0", b"7", b"x", b"g", b"L", b"K", b"D", b"S") else _content(rng)
    info.size = len(content) if rng.random() < 0.9 + calm / 10 else rng.choice(_SIZES)
    if rng.random() < 0.25 * (1.1 - calm):
        keys = rng.sample(list(_PAX), rng.randint(1, 4))
        info.pax_headers = {key: rng.choice(_PAX[key]) for key in keys}
    header = bytearray(_header(rng, info))
    if rng.random() < 0.12 * (1.2 - calm):
        _spoil(rng, header)
    return bytes(header) + content + bytes(-len(content) % 512)


def _header(rng: random.Random, info: tarfile.TarInfo) -> bytes:
    try:
        if info.pax_headers:
            return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        if rng.random() < 0.5:
            return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "surrogateescape")
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    except (ValueError, UnicodeEncodeError):
        info.mtime, info.uid = 0, 0
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _content(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.7:
        return b"evil\n" * rng.choice((0, 1, 200))
    if kind < 0.85:  # read as a pax header where the type says so
        return b"".join(_record(key, rng.choice(_PAX[key])) for key in rng.sample(list(_PAX), 2))
    return rng.choice((*_NAMES, *_TARGETS)).encode("utf-8", "surrogateescape") + b"\0"


def _record(key: str, value: str) -> bytes:
    text = f" {key}={value}\n".encode("utf-8", "surrogateescape")
    length = len(text) + 1
    while length != len(text) + len(str(length)):
        length = len(text) + len(str(length))
    return str(length).encode() + text


def _spoil(rng: random.Random, header: bytearray) -> None:
    """Change some bytes of the last block, mostly with a checksum that fits again."""
    block = len(header) - 512
    for _ in range(rng.randint(1, 6)):
        header[block + rng.randrange(512)] = rng.choice((0, 0x20, 0x2E, 0x2F, 0x37, 0x80, 0xFF, rng.randrange(256)))
    if rng.random() < 0.8:
        header[block + 148 : block + 156] = b" " * 8
        header[block + 148 : block + 156] = b"%06o\0 " % sum(header[block : block + 512])
