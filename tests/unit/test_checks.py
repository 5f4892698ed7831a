"""What a dry run and a deploy find wrong before anything is changed."""

from __future__ import annotations

import gzip
import io
import lzma
import subprocess
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from playbooks.checks.secrets import secrets_of
from playbooks.checks.units import is_told_to_listen, judge_units, lacking, ports_of
from playbooks.core.artifact import Artifact
from playbooks.releases import delta, tar_reading
from playbooks.releases.members import begin_reading
from playbooks.releases.render import File, Rendered
from playbooks.releases.slots import Slot
from playbooks.releases.sql_in_artifact import sql_in_artifact
from playbooks.settings import Settings
from playbooks.settings.load import read_settings
from playbooks.steps.preflight import Listener, Objections, Taken

RELEASE = "20261129T120000Z-1.0.0"


def settings(**given: Any) -> Settings:
    """Settings with a service that is the application's."""
    variables = {
        "app": "shop",
        "services": [{"name": "shop", "unit": {"Service": {"ExecStart": "/opt/shop/current/bin/run"}}}],
        **given,
    }
    found, mistakes = read_settings({f"slipway_{key}": value for key, value in variables.items()}, lambda *_: "")
    assert found is not None, mistakes
    return found


def rendered(
    unit: str, *, slot: Slot | None = None, files: dict[str, File] | None = None, socket: bytes | None = None
) -> Rendered:
    units = {"shop.service": f"[Service]\n{unit}\n".encode()}
    if socket is not None:
        units["shop.socket"] = socket
    return Rendered(files or {}, units, ("shop.service",), (), {}, "", slot)


@pytest.mark.parametrize(
    ("line", "listens"),
    [
        ("ExecStart=/usr/bin/gunicorn --bind 0.0.0.0:8000 shop:app", True),
        ("ExecStart=/usr/bin/serve --port=8000", True),
        ("ExecStart=/usr/bin/serve 8000", True),
        ("Environment=HOST=0.0.0.0 PORT=8000", True),
        ("ExecStart=/usr/bin/serve --port=18000 --workers=80001", False),
        ("ExecStart=/usr/bin/serve --database postgres://127.0.0.1:8000/shop", False),
        ("Environment=DB_PORT=8000", False),
        ("Environment=DATABASE=postgres://127.0.0.1:8000/shop", False),
        ("# ExecStart=/usr/bin/serve 8000", False),
    ],
)
def test_only_a_port_that_the_application_is_told_to_listen_at_is_its_own(line: str, listens: bool) -> None:
    """A check may ask a database or a proxy on the same host: their port is taken by those who should have it."""
    assert is_told_to_listen(rendered(line), 8000) is listens
    check = {"type": "http", "url": "http://127.0.0.1:8000/health"}
    own = settings(health={"checks": [check]})
    objections = Objections(listeners=(Listener(8000, "0.0.0.0:8000", "nginx.service", "nginx"),))
    judged = judge_units(own, rendered(line), RELEASE, objections)
    assert bool(judged.problems) is listens
    assert bool(judged.warnings) is not listens
    assert "nginx.service (nginx) listens at 0.0.0.0:8000" in "".join([*judged.problems, *judged.warnings])


def test_ports_of_slots_and_sockets_are_the_applications() -> None:
    """Whoever has them keeps the new release from starting, after everything was staged."""
    service = {"name": "shop", "socket": "10.0.0.5:8000", "unit": {"Service": {"ExecStart": "/bin/true"}}}
    listening = rendered("", socket=b"[Socket]\nListenStream=10.0.0.5:8000\n")
    own = settings(services=[service])
    assert [(port.number, port.sure) for port in ports_of(own, listening)] == [(8000, True)]
    for address, problems in (("10.0.0.5:8000", 1), ("*:8000", 1), ("[::]:8000", 1), ("127.0.0.1:8000", 0)):
        objections = Objections(listeners=(Listener(8000, address, "", "python3"),))
        assert len(judge_units(own, listening, RELEASE, objections).problems) == problems
    (port,) = ports_of(settings(), rendered("", slot=Slot("blue", 8001)))
    assert (port.number, port.sure) == (8001, True)


def test_what_systemd_says_of_a_program_that_is_in_the_release_is_left_to_the_artifact() -> None:
    """It is not on the host yet: a first deploy could never be."""
    said = (
        "shop.service: Command /opt/shop/current/bin/run is not executable: No such file or directory",
        "other.service:3: Unknown key 'Nice' in section [Unit], ignoring.",
        "shop.service:4: Unknown key 'Restrat' in section [Service], ignoring.",
        "shop.service:5: Unknown key 'After' in section [Service], ignoring.",
    )
    directives = (("Service", "Restart"), ("Service", "Type"), ("Unit", "After"))
    judged = judge_units(settings(), rendered(""), RELEASE, Objections(said=said, directives=directives))
    (problem,) = judged.problems
    assert "did you mean Restart?" in problem
    assert "it belongs in [Unit]" in problem
    assert "bin/run" not in problem
    assert "other.service" not in problem
    assert not judge_units(settings(), rendered(""), RELEASE, Objections(said=said[:2])).problems


def test_a_unit_of_somebody_elses_and_missing_users_are_told() -> None:
    """Each with whose it is, or what makes it."""
    taken = Taken("ssh.service", "/usr/lib/systemd/system/ssh.service", "a package's")
    lacks = (("account", "shop"), ("user", "shop"), ("user", "worker"), ("file", "/etc/shop.env"))
    judged = judge_units(settings(), rendered(""), RELEASE, Objections(taken=(taken,), lacking=lacks))
    assert [problem.split(";")[0] for problem in judged.problems] == [
        "/usr/lib/systemd/system/ssh.service is there already, and is a package's",
        "there is no user 'shop' to run the application",
        "there is no user 'worker', whom a unit names in User=",
        "there is no /etc/shop.env, which a unit names in EnvironmentFile= (-/etc/shop.env would let it be missing)",
    ]
    assert judged.hint is not None and "provision" in judged.hint


def test_programs_and_files_that_the_release_will_not_have() -> None:
    """The host would find it after all of the artifact has been sent; what hooks make cannot be known here."""
    own = settings(shared=["data"])
    lines = (
        "ExecStartPre=+/opt/shop/current/bin/prepare --now",
        "ExecStartPost=-/opt/shop/current/no",
        "ExecStart=/opt/shop/current/bin/rum",
        "ExecStop=/opt/shop/current/link/x",
        "ExecReload=/bin/kill",
        "EnvironmentFile=/opt/shop/current/shop.env",
        "EnvironmentFile=-/opt/shop/current/none.env",
        "EnvironmentFile=/opt/shop/current/data/own.env",
    )
    made = rendered("\n".join(lines), files={"shop.env": File(b"", 0o640)})
    members = {"bin/run": 0o755, "bin/prepare": 0o644, "link": -1}
    assert lacking(own, made, RELEASE, members).problems == (
        "bin/prepare is no program: its mode in the artifact is 0644; chmod +x it and build it again",
        "the release has no bin/rum, which a unit names in ExecStart= or the like; did you mean bin/run?",
    )
    with_hooks = settings(hooks={"install": [{"run": "make"}]})
    assert not lacking(with_hooks, made, RELEASE, members).problems
    assert not lacking(own, made, RELEASE, None).problems


def test_an_artifact_is_read_for_its_members_and_for_damage(tmp_path: Path) -> None:
    """A truncated one was found on the hosts, once it had been sent to all of them."""
    path = tmp_path / "shop-1.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, mode in (("./bin/run", 0o755), ("VERSION", 0o644)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = 3, mode
            tar.addfile(info, io.BytesIO(b"abc"))
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "bin"
        tar.addfile(info)
    artifact = Artifact("1", str(path), path, "gzip", "", path.stat().st_size)
    assert begin_reading(artifact)().modes == {"bin/run": 0o755, "VERSION": 0o644, "link": -1}
    path.write_bytes(path.read_bytes()[:60])
    assert "cannot be read as an archive" in begin_reading(artifact)().damaged
    assert begin_reading(replace(artifact, path=None))().modes is None


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE])
def test_a_header_does_not_fill_the_memory(kind: bytes, tmp_path: Path) -> None:
    """Python keeps headers in memory: of an artifact of some kilobytes it kept as many gigabytes as its header said."""
    path = tmp_path / "shop-1.tar.gz"
    long = tarfile.TarInfo("x")
    long.type, long.size = kind, 2 * 1024 * 1024
    file = tarfile.TarInfo("db/1_a.up.sql")
    with gzip.open(path, "wb") as out:
        out.write(long.tobuf(tarfile.GNU_FORMAT) + bytes(long.size) + file.tobuf() + bytes(1024))
    artifact = Artifact("1", str(path), path, "gzip", "", path.stat().st_size)
    assert begin_reading(artifact)().modes is None
    assert sql_in_artifact(artifact, ["db"]) is None


def _pax(**fields: str) -> bytes:
    """A header whose fields are before the next member's own, or in place of them."""
    lines = b""
    for name, value in fields.items():
        rest = f" {name.replace('_', '.')}={value}\n"
        length = len(rest) + 2
        lines += f"{length}{rest}".encode()
    head = tarfile.TarInfo("x")
    head.type, head.size = tarfile.XHDTYPE, len(lines)
    return head.tobuf(tarfile.USTAR_FORMAT) + lines + bytes(-len(lines) % 512)


def _endless_headers() -> bytes:
    return _pax(path="a") * 3000 + tarfile.TarInfo("a").tobuf() + bytes(1024)


def _endless_map() -> bytes:
    file = tarfile.TarInfo("a")
    file.size = 8**11 - 1
    fields = {"GNU_sparse_major": "1", "GNU_sparse_minor": "0", "GNU_sparse_name": "a"}
    return _pax(**fields) + file.tobuf(tarfile.USTAR_FORMAT) + b"99999999\n" + b"1\n" * 8_000_000


def _endless_zeros() -> bytes:
    file = tarfile.TarInfo("a")
    file.size = 1 << 30
    return file.tobuf() + bytes(40 << 20)


@pytest.mark.parametrize("made", [_endless_headers, _endless_map, _endless_zeros])
def test_an_artifact_takes_neither_memory_nor_disk_nor_the_task(
    made: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python recursed until it crashed, kept the map of a sparse file, and wrote all of it to the disk for a delta."""
    path = tmp_path / "shop-1.tar.gz"
    path.write_bytes(gzip.compress(made(), 1))
    artifact = Artifact("1", str(path), path, "gzip", "", path.stat().st_size)
    monkeypatch.setattr(delta, "MAX_UNPACKED", 32 << 20)
    assert begin_reading(artifact)().modes is None
    assert sql_in_artifact(artifact, ["db"]) is None
    tracemalloc.start()
    try:
        with pytest.raises((tarfile.TarError, subprocess.SubprocessError, RecursionError)):
            delta._read(artifact, tmp_path / "tar")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert (tmp_path / "tar").stat().st_size <= 32 << 20


def test_members_without_end_are_left_to_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million empty files are some kilobytes, and gigabytes in Python's memory."""
    path = tmp_path / "shop-1.tar"
    path.write_bytes(b"".join(tarfile.TarInfo(f"{n:0100}").tobuf() for n in range(3000)) + bytes(1024))
    artifact = Artifact("1", str(path), path, "none", "", path.stat().st_size)
    assert len(begin_reading(artifact)().modes or {}) == 3000
    monkeypatch.setattr(tar_reading, "LIMITS", replace(tar_reading.LIMITS, answer=100_000))
    assert begin_reading(artifact)().modes is None
    monkeypatch.setattr(tar_reading, "LIMITS", replace(tar_reading.LIMITS, memory=1 << 20))
    assert begin_reading(artifact)().modes is None


def test_a_dictionary_of_gigabytes_is_refused(tmp_path: Path) -> None:
    """An xz file of some bytes made every machine that unpacked it take up to four gigabytes."""
    small = bytearray(lzma.compress(bytes(1024), format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE))
    # The block's header: its size, flags, the filter LZMA2, one byte of properties, padding and a checksum.
    assert small[14:16] == b"\x21\x01"
    small[16] = 40
    small[20:24] = zlib.crc32(small[12:20]).to_bytes(4, "little")
    path = tmp_path / "shop-1.tar.xz"
    path.write_bytes(small)
    artifact = Artifact("1", str(path), path, "xz", "", len(small))
    assert "dictionary of xz" in begin_reading(artifact)().damaged


def test_all_secrets_that_a_deploy_asks_for_are_known() -> None:
    """One that is misspelt in a health check was met on the hosts, with the new release running."""
    checks = [{"type": "redis", "password": "cache"}, {"type": "postgresql", "user": "x", "password": "db"}]
    prometheus = {"url": "http://127.0.0.1", "token": "numbers"}
    own = settings(health={"checks": checks}, metrics={"source": "prometheus", "prometheus": prometheus})
    assert secrets_of([own], watches=False) == ["cache", "db"]
    assert secrets_of([own, own], watches=True) == ["cache", "db", "numbers"]
