"""Files of host keys: whatever stands in them, we read what OpenSSH reads. ssh-keygen says what that is."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import paramiko
import pytest

from playbooks.core.errors import HostKeyRefused, SlipwayError
from playbooks.fleet.hostkeys import ExpectedKeys, KnownHosts, Recorded, Strict, read_known
from playbooks.host_keys import _write

NAMES = ("plain", "second", "[ported]:2222", "hidden", "web1.example.com", "web2.example.com", "nobody", "UPPER", "::1")


def keygen(*words: str, said: str = "") -> str:
    done = subprocess.run(
        ["ssh-keygen", *words],
        input=said,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        errors="surrogateescape",
    )
    return done.stdout


def key(folder: Path, name: str, kind: str = "ed25519", *more: str) -> tuple[str, Path]:
    """A key's kind and text, as known_hosts has them, and its private half's file."""
    file = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *more, "-N", "", "-f", str(file)], check=True)
    return " ".join(file.with_suffix(".pub").read_text().split()[:2]), file


def written(folder: Path) -> Path:
    """A file with a line of each kind."""
    one, two, rsa = key(folder, "one")[0], key(folder, "two")[0], key(folder, "rsa", "rsa")[0]
    hidden = folder / "hashed"
    hidden.write_text(f"hidden {two}\n")
    keygen("-H", "-f", str(hidden))
    file = folder / "known_hosts"
    file.write_bytes(
        b"\xff\xfe no text at all\n"
        b"# a comment\n\n"
        b"plain ssh-ed25519\n"
        b"plain ssh-ed25519 AAAA!!!!\n"
        b"plain ssh-ed25519 AAAAC3Nz\n"
        b"nobody no-such-kind QUJD\n"
        b"|1|broken|hash " + one.encode() + b"\n"
        b"|1|no-base64-\xff "
        + one.encode()
        + b"\n"
        + f"plain,second\t{one}  a comment, ü\n"
        f"  plain {rsa}\n"
        f"plain {two}\n"
        f"[ported]:2222 {one}\n"
        f"*.example.com,!web2.* {one}\n"
        f"upper {one}\n::1 {two}\n".encode()
        + f"second {two} caf\u00e9\r\n".encode("latin-1")
        + b"@cert-authority *.example.com "
        + two.encode()
        + b"\n"
        + hidden.read_bytes()
    )
    return file


def test_each_host_has_the_keys_that_openssh_finds(tmp_path: Path) -> None:
    """A line that one of us reads and the other does not is a host that is refused, or trusted, by one of us only."""
    file = written(tmp_path)
    known = read_known([str(file)])
    for name in NAMES:
        said = [line.split() for line in keygen("-F", name, "-f", str(file)).splitlines() if not line.startswith("#")]
        theirs = {(words[1], words[2]) for words in said if not words[0].startswith("@")}
        ours = {(one.kind, base64.b64encode(one.blob).decode()) for one in known.of(name)}
        # It shows lines whose key it then cannot read, too.
        assert ours == {one for one in theirs if keygen("-lf", "-", said=" ".join(one))}, name
    assert len(known.of("plain")) == 3
    assert known.of("web1.example.com")
    assert not known.of("web2.example.com")


def test_files_that_cannot_be_read_have_no_keys(tmp_path: Path) -> None:
    """A folder, a file that is gone, or a name that is none must not end a task in a traceback."""
    assert read_known([str(tmp_path), f"{tmp_path}/none", "nul\0", ""]).of("plain") == []


def judged(wanted: ExpectedKeys, file: Path) -> str | None:
    """Why a key is refused."""
    shown = paramiko.PKey.from_path(file)
    try:
        Strict("web1", wanted).missing_host_key(paramiko.SSHClient(), "", shown)
    except HostKeyRefused as refused:
        return refused.message
    return None


def test_only_a_recorded_key_is_let_in(tmp_path: Path) -> None:
    """Unknown, changed, revoked, too short: each is refused and told apart; of two recorded ones either will do."""
    known = KnownHosts()
    files = {}
    for name, line in (("a", "h"), ("b", "h"), ("c", "other"), ("d", "@revoked h"), ("e", "[h]:22")):
        text, files[name] = key(tmp_path, name)
        known.add(f"{line} {text}".encode())
    short, files["short"] = key(tmp_path, "short", "rsa", "-b", "1024")
    known.add(f"h {short}".encode())
    wanted = ExpectedKeys("h", tuple(known.of("h")), rsa_bits=2048)
    assert judged(wanted, files["a"]) is None
    assert judged(wanted, files["b"]) is None
    assert "CHANGED" in str(judged(wanted, files["c"]))
    assert "@revoked" in str(judged(wanted, files["d"]))
    assert "1024 bits" in str(judged(wanted, files["short"]))
    assert "no host key is recorded" in str(judged(ExpectedKeys("x", ()), files["a"]))
    # On a port of its own ssh takes the key that the host has on 22; it says nothing of another one.
    ported = ExpectedKeys("[h]:2222", (), tuple(known.of("h")))
    assert judged(ported, files["a"]) is None
    assert "no host key is recorded" in str(judged(ported, files["c"]))
    assert "@revoked" in str(judged(ported, files["d"]))


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa"])
def test_a_host_is_asked_for_the_kind_that_is_recorded(kind: str) -> None:
    """It has several; one that is not recorded would be refused as changed."""
    wanted = ExpectedKeys("h", (Recorded(kind, b""),))
    first = wanted.kinds(("ecdsa-sha2-nistp256", "ssh-ed25519", "rsa-sha2-512"))[0]
    assert first == {"ssh-rsa": "rsa-sha2-512"}.get(kind, kind)


@pytest.mark.parametrize("name", ["*", "web*", "!a", "a,github.com", "a b", "@revoked", "#a", "|1|x|y"])
def test_a_key_is_recorded_for_one_host(name: str, tmp_path: Path) -> None:
    """An inventory's HostKeyAlias=* made its host's key every host's, in the file that ssh and git read too."""
    file, key = tmp_path / "known_hosts", paramiko.ECDSAKey.generate()
    with pytest.raises(SlipwayError, match="no name of one host"):
        _write("app1", file, name, key)
    assert not file.exists()
    _write("app1", file, "[192.0.2.1]:2222", key)
    assert file.read_text().startswith("[192.0.2.1]:2222 ecdsa-")
