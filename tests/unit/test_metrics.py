"""Sources of metrics: counts that are never negative, silence that is never taken for good, names that are checked."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from playbooks.adapters.metrics.application import ApplicationMetrics, Page
from playbooks.adapters.metrics.exposition import parse_samples
from playbooks.adapters.metrics.prometheus import PrometheusMetrics, Replied
from playbooks.adapters.metrics.source import MeasuredServer, MetricsError
from playbooks.judgement.counts import Counts
from playbooks.judgement.host import MEGABYTE, HostReading, UnitReading, host_signals
from playbooks.judgement.verdict import Signal
from playbooks.settings.metrics import MetricsSettings
from playbooks.settings.selector import parse_selector

PAGE = """# TYPE shop_http_requests_total counter
shop_http_requests_total{{route="/",method="GET",status="200"}} {good}
shop_http_requests_total{{route="/",method="GET",status="503"}} {bad}
shop_http_requests_total{{route="/health/ready",method="GET",status="503"}} 999
# TYPE shop_http_request_duration_seconds histogram
shop_http_request_duration_seconds_bucket{{route="/",le="0.005"}} {fast}
shop_http_request_duration_seconds_bucket{{route="/",le="0.1"}} {all}
shop_http_request_duration_seconds_bucket{{route="/",le="+Inf"}} {all}
shop_http_request_duration_seconds_bucket{{route="/metrics",le="+Inf"}} 999
"""


def page(good: int, bad: int, fast: int) -> Page:
    return Page(PAGE.format(good=good, bad=bad, fast=fast, all=good + bad).splitlines())


def source(*rounds: dict[str, Page], **settings: Any) -> ApplicationMetrics:
    """The application's source over pages that were fetched one round after another."""
    turns = iter(rounds)
    return ApplicationMetrics(
        MetricsSettings.model_validate({"source": "application", **settings}), lambda: next(turns)
    )


def test_a_page_counts_what_came_since_the_last_time() -> None:
    """Health checks are no users, and what was before the watch began is not its matter."""
    metrics = source({"app1": page(100, 5, 50)}, {"app1": page(190, 15, 110)}, {"app1": page(190, 15, 110)})
    assert metrics.read().counts == {}
    assert metrics.read().counts == {"app1": Counts(100, 10, {5.0: 60, 100.0: 40})}
    assert metrics.read().counts == {"app1": Counts(0, 0, {})}


def test_a_process_that_began_anew_is_never_negative() -> None:
    """A restart in the middle of a watch would else cancel out as many errors as there were before."""
    metrics = source({"app1": page(1000, 50, 900)}, {"app1": page(20, 3, 10)})
    metrics.read()
    assert metrics.read().counts == {"app1": Counts(23, 3, {5.0: 10, 100.0: 13})}


def test_bounds_of_a_histogram_are_those_that_all_servers_have() -> None:
    """Two releases may have different ones: a threshold between two bounds of either cannot be told."""
    other = Page([line.replace('le="0.005"', 'le="0.01"') for line in page(1, 0, 1).lines])
    assert source({"app1": page(1, 0, 1), "app2": page(1, 0, 1)}).read().buckets == (5.0, 100.0)
    assert source({"app1": page(1, 0, 1), "app2": other}).read().buckets == (100.0,)


def test_a_page_that_is_away_is_no_data_and_nothing_is_lost() -> None:
    """No data counts neither as good nor as bad; what happened meanwhile comes with the next page."""
    away = Page(problem="Connection refused")
    metrics = source({"app1": page(0, 0, 0), "app2": page(0, 0, 0)}, {"app1": page(10, 0, 10), "app2": away})
    metrics.read()
    reading = metrics.read()
    assert set(reading.counts) == {"app1"}
    assert reading.problems == ("app2: Connection refused",)
    back = source({"app2": page(0, 0, 0)}, {"app2": away}, {"app2": page(7, 1, 8)})
    assert [back.read().counts, back.read().counts, back.read().counts] == [{}, {}, {"app2": Counts(8, 1, {5.0: 8})}]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"requests": "shop_http_request_total"}, "no page has a metric shop_http_request_total"),
        ({"errors": 'shop_http_requests_total{code=~"5.."}'}, "no label 'code'"),
        ({"latency": "shop_http_duration_bucket"}, "no page has a metric shop_http_duration_bucket"),
    ],
)
def test_a_mistyped_name_is_an_error_at_the_start(settings: dict[str, str], told: str) -> None:
    """Else nothing is ever counted, and a release is held for ever, or worse, passed."""
    with pytest.raises(MetricsError, match=told):
        source({"app1": page(1, 1, 1)}, **settings).read()
    with pytest.raises(MetricsError, match="Connection refused"):
        source({"app1": Page(problem="Connection refused")}).read()


def test_an_application_that_nobody_has_asked_yet_is_no_mistake() -> None:
    """Right after its start it declares its metrics and has no sample of them."""
    declared = [line for line in page(0, 0, 0).lines if line.startswith("#")]
    metrics = source({"app1": Page(declared)}, {"app1": page(9, 1, 10)})
    metrics.read()
    assert metrics.read().counts == {"app1": Counts(10, 1, {5.0: 10})}


def test_the_text_format_is_read_as_it_is_defined() -> None:
    """Escapes, blanks, time stamps and odd values are all in pages out there."""
    lines = [
        r'a_total{path="C:\\dir\"x\"",note="two\nlines, {braces}",empty=""} 1.5e3 1700000000000',
        "a_total 7",
        'a_total{ x = "1" , } +Inf',
        'a_total{x="1"} nonsense',
        "# HELP a_total words 5",
        "",
        "no sample at all",
    ]
    found = [(sample.labels, sample.value) for sample in parse_samples(lines)]
    assert found == [
        ({"path": 'C:\\dir"x"', "note": "two\nlines, {braces}", "empty": ""}, 1500.0),
        ({}, 7.0),
        ({"x": "1"}, math.inf),
    ]


def test_selectors_are_read_as_prometheus_reads_them() -> None:
    """Patterns are anchored, and a label that is not there is empty."""
    selector = parse_selector('m{status=~"5..",route!~"/health/.*",method!="HEAD",quoted="a\\"b,}"}')
    labels = {"status": "500", "route": "/", "method": "GET", "quoted": 'a"b,}'}
    assert selector.takes(labels)
    for changed in ({"status": "1500"}, {"route": "/health/live"}, {"method": "HEAD"}, {"quoted": "a"}):
        assert not selector.takes({**labels, **changed})
    for wrong in ("m{status=5}", 'm{status=~"("}', "m{", "", 'm{a="1" b="2"}', "sum(m)"):
        with pytest.raises(ValueError, match=r"expected|regular"):
            parse_selector(wrong)


SERVERS = [MeasuredServer("app1", "app1", "10.0.0.1", 8000), MeasuredServer("app2-green", "app2", "10.0.0.2", 8002)]


def vector(**values: float) -> Replied:
    result = [
        {
            "metric": {
                "instance": f"10.0.0.{name[-1]}:800{0 if name[-1] == '1' else 2}",
                "status": "",
                "route": "",
                "le": "0.1",
            }
        }
        | {"value": [0, str(value)]}
        for name, value in values.items()
    ]
    return Replied(200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}))


def prometheus(answer: Callable[[str], Replied], **settings: Any) -> PrometheusMetrics:
    every = {"source": "prometheus", "prometheus": {"url": "http://prometheus:9090", **settings}}

    def ask(queries: Sequence[str]) -> list[Replied]:
        return [answer(query) for query in queries]

    return PrometheusMetrics(MetricsSettings.model_validate(every), SERVERS, ask)


def test_a_query_that_fails_later_is_tried_again_told_and_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thirds of the numbers would make an error rate that never was."""
    monkeypatch.setattr("playbooks.adapters.metrics.prometheus.RETRY_SECONDS", 0.0)
    asked: list[str] = []
    broken = [False]
    total = [10.0]

    def answer(query: str) -> Replied:
        asked.append(query)
        if broken[0] and "5.." in query:
            return Replied(503, "")
        if "(up)" in query:
            return vector(app1=1, app2=1)
        return vector(app1=total[0], app2=total[0])

    metrics = prometheus(answer)
    assert metrics.read().counts == {}
    broken[0], total[0] = True, 30.0
    asked.clear()
    reading = metrics.read()
    assert reading.counts == {}
    assert reading.problems == ("Prometheus: query errors failed: HTTP 503: no answer",)
    assert sum("5.." in query for query in asked) == 2
    broken[0], total[0] = False, 40.0
    assert metrics.read().counts == dict.fromkeys(("app1", "app2-green"), Counts(30, 30, {100.0: 30}))


def test_what_prometheus_does_not_know_is_an_error_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message must name the query, since the mistake is in it."""
    monkeypatch.setattr("playbooks.adapters.metrics.prometheus.RETRY_SECONDS", 0.0)
    with pytest.raises(MetricsError, match=r"slipway_metrics.requests: .* has nothing for it: count by"):
        prometheus(lambda _: vector()).read()
    with pytest.raises(MetricsError, match=r"it has 10.0.0.9:8002, expected 10.0.0.1:8000, 10.0.0.2:8002"):
        prometheus(lambda _: vector(app9=1)).read()
    own = [{"name": "queue", "query": "queue_lenght"}]
    with pytest.raises(MetricsError, match=r"prometheus.queries.queue: .* queue_lenght"):
        prometheus(lambda query: vector() if "queue" in query else vector(app1=1), queries=own).read()
    with pytest.raises(MetricsError, match="bad_data: parse error"):
        said = Replied(400, json.dumps({"status": "error", "error": "bad_data: parse error"}))
        prometheus(lambda _: said).read()
    with pytest.raises(MetricsError, match="Connection refused"):
        prometheus(lambda _: Replied(0, "Connection refused")).read()


def test_a_server_that_was_not_asked_for_anything_yet_begins_at_0() -> None:
    """A canary has no series before its first user: to begin with its first number would lose its first errors."""
    rounds = [vector(app1=5), vector(app1=5, app2=7)]
    turn = [0]
    metrics = prometheus(lambda query: vector(app1=1, app2=1) if "(up)" in query else rounds[turn[0]])
    assert metrics.read().counts == {}
    turn[0] = 1
    assert metrics.read().counts["app2-green"] == Counts(7, 7, {100.0: 7})


def test_a_number_that_is_away_for_once_is_no_new_one_when_it_is_back() -> None:
    """A scrape that fell between two of the queries: all errors since the process began counted as this moment's."""
    rounds = [{"app1": 900.0}, {"app1": math.nan}, {}, {"app1": 902.0}, {"app1": 3.0}]
    turn = [0]

    def answer(query: str) -> Replied:
        if "(up)" in query:
            return vector(app1=1)
        return vector(**rounds[turn[0]]) if "5.." in query else vector(app1=1000.0 + turn[0] * 50)

    metrics, errors = prometheus(answer), []
    for turn[0] in range(5):
        counts = metrics.read().counts
        errors += [counts["app1"].errors] if counts else []
    assert errors == [0, 0, 2, 3]


def test_a_process_that_began_anew_has_only_what_it_has() -> None:
    """What it has not got yet is no number that is away."""
    first = Page([*page(900, 50, 900).lines, 'shop_http_requests_total{route="/x",status="500"} 40'])
    again = Page([*page(9, 1, 9).lines, 'shop_http_requests_total{route="/x",status="500"} 41'])
    metrics = source({"app1": first}, {"app1": page(5, 1, 5)}, {"app1": again})
    metrics.read()
    assert metrics.read().counts["app1"] == Counts(6, 1, {5.0: 5, 100.0: 1})
    assert metrics.read().counts["app1"].errors == 41


def test_a_query_that_tells_more_apart_than_servers_is_added_up() -> None:
    """The last series of a server was taken for all of it."""
    turn = [0]

    def answer(query: str) -> Replied:
        if "(up)" in query:
            return vector(app1=1)
        (series,) = json.loads(vector(app1=0).body)["data"]["result"]
        by_route = [
            {"metric": {**series["metric"], "route": route}, "value": [0, str(value + turn[0])]}
            for route, value in (("/a", 100), ("/b", 5))
        ]
        return Replied(200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": by_route}}))

    metrics = prometheus(answer)
    metrics.read()
    turn[0] = 10
    assert metrics.read().counts["app1"] == Counts(20, 20, {100.0: 20})


def test_an_infinite_number_is_no_count() -> None:
    """It was a traceback in the middle of a deploy."""
    endless = Page([*page(9, 1, 9).lines, 'shop_http_requests_total{route="/x",status="500"} +Inf'])
    metrics = source({"app1": page(1, 0, 1)}, {"app1": endless})
    metrics.read()
    assert metrics.read().counts["app1"] == Counts(9, 1, {5.0: 8, 100.0: 1})
    turn = [1.0]
    other = prometheus(lambda query: vector(app1=1) if "(up)" in query else vector(app1=turn[0]))
    other.read()
    turn[0] = math.inf
    assert other.read().counts == {"app1": Counts()}


def test_own_numbers_have_limits_for_either_side() -> None:
    """NaN, the rate of nothing, keeps no limit and breaks none."""
    queries = [{"name": "queue", "query": "q", "max": 5}, {"name": "p99", "max": 2}]
    values = {"q": 7.0}

    def answer(query: str) -> Replied:
        return vector(app1=values.get(query, math.nan), app2=1)

    metrics = prometheus(answer, queries=queries)
    assert metrics.read().signals == (
        Signal("app1", "queue", bad=True, sentence="queue is 7, limit 5"),
        Signal("app2-green", "queue", bad=False, sentence="queue is 1"),
        Signal("app2-green", "p99", bad=False, sentence="p99 is 1"),
    )


def watched(*units: UnitReading, errors: Sequence[int] = (), step: float = 30.0) -> list[HostReading]:
    lines = errors or [0] * len(units)
    return [HostReading("app1", step * n, (unit,), None, lines[n]) for n, unit in enumerate(units)]


def unit(*, restarts: int = 0, mb: float = 50.0, active: str = "active") -> UnitReading:
    return UnitReading("shop-web.service", active, "running", restarts, int(mb * MEGABYTE), 256 * MEGABYTE)


def bad(readings: list[HostReading], *baseline: list[HostReading]) -> list[tuple[str, str]]:
    return [(signal.rule, signal.sentence) for signal in host_signals(readings, baseline) if signal.bad]


def test_host_signals_tell_trouble_from_every_day() -> None:
    """Each of these is met in production; the good ones must not end a release, nor the bad ones go by."""
    assert bad(watched(unit(), unit(), unit())) == []
    assert bad(watched(unit(restarts=4), unit(restarts=4))) == []
    assert bad(watched(unit(restarts=4), unit(restarts=6))) == [("restarts", "shop-web.service restarted twice")]
    assert bad(watched(unit(), unit(active="failed"))) == [("state", "shop-web.service is failed (running)")]
    assert bad(watched(unit(), unit(mb=240))) == [("memory", "shop-web.service has 240 of 256 MB")]
    assert bad(watched(*(unit(mb=50 + 15 * n) for n in range(5)))) == [
        ("memory", "shop-web.service has 110 of 256 MB and grows by 30.0 MB a minute: full in 292 s")
    ]
    warm_up = watched(unit(mb=30), unit(mb=120), unit(mb=125), unit(mb=125), unit(mb=125))
    assert bad(warm_up) == []


def test_error_lines_are_compared_with_the_old_release() -> None:
    """What the old release logs all the time is no news; what is new is."""
    noisy = watched(unit(), unit(), errors=[0, 20])
    assert bad(noisy) == [("log", "40 error lines a minute in the log")]
    assert bad(noisy, watched(unit(), unit(), errors=[0, 18])) == []
    assert bad(noisy, watched(unit(), unit(), errors=[900, 0])) == [
        ("log", "40 error lines a minute in the log where the old release has 0")
    ]


@pytest.mark.parametrize("names", [("errors",), ("queue", "queue")])
def test_two_queries_of_one_name_are_refused(names: tuple[str, ...]) -> None:
    """A number of one's own named "errors" took the place of the errors that a release is judged by."""
    queries = [{"name": name, "query": "q", "max": 5} for name in names]
    with pytest.raises(ValueError, match=f"queries: {names[0]}: the name is another query's"):
        MetricsSettings.model_validate({"source": "prometheus", "prometheus": {"url": "http://p", "queries": queries}})
