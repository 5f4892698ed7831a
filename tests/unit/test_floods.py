"""Servers that answer without end: each ends with a sentence. Steps' scripts run here as on hosts."""

from __future__ import annotations

import hashlib
import http.server
import resource
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import playbooks.steps
from playbooks.adapters.metrics.application import ApplicationMetrics, Page
from playbooks.adapters.metrics.exposition import LONGEST_LINE, parse_samples
from playbooks.adapters.metrics.prometheus_http import ask_from_here
from playbooks.adapters.metrics.source import MAX_SERIES
from playbooks.exec import MAX_KEPT, HostRun
from playbooks.fleet import script as scripts
from playbooks.settings.metrics import MetricsSettings, Prometheus

STEPS = Path(playbooks.steps.__file__).parent


class Floods(http.server.BaseHTTPRequestHandler):
    """Each path never ends, in its own way."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        write = self.wfile.write
        self.send_response(200)
        if "/good" in self.path:
            if "/octal" in self.path:
                self.send_header("Content-Length", "00000008")
                self.end_headers()
                write(b"artifact")
                return
            said = b"shop 1" if "/torn" in self.path else b"shop 1\n"
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            write(said)
            return
        if "/bomb" in self.path:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        packer = zlib.compressobj(9, wbits=31)
        while True:
            if "/drips" in self.path:
                time.sleep(0.2)
            size = 1 if "/drips" in self.path else 1 << 20
            data = b"shop 1\n" * (size // 7 + 1)
            if "/bomb" in self.path:
                data = packer.compress(bytes(50 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
            write(b"%x\r\n%s\r\n" % (len(data), data))

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Floods) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


@pytest.mark.parametrize(
    ("path", "why"),
    [("/endless", "larger than 8 MB"), ("/bomb", "larger than 8 MB"), ("/drips", "took longer than 2 s")],
)
def test_the_controller_reads_no_endless_answer(server: str, path: str, why: str) -> None:
    """A server of metrics that is broken into would fill our memory; 50 MB that are nothing but zeros are 50 kB."""
    settings = Prometheus.model_validate({"url": f"{server}{path}", "timeout": "2s" if path == "/drips" else "30s"})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (reply,) = ask_from_here(settings, {})(["up"])
    assert (reply.status, why in reply.body) == (0, True), reply
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024


def ran(step: str, values: dict[str, str], said: str, scratch: Path) -> list[list[str]]:
    """The records of a step's script, and never more than 10 MB in its temporary folder."""
    words = ["/bin/sh", "-c", scripts.load(step).given(values).reading().decode()]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"TMPDIR": str(scratch)}) as shell:
        assert shell.stdin and shell.stdout
        shell.stdin.write(said.encode())
        shell.stdin.close()
        out: list[bytes] = []
        reader = threading.Thread(target=lambda: out.extend(shell.stdout or ()))
        reader.start()
        while shell.poll() is None:
            used = sum(path.stat().st_blocks * 512 for path in scratch.rglob("*") if path.is_file())
            assert used < 10 << 20
            time.sleep(0.005)
        reader.join()
    return [line.decode().rstrip("\n").split("\t") for line in out]


def test_a_host_reads_no_endless_answer_of_a_prometheus(server: str, tmp_path: Path) -> None:
    """--max-filesize bounds no chunked answer before curl 8.4."""
    asked = f"url {server}/endless\nurl {server}/good\nurl {server}/drips\n"
    records = ran("http_get", {"seconds": "2", "ca": "-", "served_by": ""}, asked, tmp_path)
    assert [record[:2] for record in records] == [["reply", "0"], ["reply", "200"], ["reply", "0"]]
    assert "larger than 8 MB" in records[0][2]
    assert records[1][2] == "shop 1"
    assert "timed out" in records[2][2]


def test_a_host_reads_no_endless_page_of_metrics(server: str, tmp_path: Path) -> None:
    """The page is the application's, and so is what it does when it is broken into."""
    records = ran(
        "app_metrics", {"seconds": "2", "names": "shop"}, f"a\t{server}/endless\nb\t{server}/good\n", tmp_path
    )
    assert records[0][:2] == ["server", "a"]
    assert "larger than 8 MB" in records[0][2]
    assert records[1:] == [["server", "b", ""], ["line", "shop 1"]]


def test_a_size_with_zeros_before_it_is_no_size(server: str, tmp_path: Path) -> None:
    """To the shell 08 is a broken number of base eight: the step ended without a word of why."""
    script = "".join(
        (STEPS / "lib" / f"{name}.sh").read_text() for name in ("prelude", "at_most", "fetch_errors", "fetch")
    )
    order = f"patience 1 5\nurl {server}/good/octal\nend\n"
    call = f"fetch_artifact x {hashlib.sha256(b'artifact').hexdigest()} {tmp_path}/file {tmp_path}/folder"
    done = subprocess.run(["sh", "-c", f"{script}\n{call}"], input=order, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "file").read_bytes() == b"artifact"


def test_a_page_of_metrics_takes_nothing_from_the_next_server(server: str, tmp_path: Path) -> None:
    """Without an end of its last line the next server had no answer, and what that counted was the first one's."""
    records = ran(
        "app_metrics", {"seconds": "2", "names": "shop"}, f"a\t{server}/good/torn\nb\t{server}/good\n", tmp_path
    )
    assert records == [["server", "a", ""], ["line", "shop 1"], ["server", "b", ""], ["line", "shop 1"]]


def test_short_lines_of_a_command_take_the_time_that_they_are_many() -> None:
    """Of three million empty lines exec --json read six thousand a second, once it had a megabyte of them."""
    run, began = HostRun("app1"), time.process_time()
    for _ in range(MAX_KEPT + 200_000):
        run.keep("")
    run.keep("the end")
    assert time.process_time() - began < 5
    assert (len(run.output), run.output[-1]) == (MAX_KEPT - 7, "the end")


@pytest.mark.parametrize("line", ["a ", 'a{b="c"} ', "a{b", "a{ ", "a{b ", 'a{b="\\', 'a{b="c",', "a{} }", "a 1 1"])
def test_a_page_of_metrics_is_read_in_the_time_that_its_length_takes(line: str) -> None:
    """A line of 40 kB took half a minute, in which no heartbeat went out: the application could undo its own deploy."""
    fill = line[-1] * (LONGEST_LINE - len(line))
    began = time.process_time()
    assert list(parse_samples([line + fill] * 100 + ["b 1"]))[-1].value == 1
    assert time.process_time() - began < 2


def test_series_without_end_are_neither_read_nor_remembered() -> None:
    """A page with other names each time filled the memory for as long as a stage was watched."""
    names = {"requests": "a_total", "errors": "b_total", "latency": "c_bucket"}
    pages: list[list[str]] = []
    source = ApplicationMetrics(MetricsSettings.model_validate(names), lambda: {"app1": Page(pages[-1])})
    pages.append([f"# TYPE {name} counter" for name in names.values()])
    source.read()
    for turn in range(4):
        pages.append([f'a_total{{n="{turn}-{number}"}} 1' for number in range(MAX_SERIES)])
        assert source.read().counts["app1"].requests == MAX_SERIES
    kept = source._counting._last["app1"]
    assert len(kept.requests) == MAX_SERIES
    pages.append([*pages[-1], 'a_total{n="one more"} 1'])
    found = source.read()
    assert (dict(found.counts), ["more than 20000 series" in text for text in found.problems]) == ({}, [True])
