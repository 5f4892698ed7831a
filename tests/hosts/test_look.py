"""Looking into what runs, on real hosts: logs of all of them, commands and a terminal in the release."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from testinfra.host import Host

from tests.hosts.conftest import INVOKE, PROJECT, App, invoke, wait_until
from tests.schemas import check_document

pytestmark = pytest.mark.load_sensitive("a terminal is read while a task runs")

On = Callable[[str], Host]


@pytest.fixture
def talking(app: App) -> App:
    """An application on two hosts that says things, and has a secret in its environment."""
    folder = app.folder / "inventory" / "templates"
    folder.mkdir(parents=True)
    (folder / "app.env.j2").write_text("TOKEN={{ secrets.token }}\nGREETING='hello  you'\n")
    unit = {"ExecStart": f"{app.home}/current/bin/run", "EnvironmentFile": f"{app.home}/current/conf/app.env"}
    app.write(
        hosts="app1,app2",
        config=[{"template": "app.env.j2", "dest": "conf/app.env"}],
        services=[{"name": app.name, "unit": {"Service": unit}}],
    )
    app.build("1.0", line=f'echo "begins with $TOKEN"; printf "\\033[2Jtwo\\n"\nexec python3 -m http.server {app.port}')
    done = app.deploy("1.0")
    assert done.status == 0, done.err
    return app


def test_logs_of_all_hosts_are_merged_and_followed(talking: App, on: On) -> None:
    """Who looks for an error in a fleet would log in to each host; what is written must not steer the terminal."""
    for host in ("app2", "app1", "app2"):
        on(host).check_output(f"curl -s localhost:{talking.port}/from-{host}")
        time.sleep(0.01)
    shown = invoke("logs", talking.env)
    assert shown.status == 0, shown.err
    asked = [line for line in shown.out.splitlines() if "GET /from-" in line]
    assert [line.split()[1] for line in asked] == ["app2", "app1", "app2"]
    assert "begins with ••••••" in shown.out and "␛[2Jtwo" in shown.out
    document = invoke("logs", talking.env, "--json", "--host=app2", "--lines=3", f"--unit={talking.name}").json
    assert {line["host"] for line in document["lines"]} == {"app2"} and len(document["lines"]) == 3
    flags = ("--json", "--host=app2", "--lines=3", f"--unit={talking.name}", "--since=1h")
    assert invoke("logs", talking.env, *flags).json["lines"] == document["lines"], "not the first"
    wrong = invoke("logs", talking.env, "--unit=other")
    assert wrong.status == 2 and f"it has: {talking.name}.service" in wrong.err

    following = subprocess.Popen(
        [str(INVOKE), "logs", talking.env, "--follow", "--json", "--lines=1"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert following.stdout is not None
        first = [json.loads(following.stdout.readline()) for _ in range(2)]
        assert {line["host"] for line in first} == {"app1", "app2"}
        for line in first:
            check_document(line)
        on("app1").check_output(f"curl -s localhost:{talking.port}/while-followed")
        assert "/while-followed" in following.stdout.readline() + following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 0
    finally:
        following.kill()
        following.communicate()
    wait_until(lambda: on("app1").run("pgrep -x journalctl").rc == 1, seconds=10)
    assert _read_one_line("logs", talking.env, "--follow") == 0
    wait_until(lambda: on("app1").run("pgrep -x journalctl").rc == 1, seconds=10)


def _read_one_line(*words: str) -> int:
    """As | head -1 does; the task's exit status."""
    task = subprocess.Popen([str(INVOKE), *words], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert task.stdout is not None
        assert task.stdout.readline()
        task.stdout.close()
        return task.wait(20)
    finally:
        task.kill()
        task.wait()


def test_a_command_runs_in_the_release_and_is_recorded(talking: App, on: On) -> None:
    """As the unit: its user, folder, environment, on all hosts; words stay words; what it hands on holds nobody up."""
    script = 'echo "$(id -un) $(pwd) $GREETING $1"; [ -n "$TOKEN" ] && echo "$TOKEN"; exit "$2"'
    ran = invoke("exec", talking.env, "--json", "--", "sh", "-c", script, "sh", "a  'b' $HOME %n", "0")
    assert ran.status == 0, ran.err
    for host, run in zip(("app1", "app2"), ran.json["hosts"], strict=True):
        place = on(host).check_output(f"readlink -f {talking.home}/current")
        assert run["output"] == [f"www-data {place} hello  you a  'b' $HOME %n", "••••••"]
    failed = invoke("exec", talking.env, "--limit=app2", "--", "sh", "-c", "printf oops >&2; exit 7")
    assert failed.status == 1 and failed.out == "oops\n" and "app2: status 7" in failed.err
    killed = invoke("exec", talking.env, "--host=app1", "--", "sh", "-c", "kill -TERM $$")
    assert killed.status == 1 and "app1: status 143 (SIGTERM)" in killed.err
    assert invoke("exec", talking.env).status == 2
    talking.write(app="empty")
    nothing = invoke("exec", talking.env, "--", "true")
    assert nothing.status == 1 and "nothing was touched" in nothing.err
    assert not on("app1").file("/var/lib/slipway/empty").exists
    talking.write(app=talking.name)
    assert "nothing was touched" in invoke("exec", talking.env, "--unit=other", "--", "true").err
    assert _read_one_line("exec", talking.env, "--host=app1", "--", "sh", "-c", "echo a; sleep 4320") == 1
    wait_until(lambda: on("app1").run("pgrep -xf 'sleep 4320' || ls -d /run/slipway/exec.*").rc != 0, seconds=15)
    (cut, *failures, first) = invoke("history", talking.env, "--json", "--records=4").json["records"]
    # Of two that began within a second, only those that a host has both of are in a certain order.
    last, terminated = sorted(failures, key=lambda one: "app1" in one["hosts"])
    assert [one["status"] for one in (cut, terminated)] == ["interrupted", "failed"]
    assert (last["task"], last["status"], last["hosts"]) == ("exec", "failed", {"app2": "status 7"})
    assert last["reason"] == "sh -c 'printf oops >&2; exit 7'" and first["hosts"]["app1"] == "status 0"
    assert invoke("history", talking.env, "--verify").status == 0

    sleeping = subprocess.Popen(
        [str(INVOKE), "exec", talking.env, "--", "sleep", "4321"],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: on("app1").run("pgrep -xf 'sleep 4321'").rc == 0, seconds=30)
    finally:
        sleeping.kill()
        sleeping.communicate()
    wait_until(lambda: on("app1").run("pgrep -xf 'sleep 4321'").rc == 1, seconds=30)
    (record,) = invoke("history", talking.env, "--json", "--records=1").json["records"]
    assert (record["status"], record["reason"]) == ("begun", "sleep 4321")
    assert invoke("history", talking.env, "--verify").status == 0


def test_a_console_has_the_terminal(talking: App) -> None:
    """Keys, Ctrl-C and the window's size are the program's there; without a terminal there is none."""
    # It cannot say itself that it has ended: what the person types next would be her own shell's to run.
    lie = 'echo "$(sed "s|.*/||; s|[.]service||" /proc/self/cgroup) ended 0"'
    talking.write(console=f'{lie}; echo "here is $(id -un) $(stty size)"; exec sh')
    assert "needs a terminal" in invoke("console", talking.env).err
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(PROJECT)
        os.execv(INVOKE, [str(INVOKE), "console", talking.env])  # noqa: S606 - the words are ours
    said = b""

    def until(text: bytes, times: int = 1) -> None:
        nonlocal said
        deadline = time.monotonic() + 60
        while said.count(text) < times:
            assert time.monotonic() < deadline, said
            if select.select([terminal], [], [], 1)[0]:
                said += os.read(terminal, 4096)

    try:
        until(b"here is www-data 24 80")
        os.write(terminal, b"sleep 999\n")
        until(b"sleep 999\r\n")
        os.write(terminal, b"\x03")
        until(b"on app1 $ ", 2)  # a terminal throws away what is typed ahead of it
        os.write(terminal, b"echo went-$((1 + 1))-on\n")
        until(b"went-2-on")
        os.write(terminal, b"exit 3\n")
        until(b"status 3")
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 1
    finally:
        os.close(terminal)
    (record,) = invoke("history", talking.env, "--json", "--records=1").json["records"]
    assert (record["task"], record["hosts"]) == ("console", {"app1": "opened"})
