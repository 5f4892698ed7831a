"""The example application: artifacts that are the same every time, and health that answers whatever happens."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from playbooks.migrations.sql_files import read_sql_files

BUILD = Path(__file__).resolve().parents[2] / "examples" / "build"
VERSIONS = ("1.0.0", "1.1.0", "1.2.0")
MEMBER = re.compile(r"(VERSION|padding|bin|db|shop|static|vendor)(/[\w.+-]+)*")
MIGRATIONS = {
    "index": "create index concurrently",
    "locking": "add column",
    "breaking": "rename column",
    "lossy": "upper(name)",
    "contract": "drop column",
}

# The service is made to answer within 500 ms (A4). On a busy machine it takes longer; one that hangs takes for ever.
SOON = 5.0


def build(dist: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the build as a person would."""
    command = [sys.executable, str(BUILD), "--dist", str(dist), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all three artifacts."""
    folder = tmp_path_factory.mktemp("dist")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


def unpack(archive: Path, to: Path) -> list[tarfile.TarInfo]:
    """Unpack an artifact and tell what is in it."""
    to.mkdir()
    plain = to.with_suffix(".tar")
    subprocess.run(["zstd", "-q", "-d", str(archive), "-o", str(plain)], check=True)
    with tarfile.open(plain) as tar:
        tar.extractall(to, filter="data")
        return tar.getmembers()


@contextmanager
def running(release: Path, **environment: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The application on a spare port, from when it says READY=1 as systemd would hear it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    # A port may be the spare one twice: its file is still there then, and nobody can bind to it.
    place = release.parent / f"notify-{port}"
    place.unlink(missing_ok=True)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify:
        notify.bind(str(place))
        notify.settimeout(20)
        told = {"SHOP_LISTEN": f"127.0.0.1:{port}", "NOTIFY_SOCKET": notify.getsockname(), **environment}
        with (release.parent / f"log-{port}").open("wb") as log:
            process = subprocess.Popen(
                [str(release / "bin" / "shop")], env={"PATH": os.environ["PATH"], **told}, stdout=log, stderr=log
            )
        try:
            assert b"READY=1" in notify.recv(4096), "systemd would wait until its time-out"
            yield port, process
        finally:
            process.kill()
            process.wait()


def get(port: int, path: str) -> tuple[int, str, float]:
    """Status, body and seconds of a request."""
    began = time.perf_counter()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), time.perf_counter() - began


@pytest.fixture(scope="module")
def release(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.0.0, unpacked."""
    folder = tmp_path_factory.mktemp("shop") / "release"
    unpack(dist / "shop-1.0.0.tar.zst", folder)
    return folder


def test_a_build_gives_the_same_bytes_anywhere_at_any_time(dist: Path, tmp_path: Path) -> None:
    """A time, an owner, an order of files or a path that got into the artifact would make checksums useless."""
    assert build(tmp_path).returncode == 0
    for version in VERSIONS:
        name = f"shop-{version}.tar.zst"
        assert (tmp_path / name).read_bytes() == (dist / name).read_bytes()


def test_gzip_holds_the_same_release(dist: Path, tmp_path: Path) -> None:
    """Hosts without zstd would get another release than those with it, or none."""
    for folder in (tmp_path / "one", tmp_path / "two"):
        assert build(folder, "--version", "1.0.0", "--format", "gz").returncode == 0
    artifact = tmp_path / "one" / "shop-1.0.0.tar.gz"
    assert artifact.read_bytes() == (tmp_path / "two" / artifact.name).read_bytes()
    subprocess.run(["sha256sum", "--check", "--quiet", f"{artifact.name}.sha256"], cwd=artifact.parent, check=True)
    unpack(dist / "shop-1.0.0.tar.zst", tmp_path / "release")
    assert gzip.decompress(artifact.read_bytes()) == (tmp_path / "release.tar").read_bytes()


def test_what_is_there_is_kept_and_what_is_damaged_is_built_again(tmp_path: Path) -> None:
    """Else the demo builds for nothing, or ships half a file that a killed build left."""
    artifact = tmp_path / "shop-1.1.0.tar.zst"
    assert build(tmp_path, "--version", "1.1.0").returncode == 0
    whole, when = artifact.read_bytes(), artifact.stat().st_mtime_ns
    assert "up to date" in build(tmp_path, "--version", "1.1.0").stdout
    assert artifact.stat().st_mtime_ns == when
    artifact.write_bytes(whole[:-100])
    assert build(tmp_path, "--version", "1.1.0").returncode == 0
    assert artifact.read_bytes() == whole


@pytest.mark.parametrize("version", VERSIONS)
def test_an_artifact_holds_a_release_and_nothing_of_its_builder(dist: Path, tmp_path: Path, version: str) -> None:
    """Wrong modes, links, owners, caches, compiled parts or programs of the builder's Python would fail on a host."""
    members = unpack(dist / f"shop-{version}.tar.zst", tmp_path / "release")
    names = [member.name for member in members]
    assert names == sorted(names)
    assert all(MEMBER.fullmatch(name) for name in names)
    assert {
        "bin/shop",
        "db/001_shop.up.sql",
        "shop/server.py",
        "static/style.css",
        "VERSION",
        "vendor/pg8000",
        "vendor/waitress",
    } <= {*names}
    assert not [name for name in names if name.endswith((".so", ".pyc", "RECORD")) or name.startswith("vendor/bin")]
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", 1_700_000_000)}
    modes = {member.name: member.mode for member in members if member.isfile()}
    assert modes.pop("bin/shop") == 0o755
    assert set(modes.values()) == {0o644}
    assert all(member.isfile() or (member.isdir() and member.mode == 0o755) for member in members)
    assert (tmp_path / "release" / "VERSION").read_text() == f"{version}\n"


def test_padding_is_as_large_as_asked_and_cannot_be_compressed(dist: Path, tmp_path: Path) -> None:
    """Else a benchmark measures less than it says."""
    assert build(tmp_path, "--version", "1.0.0", "--size-mb", "3", "--files", "7").returncode == 0
    artifact = tmp_path / "shop-1.0.0.tar.zst"
    members = unpack(artifact, tmp_path / "release")
    sizes = [member.size for member in members if member.isfile() and member.name.startswith("padding/")]
    assert (len(sizes), sum(sizes)) == (7, 3_000_000)
    assert artifact.stat().st_size > 3_000_000 + (dist / artifact.name).stat().st_size * 0.9


def test_live_answers_and_ready_says_why_not_without_a_database(release: Path) -> None:
    """A live check that needs the database restarts every host with it; a slow answer is none (A4: 500 ms)."""
    with running(release, SHOP_DB_PORT="1", SHOP_DB_PASSWORD="kept-to-itself") as (port, _):
        assert get(port, "/health/live")[0] == 200
        status, body, seconds = get(port, "/health/ready")
        assert (status, json.loads(body)["reason"]) == (503, "the database does not answer")
        assert seconds < SOON
        status, metrics, _ = get(port, "/metrics")
        assert status == 200
        assert 'shop_build_info{version="1.0.0"} 1' in metrics
        assert 'shop_http_requests_total{route="/health/ready",method="GET",status="503"} 1' in metrics
        assert get(port, "/api/products")[:2] == (503, '{"error": "the shop is closed for a moment"}\n')
    log = (release.parent / f"log-{port}").read_text()
    assert "kept-to-itself" not in log
    assert all(json.loads(line)["level"] for line in log.splitlines())


@pytest.fixture
def silent() -> Iterator[str]:
    """The port of a server that takes connections and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=200)) as server:
        yield str(server.getsockname()[1])


def test_ready_answers_in_time_when_the_database_only_hangs(release: Path, silent: str) -> None:
    """A database that hangs must not take health checks with it, nor must shoppers who wait for it."""
    with running(release, SHOP_DB_PORT=silent) as (port, _), ExitStack() as stack:
        waiting = [http.client.HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(40)]
        for shopper in waiting:
            stack.callback(shopper.close)
            shopper.request("GET", "/api/products")
        time.sleep(0.1)
        for _ in range(3):
            status, body, seconds = get(port, "/health/ready")
            assert (status, "reason" in json.loads(body)) == (503, True)
            assert seconds < SOON
        assert get(port, "/health/live")[2] < SOON
        assert {status_of(shopper) for shopper in waiting} == {503}


def status_of(connection: http.client.HTTPConnection) -> int:
    """The status of a request that was sent, once its whole answer is there."""
    with closing(connection.getresponse()) as answer:
        answer.read()
        return answer.status


def test_sigterm_lets_a_request_in_flight_finish(release: Path, silent: str) -> None:
    """Otherwise each restart of a deploy loses the requests that it meets (B4)."""
    with running(release, SHOP_DB_PORT=silent) as (port, process):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as slow:
            slow.request("GET", "/api/products")  # waits 2 s for the database
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(ConnectionRefusedError):
                get(port, "/health/live")
            assert status_of(slow) == 503
        assert process.wait(timeout=5) == 0


def test_sigterm_resets_nobody_who_is_connected(release: Path) -> None:
    """A client that is queued by the kernel when the port closes is a failed request (B4)."""
    with running(release) as (port, process), ExitStack() as stack:
        process.send_signal(signal.SIGSTOP)  # what arrives now is in the kernel's queue
        queued = [http.client.HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(20)]
        for client in queued:
            stack.callback(client.close)
            client.request("GET", "/health/live")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert [status_of(client) for client in queued] == [200] * 20
        assert process.wait(timeout=5) == 0


def test_sigterm_tells_kept_connections_before_it_closes_them(release: Path) -> None:
    """A connection closed unannounced meets the next request on it, as a balancer's pool of connections would (B4)."""
    with running(release) as (port, process):
        ends: list[str] = []
        clients = [threading.Thread(target=ask_until_it_ends, args=(port, ends)) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join()
        assert ends == ["told"] * 8
        assert process.wait(timeout=5) == 0


def ask_until_it_ends(port: int, ends: list[str]) -> None:
    """Ask again and again on one connection; note how it ended."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            while True:
                connection.request("GET", "/health/live")
                answer = connection.getresponse()
                answer.read()
                if answer.will_close:
                    ends.append("told")
                    return
        except (OSError, http.client.HTTPException) as error:
            ends.append(type(error).__name__)


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:0", "127.0.0.1:99999"])
def test_a_wrong_setting_ends_in_one_sentence(release: Path, listen: str) -> None:
    """A traceback in the journal, or a port nobody asked for, would leave people guessing."""
    done = subprocess.run(
        [str(release / "bin" / "shop")],
        env={"PATH": os.environ["PATH"], "SHOP_LISTEN": listen},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("shop: SHOP_LISTEN") and done.stderr.count("\n") == 1


@pytest.fixture
def faulty(tmp_path: Path) -> Callable[[str], Path]:
    """Builds a release with a fault and unpacks it."""

    def make(fault: str) -> Path:
        assert build(tmp_path, "--fault", fault).returncode == 0
        (artifact,) = tmp_path.glob("shop-1.1.1-*.tar.zst")
        unpack(artifact, tmp_path / "release")
        return tmp_path / "release"

    return make


def test_no_build_without_a_fault_has_one(dist: Path, tmp_path: Path) -> None:
    """A fault that got into a version people deploy would be found by their users."""
    for version in VERSIONS:
        names = {member.name for member in unpack(dist / f"shop-{version}.tar.zst", tmp_path / version)}
        assert not {"FAULT", "shop/fault.py"} & names


def test_every_version_and_every_example_has_migrations_that_can_be_read(dist: Path, tmp_path: Path) -> None:
    """Whoever tries one would learn of a mistake in it, and of nothing else."""
    for kind, word in MIGRATIONS.items():
        assert build(tmp_path, "--migration", kind).returncode == 0
        (artifact,) = tmp_path.glob("shop-1.1.1-*.tar.zst")
        assert artifact.name == f"shop-1.1.1-{kind}.tar.zst"
        unpack(artifact, tmp_path / kind)
        artifact.unlink()
        files = {path.name: path.read_bytes() for path in (tmp_path / kind / "db").iterdir()}
        *before, own = read_sql_files(files, "db")
        assert [one.id for one in before] == ["001", "002"]
        assert word in own.up.statements[0].text
        assert (own.phase == "contract") == (kind == "contract")
    for version, ids in (("1.0.0", ["001"]), ("1.1.0", ["001", "002"]), ("1.2.0", ["001", "002"])):
        unpack(dist / f"shop-{version}.tar.zst", tmp_path / version)
        files = {path.name: path.read_bytes() for path in (tmp_path / version / "db").iterdir()}
        assert [one.id for one in read_sql_files(files, "db")] == ids


@pytest.mark.parametrize(
    "flags", [("--migration=none",), ("--migration=index", "--fault=leak"), ("--migration=index", "--version=1.0.0")]
)
def test_a_migration_nobody_knows_is_refused(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """As with faults."""
    assert build(tmp_path, *flags).returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fault", ["errors:0", "errors:101", "slow", "crash", "nonsense"])
def test_a_fault_nobody_knows_is_refused(tmp_path: Path, fault: str) -> None:
    """A release that is taken for bad and is good makes a test that proves nothing."""
    assert build(tmp_path, "--fault", fault).returncode == 2
    assert not list(tmp_path.iterdir())


def test_planted_errors_are_as_many_as_asked_for(faulty: Callable[[str], Path]) -> None:
    """How soon a bad release is found is measured against this share."""
    with running(faulty("errors:3"), SHOP_DB_PORT="1") as (port, _):
        found = Counter(get(port, "/")[0] for _ in range(200))
        assert found == {500: 6, 503: 194}  # without a database
        metrics = get(port, "/metrics")[1]
        assert 'shop_build_info{version="1.1.1-errors3"} 1' in metrics
        assert 'route="/",method="GET",status="500"} 6' in metrics
        assert get(port, "/health/live")[0] == 200


def test_a_slow_release_is_slower_than_its_work(faulty: Callable[[str], Path]) -> None:
    """300 % of nothing is nothing: the work must be there, and the fault on top of it."""
    with running(faulty("slow:300"), SHOP_DB_PORT="1", SHOP_WORK_MS="50") as (port, _):
        assert get(port, "/")[2] >= 0.2


def test_a_leak_keeps_memory_for_each_request(faulty: Callable[[str], Path]) -> None:
    """Memory that the kernel never has to give does not reach MemoryMax."""
    with running(faulty("leak:1024"), SHOP_DB_PORT="1") as (port, process):
        before = resident_kb(process.pid)
        for _ in range(40):
            get(port, "/")
        assert resident_kb(process.pid) - before > 39 * 1024


def resident_kb(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def test_a_crash_comes_by_itself(faulty: Callable[[str], Path]) -> None:
    """It must look like a crash to systemd, which restarts on failure only."""
    with running(faulty("crash:1"), SHOP_DB_PORT="1") as (_, process):
        assert process.wait(timeout=20) == 3


@pytest.mark.parametrize(("fault", "status"), [("broken", 500), ("broken:text", 200)])
def test_broken_pages_behind_good_health(faulty: Callable[[str], Path], fault: str, status: int) -> None:
    """What only users see must not show in health, or a test of judgement is one of health checks."""
    with running(faulty(fault), SHOP_DB_PORT="1") as (port, _):
        assert get(port, "/")[:2] == (status, "Fatal error: the page could not be made\n")
        assert get(port, "/health/live")[0] == 200


def test_errors_are_errors_in_the_journal_too(release: Path) -> None:
    """Watching counts lines by their priority; without it every line of the shop is mere information."""
    with running(release, SHOP_DB_PORT="1", JOURNAL_STREAM="8:1") as (port, _):
        get(port, "/")
    lines = (release.parent / f"log-{port}").read_text().splitlines()
    assert {line[:3] for line in lines} == {"<6>", "<3>"}
    assert json.loads(next(line for line in lines if line.startswith("<3>"))[3:])["level"] == "error"
