"""What the balancers' scripts make of HAProxy's and nginx's answers, without a balancer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import playbooks.steps

LIB = Path(playbooks.steps.__file__).parent / "lib"
COLUMNS = "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"
STATISTICS = [
    "pxname",
    "svname",
    "qcur",
    "scur",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "eresp",
    "econ",
    "chkfail",
    "status",
]


def run(work: Path, line: str, *fragments: str, **values: str) -> list[str]:
    """The output of a line of shell after these fragments; HAProxy's answer is the file answer, if there is one."""
    text = "".join((LIB / f"{name}.sh").read_text() for name in ("prelude", "at_most", "balancer", *fragments))
    given = {
        "work": str(work),
        "state": str(work),
        "incoming": str(work),
        "backend": "shop",
        "kind": "haproxy",
        **values,
    }
    said = "".join(f"{name}='{value}'\n" for name, value in given.items())
    answers = 'haproxy_say() { cp "$work/answer" "$work/heard"; }\n'
    done = subprocess.run(["sh", "-c", said + text + answers + line], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def server(
    backend: str, name: str, *, address: str = "10.0.0.1", up: bool = True, admin: int = 0, weight: int = 256
) -> str:
    """A line of "show servers state"."""
    return f"3 {backend} 1 {name} {address} {2 if up else 0} {admin} {weight} 1 10 6 3 4 6 0 0 0 - 8000 - 0\n"


def statistics(*servers: tuple[str, ...]) -> str:
    """The table of "show stat", with numbers for the columns after the names."""
    return f"# {','.join(STATISTICS)},\n" + "".join(f"{','.join(one)},\n" for one in servers)


def numbers(backend: str, name: str, status: str = "UP", **counts: int) -> tuple[str, ...]:
    return (backend, name, *(str(counts.get(column, 0)) for column in STATISTICS[2:-1]), status)


def haproxy(work: Path, *servers: str, in_flight: str = "") -> None:
    busy = statistics(*(numbers("shop", name, scur=3) for name in in_flight.split()))
    (work / "answer").write_text(f"1\n# {COLUMNS}\n{''.join(servers)}\n{busy}\n")


def planned(work: Path, shares: str) -> list[str]:
    (work / "shares").write_text(shares)
    return run(work, 'haproxy_table; haproxy_plan "$work/shares"', "haproxy", "haproxy_servers", "haproxy_apply")


def test_a_server_is_enabled_without_a_share_until_its_check_has_passed(tmp_path: Path) -> None:
    """HAProxy counts it as up until a check fails: users would be sent to what does not run yet."""
    haproxy(tmp_path, server("shop", "app1", admin=1, weight=100), server("shop", "app2"))
    assert planned(tmp_path, "app1 10.0.0.1 8000 256 on tester -\napp2 10.0.0.1 8000 256 off - -\n") == [
        "on set server shop/app1 weight 0",
        "on set server shop/app1 state ready",
        "wait app1",
        "on set server shop/app1 health down",
        "raise set server shop/app1 weight 256",
        "drain set server shop/app2 state drain",
        "empty app2 10.0.0.1 8000",
        "off set server shop/app2 state maint",
    ]


def test_shares_are_raised_before_others_are_lowered(tmp_path: Path) -> None:
    """The words say in which order the commands go: fewer servers than there are must never get all the traffic."""
    haproxy(
        tmp_path, server("shop", "app1", weight=100), server("shop", "app2"), server("shop-testers", "app2", admin=1)
    )
    assert planned(tmp_path, "app1 10.0.0.1 8000 200 on - -\napp2 10.0.0.1 8000 9 on tester -\n") == [
        "raise set server shop/app1 weight 200",
        "lower set server shop/app2 weight 9",
        "raise set server shop-testers/app2 state ready",
    ]


def test_a_server_that_haproxy_has_not_or_elsewhere_is_told(tmp_path: Path) -> None:
    """A weight set for another machine's server would send users there."""
    haproxy(tmp_path, server("shop", "app1"), server("other", "app2"))
    plan = planned(tmp_path, "app1 10.0.0.9 8000 256 on - -\napp2 10.0.0.1 8000 256 on - -\n")
    assert plan == ["elsewhere app1 10.0.0.1:8000 10.0.0.9:8000", "unknown app2"]


def test_a_name_is_left_to_haproxy_to_resolve(tmp_path: Path) -> None:
    """HAProxy shows the address, and the settings have the name: they are not the same, and nothing is wrong."""
    haproxy(tmp_path, server("shop", "app1"))
    assert planned(tmp_path, "app1 app1.example 8000 256 on - -\n") == []


def test_how_haproxy_stands_is_told_a_line_a_server(tmp_path: Path) -> None:
    """Bit 8 is drained, bit 1 is maintenance; requests of testers count for the same server."""
    servers = (
        server("shop", "app1", weight=128),
        server("shop", "app2", admin=8, up=False),
        server("shop", "app3", admin=1),
        server("shop-testers", "app1"),
        server("shop-testers", "app2", admin=1),
    )
    haproxy(tmp_path, *servers, in_flight="app1 app2")
    told = run(tmp_path, 'haproxy_state >/dev/null; cat "$work/state"', "haproxy", "haproxy_servers", "haproxy_state")
    assert told == [
        "app1 10.0.0.1 8000 128 on tester up 3",
        "app2 10.0.0.1 8000 256 drain - down 3",
        "app3 10.0.0.1 8000 256 off - - 0",
    ]


def test_what_haproxy_counted_is_told_of_each_server_and_of_all(tmp_path: Path) -> None:
    """An answer that HAProxy makes for a server that is gone counts as that server's error."""
    rows = (
        numbers("shop", "app1", "UP 1/2", qcur=1, hrsp_2xx=7, hrsp_5xx=2, eresp=1, chkfail=4),
        numbers("shop-testers", "app1", hrsp_2xx=5),
        numbers("shop", "FRONTEND", hrsp_2xx=99),
        numbers("shop", "BACKEND", qcur=2, hrsp_2xx=7, hrsp_5xx=3),
        numbers("other", "app1", hrsp_2xx=50),
    )
    (tmp_path / "counted").write_text("Pid: 7\n\n" + statistics(*rows))
    told = run(tmp_path, 'haproxy_tell_requests "$work/counted"', "haproxy_counts")
    assert told == ["checked\tapp1\t4\tfailing", "counter\tapp1\t15\t3", "whole\tepoch\t10\t3", "queue\t3"]


def test_latencies_since_the_cursor_are_counted_in_buckets(tmp_path: Path) -> None:
    """Time in the queue, for the connection and for the answer; without an answer, all but the client's own time."""
    lines = [
        "T1 10.9.9.9:1 [now] front shop/app1 0/0/1/9/10 200 5",
        "T2 10.9.9.9:2 [now] front shop/app1 0/5/5/90/100 200 5",
        "T3 10.9.9.9:3 [now] front shop/app2 10/0/-1/-1/+20 503 5",
        "T4 10.9.9.9:4 [now] front shop/<NOSRV> 0/-1/-1/-1/0 503 5",
    ]
    (tmp_path / "ring").write_text("\n".join(lines) + "\n")
    told = run(tmp_path, "haproxy_tell_latencies 'T1 10.9.9.9:1' \"$work/ring\" | sort", "haproxy_counts")
    # 1.1 to the power of 49 is the first that is 100 or more, of 25 the first that is 10 or more.
    assert told == ["cursor\tT4 10.9.9.9:4", "latency\tapp1\t49\t1", "latency\tapp2\t25\t1"]


def test_nginx_is_told_which_server_it_has_not(tmp_path: Path) -> None:
    """It said "the balancer has app2 at :": awk had made the entry that it then looked for."""
    (tmp_path / "shop.conf").write_text("# server app1 10.0.0.1 8000 256 on tester\n")
    (tmp_path / "shares").write_text("app2 10.0.0.2 8000 256 on tester -\n")
    line = f'nginx_files={tmp_path}; (nginx_apply "$work/shares" 0 0) || :'
    told = run(
        tmp_path, line, "nginx", "nginx_answers", "nginx_apply", "set_traffic", kind="nginx", path="/", health_host="x"
    )
    assert told == ["error\tunknown-server\tthe balancer has no server app2"]


def test_nginx_gets_a_file_of_who_serves(tmp_path: Path) -> None:
    """Testers get everybody's servers where none is theirs; one server that is left is not taken out for its errors."""
    (tmp_path / "shares").write_text("app1 10.0.0.1 8000 256 on -\napp2 ::2 8000 9 off tester\n")
    told = run(tmp_path, 'nginx_render "$work/shares"', "nginx", kind="nginx")
    first, second = (
        [
            f"upstream {name} {{",
            f"    zone {name} 256k;",
            "    server 10.0.0.1:8000 weight=256 max_fails=0; # app1",
            "    server [::2]:8000 weight=9 max_fails=0 down; # app2",
            "    keepalive 32;",
            "}",
        ]
        for name in ("shop", "shop-testers")
    )
    assert told[1:] == ["# server app1 10.0.0.1 8000 256 on -", "# server app2 ::2 8000 9 off tester", *first, *second]


def test_each_try_of_nginx_counts_for_its_server(tmp_path: Path) -> None:
    """A request that the second server answered is an error of the first, and none of what clients got."""
    (tmp_path / "shop.conf").write_text("# server app1 10.0.0.1 8000 256 on -\n# server app2 ::2 8000 9 on -\n")
    (tmp_path / "log-shop.log").write_text("200|10.0.0.1:8000, [::2]:8000|502, 200|0.001, 0.100\n503|-|-|-\n500||||\n")
    line = 'nginx_counts 0:0 | grep -v "^cursor" | sort'
    text = f"nginx_files={tmp_path}; nginx_log={tmp_path}/log\n{line}"
    assert run(tmp_path, text, "nginx", "nginx_counts", kind="nginx") == [
        "counted\tapp1\t1\t1",
        "counted\tapp2\t1\t0",
        "epoch\t-",
        "latency\tapp1\t0\t1",
        "latency\tapp2\t49\t1",
        "whole\tcursor\t1\t0",
    ]


def test_a_usual_weight_that_changes_is_taken_by_who_has_it(tmp_path: Path) -> None:
    """Who has another weight, such as half of it in a deploy, keeps that; status must not call the new one drift."""
    (tmp_path / "servers").write_text(
        "app1 10.0.0.1 8000 100 on -\napp2 10.0.0.2 8000 100 on -\napp3 10.0.0.3 8000 7 on -\n"
    )
    (tmp_path / "weights").write_text("app1 256\napp2 256\napp3 7\n")
    (tmp_path / "traffic").write_text("app1 10.0.0.1 8000 256 on -\napp2 10.0.0.2 8000 9 on -\n")
    work = tmp_path / "work"
    work.mkdir()
    line = (
        'work=$work/work; usual_weights; cat "$work/usual"; keep_usual_weights; cat "$state/traffic" "$state/weights"'
    )
    assert run(tmp_path, line, "usual_weights") == [
        "app1 256 100",
        "app2 256 100",
        "app1 10.0.0.1 8000 100 on -",
        "app2 10.0.0.2 8000 9 on -",
        "app1 100",
        "app2 100",
        "app3 7",
    ]


def test_a_guard_of_an_older_slipway_still_says_how_long_it_takes(tmp_path: Path) -> None:
    """It has its values by their places in one file; a newer one has a file for each that others read."""
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "seconds").write_text("60\n")
    line = "guard=$state/guard; guard_takes"
    assert run(tmp_path, line, "dead_task") == ["60"]
    (guard / "retreat").touch()
    (guard / "arguments").write_text("home\nhaproxy\nshop\n/run/s\n/\nx\n30\n30\n45\n{}\n")
    assert run(tmp_path, line, "dead_task") == ["105"]
    (guard / "settle").write_text("20\n")
    assert run(tmp_path, line, "dead_task") == ["80"]


def test_an_address_of_haproxys_is_no_option_of_a_program(tmp_path: Path) -> None:
    """HAProxy's user may take the place of the socket; "-D/etc/x" as an address told ss(8), as root, to write there."""
    states = f"1\n# {COLUMNS}\n" + server("shop", "a", address="-D/etc/x") + server("shop", "b", address="fe80::1")
    (tmp_path / "answer").write_text(states + statistics(numbers("shop", "a"), numbers("shop", "b")))
    run(tmp_path, "haproxy_table", "haproxy", "haproxy_servers")
    rows = [line.split() for line in (tmp_path / "now").read_text().splitlines()]
    assert [(row[1], row[2], row[3]) for row in rows] == [("a", "0.0.0.0", "8000"), ("b", "fe80::1", "8000")]
