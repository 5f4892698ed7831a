"""What a file of a release may have beside its mode: the very script, asked about one attribute at a time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parent.parent.parent / "playbooks" / "steps" / "lib"
KEEP = "acls\nxattrs\ncapability cap_net_bind_service\ncapability cap_sys_time\n"


def judge(folder: Path, line: str, keep: str = KEEP) -> str:
    """The verdict on a line of getfattr's."""
    (folder / "keep").write_text(keep)
    (folder / "lines").write_text(line + "\n")
    (folder / "writable").write_text("log\n")
    text = (LIB / "keep_attributes.sh").read_text() + '\njudge_attributes "$1/keep" "$1/lines" "$1/writable"\n'
    done = subprocess.run(["/bin/sh", "-euc", text, "sh", folder], capture_output=True, text=True, check=True)
    return done.stdout.removesuffix("\n")


def capability(permitted: int = 0, inheritable: int = 0, kind: int = 0x02000001, more: str = "") -> str:
    """An attribute as the kernel keeps it (linux/capability.h)."""
    mask = 0xFFFFFFFF
    words = (kind, permitted & mask, inheritable & mask, permitted >> 32, inheritable >> 32)
    return "./bin/run\tsecurity.capability=0x" + "".join(word.to_bytes(4, "little").hex() for word in words) + more


def access(*entries: tuple[int, int, int], name: str = "posix_acl_access") -> str:
    """An access list as the kernel keeps it: tag, mode and id of each entry (linux/posix_acl_xattr.h)."""
    text = "".join(
        tag.to_bytes(2, "little").hex() + mode.to_bytes(2, "little").hex() + id_.to_bytes(4, "little").hex()
        for tag, mode, id_ in entries
    )
    return f"./file\tsystem.{name}=0x02000000{text}"


OWNER, USER, GROUP_OWNER, GROUP, MASK, OTHER, NOBODY = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 2**32 - 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (capability(1 << 7), "cap_setuid, which slipway_capabilities does not allow"),
        (capability(1 << 10, inheritable=1 << 21), "cap_sys_admin"),
        (capability(1 << 39), "cap_bpf"),
        (capability(1 << 10 | 1 << 63), "the capability 63"),
        (capability(1 << 10, kind=0x03000001, more="e8030000"), "of a kind that is not known"),
        (capability(1 << 10, kind=0x01000001), "of a kind that is not known"),
        (capability(1 << 10).replace("./bin/run", "./log/run"), "its user's own by slipway_writable"),
        (access((OWNER, 6, NOBODY), (USER, 6, 65534), (MASK, 6, NOBODY)), "somebody else may write"),
        (access((OWNER, 6, NOBODY), (GROUP, 7, 100), (MASK, 7, NOBODY)), "somebody else may write"),
        (access((OWNER, 7, NOBODY), name="posix_acl_default"), "for what is made in it later"),
        ("./file\tuser.with\ttab=0x31", "a kind that no release keeps"),
        ("./file\ttrusted.x=0x31", "a kind that no release keeps"),
        ("getfattr is not installed", "a kind that no release keeps"),
    ],
)  # fmt: skip
def test_what_would_give_more_than_was_allowed_is_refused(tmp_path: Path, line: str, why: str) -> None:
    """Each of these made a program more than its user, or its file somebody else's to write."""
    told = judge(tmp_path, line)
    assert told.startswith("refused ") and why in told, told


def test_what_is_allowed_stays_and_lists_are_as_modes(tmp_path: Path) -> None:
    """An access list has the owner's, the group's and others' modes in it: setting it must not bring back writing."""
    for line in (capability(1 << 10), capability(1 << 10 | 1 << 25, inheritable=1 << 10), "./a =b\tuser.a.b-c=0x"):
        assert judge(tmp_path, line) == line
    given = access(
        *((OWNER, 4, NOBODY), (USER, 5, 65534), (GROUP_OWNER, 2, NOBODY), (MASK, 7, NOBODY), (OTHER, 6, NOBODY))
    )
    made = access(
        *((OWNER, 7, NOBODY), (USER, 5, 65534), (GROUP_OWNER, 5, NOBODY), (MASK, 5, NOBODY), (OTHER, 4, NOBODY))
    )
    assert judge(tmp_path, given) == made
    assert judge(tmp_path, made) == made


@pytest.mark.parametrize(
    ("line", "keep"),
    [
        (capability(1 << 10), "acls\nxattrs\n"),
        (access((OWNER, 6, NOBODY)), "xattrs\ncapability cap_chown\n"),
        ("./file\tuser.x=0x31", "acls\ncapability cap_chown\n"),
    ],
)
def test_what_is_not_named_is_refused(tmp_path: Path, line: str, keep: str) -> None:
    """It would be lost, or kept without having been asked for."""
    assert "which slipway_keep does not name" in judge(tmp_path, line, keep)
