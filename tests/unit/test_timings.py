"""--timings: what is kept, the table, and the page, without a host."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from invoke.exceptions import Exit

from playbooks.cli import runner
from playbooks.core.errors import ExitStatus, Unreachable, UsageError
from playbooks.core.phases import Phase, PhaseCode
from playbooks.environments.environment import Environment
from playbooks.fleet.progress import Progress, Silent, Trip
from playbooks.report import output
from playbooks.report.page import writable_page
from playbooks.report.timeline import MEANINGS, OTHER, PageHead, colour_of, ticks, timeline
from playbooks.report.timings import HostTimings, Recorder, Timings, busy
from playbooks.report.timings_table import lines, size, table, told_timings

STAGING = Phase(PhaseCode.STAGING, "staging")
HEAD = PageHead("deploy", "staging", "1.1.0", 0, "all is well", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def trip(host: str, name: str, began: float, seconds: float, work: float | None = None) -> Trip:
    return Trip(host, name, began, began, began + seconds, work, bytes_out=1500, bytes_in=10)


def host(name: str, *trips: Trip) -> HostTimings:
    return HostTimings(name, trips, busy(trips))


def fleet(count: int) -> Timings:
    """Each host a second slower than the one before; the backup goes on beside the stage."""
    hosts = [
        host(
            f"web{number}",
            trip(f"web{number}", "connect", 0.0, 0.5),
            trip(f"web{number}", "backup", 0.5, number, number - 0.5),
            trip(f"web{number}", "stage", 0.5, 0.4, 0.3),
        )
        for number in range(1, count + 1)
    ]
    return Timings(float(count + 1), tuple(hosts), ((0.5, STAGING),))


class Telling(Silent):
    """Hears what is passed on."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def phase(self, phase: Phase) -> None:
        self.heard.append(phase.text)

    def trip(self, trip: Trip) -> None:
        self.heard.append(trip.name)


def test_recorder_keeps_what_many_threads_tell_and_passes_it_on() -> None:
    """--timings must not change what is seen while the task runs."""
    watcher = Telling()
    recorder = Recorder(watcher)
    recorder.hosts(["b", "a"])
    recorder.phase(STAGING)

    def tell(name: str) -> None:
        for _ in range(200):
            recorder.trip(trip(name, "facts", 0.0, 1.0))

    threads = [threading.Thread(target=tell, args=(name,)) for name in "abab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    timings = recorder.timings()
    assert [(one.host, one.total.round_trips) for one in timings.hosts] == [("b", 400), ("a", 400)]
    assert watcher.heard[0] == "staging"
    assert watcher.heard.count("facts") == 800


def test_time_is_split_and_side_by_side_counts_once() -> None:
    """Backup and stage run at the same time: a host that is busy for 2 s must not be told to be for 3."""
    one = host("a", trip("a", "backup", 0.0, 2.0, 1.5), trip("a", "stage", 0.5, 1.0, 1.2))
    assert one.seconds == 2.0
    assert (one.steps["backup"].work, one.steps["backup"].wire) == (1.5, 0.5)
    # The host counts to 10 ms: work that is longer than the trip is the trip.
    assert (one.steps["stage"].work, one.steps["stage"].wire) == (1.0, 0.0)


def test_a_step_that_got_no_answer_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host that hangs is the one to look for; a step that failed by its answer is not told twice."""
    clock = iter([100.0, 101.0, 102.0, 103.0, 133.0, 134.0, 135.0, 136.0])
    monkeypatch.setattr("playbooks.report.timings.time.monotonic", lambda: next(clock))
    recorder = Recorder(Silent())
    recorder.begin("a", "stage")
    recorder.begin("b", "health")
    recorder.begin("c", "backup")
    recorder.trip(Trip("b", "health", 102.1, 102.1, 132.9))
    recorder.end("a", "stage", Unreachable("gone"), 32.0)
    recorder.end("b", "health", Unreachable("not healthy"), 32.0)
    found = [(one.name, one.began, one.answered) for one in recorder.timings().trips]
    assert [name for name, _, _ in found] == ["health", "stage (failed)", "backup (not ended)"]
    assert found[1][1:] == (1.0, 33.0)


def test_table_has_a_row_a_host_and_their_sum() -> None:
    """The figures a person compares stand where their names say."""
    rows = table(fleet(2))
    assert rows[0] == ["host", "busy", "connect", "backup", "stage", "sent", "trips"]
    assert rows[1] == ["web1", "1.50", "0.50", "0.50+0.50", "0.10+0.30", "4.5 kB", "3"]
    assert rows[-1] == ["total", "4.00", "1.00", "1.00+2.00", "0.20+0.60", "9.0 kB", "6"]


def test_of_500_hosts_the_table_shows_the_slowest_and_the_middle() -> None:
    """500 rows say nothing."""
    rows = table(fleet(500))
    assert [row[0] for row in rows] == [
        *("host", "web500", "web499", "web498", "web497", "web496"),
        *("… 495 more", "median", "total"),
    ]
    assert rows[-2][1] == "251.00"
    assert rows[-1][-1] == "1500"


def test_a_narrow_terminal_gets_the_columns_below_each_other() -> None:
    """Lines that wrap anywhere cannot be read as columns."""
    rows = table(fleet(2))
    narrow = list(lines(rows, 40))
    assert all(len(line) <= 40 for line in narrow)
    assert len(narrow) == 2 * len(rows)
    assert set(" ".join(narrow).split()) == set(" ".join(lines(rows, None)).split())


def test_what_is_printed_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A host's name comes from outside."""
    timings = Timings(1.0, (host("a\x1b[2J", trip("a", "facts", 0.0, 1.0)),))
    output.tell(*map(output.shown, told_timings(timings, None)))
    assert "\x1b" not in capsys.readouterr().err


def test_a_task_that_reached_no_host_says_so() -> None:
    """An empty table would look like a fault."""
    assert "no host was reached" in "".join(told_timings(Timings(1.5, (HostTimings("a", (), 0.0),)), None))
    assert page_of(Timings(0.0, ())).find(".//tbody") is not None


@pytest.mark.parametrize(
    ("count", "text"), [(812, "812 B"), (1500, "1.5 kB"), (999_960, "1.0 MB"), (5_000_000_000_000, "5000.0 GB")]
)
def test_sizes_read_well(count: int, text: str) -> None:
    """Exact bytes are in the JSON."""
    assert size(count) == text


def page_of(timings: Timings, head: PageHead = HEAD) -> ET.Element:
    """The page, read by a parser that forgives nothing."""
    text = timeline(timings, head).split("<!DOCTYPE html>")[1]
    return ET.fromstring(text)  # noqa: S314 - our own page


def test_page_has_a_lane_a_host_and_bars_to_scale() -> None:
    """Twice as long must look twice as long, on every lane, and the host's share be told from the wire's."""
    page = page_of(fleet(3))
    lanes = page.findall(".//tbody/tr")
    assert [lane.findtext("th") for lane in lanes] == ["web1", "web2", "web3"]
    scale = 100 / 4
    for number, lane in enumerate(lanes, 1):
        bars = lane.findall(".//g")
        assert len(bars) == 3
        wire, work = bars[1].findall("rect")
        assert "wire" in wire.get("class", "")
        assert "wire" not in work.get("class", "")
        assert percent(wire, "x") == pytest.approx(0.5 * scale, abs=0.01)
        assert percent(wire, "width") == pytest.approx(0.5 * scale, abs=0.01)
        assert percent(work, "x") == pytest.approx(1.0 * scale, abs=0.01)
        assert percent(work, "width") == pytest.approx((number - 0.5) * scale, abs=0.01)
        assert bars[2].find("rect").get("y") != wire.get("y")  # type: ignore[union-attr]  # side by side
        assert f"backup on web{number}" in (bars[1].findtext("title") or "")
    colours = {bar.get("class", "").split()[-1] for lane in lanes for bar in lane.findall(".//g")[1].findall("rect")}
    assert len(colours) == 1


def test_a_hostile_name_stays_text() -> None:
    """The page is opened in a browser, maybe by somebody else: what a host or an error says must not become markup."""
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    head = PageHead(evil, evil, evil, 1, evil, HEAD.ended)
    timings = Timings(2.0, (host(evil, trip(evil, evil, 0.0, 1.0, 0.5)),), ((0.0, Phase(PhaseCode.STAGING, evil)),))
    page = page_of(timings, head)
    assert {"script", "img"} & {element.tag for element in page.iter()} == set()
    assert page.findtext(".//tbody/tr/th") == evil


def test_page_needs_nothing_and_allows_nothing() -> None:
    """It is kept with a build and opened years later: no request, no script, only its own style."""
    text = timeline(fleet(8), HEAD)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in text
    assert not re.search(r"\b(?:src|href|style|on\w+)=", text)
    assert not re.search(r"url\(|@import|<script", text)


def test_time_axis_is_readable_at_any_length() -> None:
    """From milliseconds to hours: a handful of marks, the first at zero, none beyond the end."""
    for seconds in (0.004, 0.3, 1.0, 7.7, 59.0, 3601.0, 90000.0):
        marks = ticks(seconds)
        assert 3 <= len(marks) <= 10
        assert marks[0][0] == 0
        assert marks[-1][0] <= 100.0001
        assert len({text for _, text in marks}) == len(marks)


def test_a_page_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """After a deploy it would be too late to ask for it again."""
    assert writable_page("report", str(tmp_path / "page.html")) == tmp_path / "page.html"
    for bad in ("", str(tmp_path), str(tmp_path / "no" / "page.html"), "/proc/page.html/page.html"):
        with pytest.raises(UsageError, match=r"^--report="):
            writable_page("report", bad)


@dataclass(frozen=True)
class Ended:
    """A task's result."""

    exit_status: ExitStatus = ExitStatus.DONE
    schema: ClassVar[str] = "slipway.test/1"

    def to_json(self) -> dict[str, Any]:
        return {"status": "done"}


def test_a_task_tells_its_time_also_when_it_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slow deploy that fails is the one to look into; JSON stays one document."""
    (tmp_path / "hosts.yml").write_text("all: {hosts: {a: {slipway_app: shop, slipway_artifact: x}}}\n")
    page = tmp_path / "page.html"

    def act(_: Environment, progress: Progress) -> Ended:
        progress.trip(trip("a", "facts", time.monotonic(), 0.5))
        return Ended()

    def fail(environment: Environment, progress: Progress) -> Ended:
        act(environment, progress)
        raise Unreachable("gone", host="a")

    def run(act: Callable[[Environment, Progress], Ended], flag: str | bool | None) -> None:
        observers = runner.timed("deploy", flag)
        runner.perform(str(tmp_path), act, lambda _: None, as_json=True, observers=observers)

    run(act, None)
    assert "timings" not in json.loads(capsys.readouterr().out)
    run(act, flag=True)
    told = capsys.readouterr()
    assert json.loads(told.out)["timings"]["hosts"]["a"]["round_trips"] == 1
    assert "slowest: a" in told.err
    with pytest.raises(Exit) as ended:
        run(fail, str(page))
    told = capsys.readouterr()
    assert ended.value.code == 1
    assert json.loads(told.out)["timings"]["hosts"]["a"]["trips"][0]["name"] == "facts"
    assert "gone" in page.read_text()
    with pytest.raises(Exit) as ended:
        run(act, str(tmp_path / "no" / "page.html"))
    assert ended.value.code == 2


def percent(element: ET.Element, name: str) -> float:
    return float(element.get(name, "").rstrip("%"))


def test_a_step_has_the_same_colour_on_every_page() -> None:
    """By order the switch was yellow on one page and pink on the next, where somebody had put in a step before it."""
    folder = Path(__file__).resolve().parents[2] / "playbooks" / "steps"
    scripts = {file.stem: file.read_text() for file in folder.glob("*.sh")}
    # These are run by the host itself.
    steps = set(scripts) - {"undo", "traffic_undo"}
    assert {step for step in steps if colour_of(step) == OTHER} == set()
    assert colour_of("stage (timed out)") == colour_of("stage") != colour_of("switch")
    css = (folder.parents[1] / "templates" / "report" / "timeline.css").read_text()
    assert {int(number) for number in re.findall(r"\.k(\d+)", css)} == {*MEANINGS, OTHER}
