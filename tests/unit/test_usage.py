"""Typing errors at the command line: a sentence, a way on, status 2, and nothing done."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from invoke import Program
from invoke.exceptions import Exit

from playbooks.cli import bad_usage, confirming, runner
from playbooks.core.errors import UsageError
from playbooks.environments.load import load_environment
from playbooks.report import output
from tasks import namespace
from tests.schemas import check_document

PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["deploy", "--versoin=1"], "deploy has no flag --versoin. Did you mean --version?", "invoke --help deploy"),
        (["deploy", "--env"], "--env needs a value", "--env=VALUE"),
        (["deploy", "staging"], "deploy cannot make sense of 'staging'", "invoke --help deploy"),
        (["deplyo", "--env=lab"], "there is no task 'deplyo'. Did you mean deploy?", "invoke --list"),
        (["deploy", "--env=nowhere", "--version=1.0.0", "--dry"], "deploy knows no --dry", "--check"),
        (["deploy", "-e", "lab", "--version=1", "--version=2"], "deploy is given --version twice", "--help deploy"),
        (["--dry", "rollback", "--env=nowhere"], "rollback knows no --dry", "leave it out"),
        (["rollback", "-e", "nowhere", "-w"], "rollback has no flag -w", "invoke --help rollback"),
        (["rollback", "-jw", "--env=nowhere"], "rollback has no flag -w", "before the task"),
        (["deploy", "--env=nowhere", "--echo"], "deploy has no flag --echo", "before the task"),
    ],
)
def test_a_typing_error_is_a_sentence(words: list[str], said: str, hint: str) -> None:
    """Invoke's own --dry is the worst of them: it was taken, and the deploy was a real one."""
    done = subprocess.run(
        [PROJECT / ".venv/bin/invoke", *words], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith(f"error: {said}")
    assert first.endswith("othing was touched")
    assert second.startswith("  → ")
    assert hint in second
    assert done.stdout == ""


@pytest.mark.parametrize(("closed", "status"), [("<&- >&- 2>&-", 0), (">&-", 0), ("--limit=nobody 2>&-", 2)])
def test_what_cannot_be_written_changes_no_status(closed: str, status: int) -> None:
    """Some launchers close what nobody reads. A deploy that has succeeded must not end with a traceback and 1."""
    line = f"exec {PROJECT}/.venv/bin/invoke inventory --env=staging {closed}"
    done = subprocess.run(["sh", "-c", line], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert "Traceback" not in done.stderr


def test_the_question_stands_alone_on_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    """Once a picture moved under it, and swallowed what was typed."""

    def ask(environment: runner.Environment) -> None:
        sys.stderr.write("Sure? ")
        raise UsageError(f"{environment.name}: no")

    with pytest.raises(Exit) as ended:
        runner.perform("lab", lambda _, __: pytest.fail("it went on"), print, ask=ask)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "== shop on lab: 3 hosts\nSure? error: lab: no\n"


@pytest.mark.parametrize(
    ("word", "yes", "terminal", "said"),
    [
        (confirming.DEPLOY_WORD, False, True, ""),
        ("yes", False, True, "not confirmed; nothing was touched"),
        ("", False, False, "nobody is here to confirm: deploy 1.1.0; nothing was touched"),
        ("", True, False, ""),
    ],
    ids=["the word", "another word", "nobody there", "--yes"],
)
def test_production_asks_for_a_word(
    monkeypatch: pytest.MonkeyPatch, word: str, yes: bool, terminal: bool, said: str
) -> None:
    """A deploy that was meant for staging ends here (A6, D2)."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal)
    monkeypatch.setattr(output, "prompt", lambda question: word if confirming.DEPLOY_WORD in question else "")
    production = load_environment("production", PROJECT)
    if said:
        with pytest.raises(UsageError, match=said):
            confirming.confirm(production, "deploy 1.1.0", confirming.DEPLOY_WORD, yes=yes)
    else:
        confirming.confirm(production, "deploy 1.1.0", confirming.DEPLOY_WORD, yes=yes)
    confirming.confirm(load_environment("staging", PROJECT), "deploy 1.1.0", confirming.DEPLOY_WORD, yes=False)


def test_an_inventory_without_hosts_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """'The pattern all matches no host' is the answer to a question that nobody asked."""
    with pytest.raises(Exit):
        runner.perform(str(tmp_path), lambda _, __: pytest.fail("it went on"), print)
    assert f"{tmp_path} names no host" in capsys.readouterr().err


def test_ctrl_c_says_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever stops a task wants to know what it has left behind."""

    def act(_: runner.Environment, __: runner.Progress) -> runner.Outcome:
        raise KeyboardInterrupt

    with pytest.raises(Exit) as ended:
        runner.perform("lab", act, print)
    assert ended.value.code == 1
    assert "error: stopped by Ctrl-C\n  → where it stands: invoke status --env=lab\n" in capsys.readouterr().err


@pytest.mark.parametrize(("last", "nothing"), [("facts", True), ("lock", False)])
def test_ctrl_c_while_it_only_looks_has_touched_nothing(
    last: str, nothing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first question of whoever stops a task in time; it sent him to look at a fleet that was as before."""

    def act(_: runner.Environment, progress: runner.Progress) -> runner.Outcome:
        for step in ("connect", last):
            progress.begin("app1", step)
        raise KeyboardInterrupt

    with pytest.raises(Exit):
        runner.perform("lab", act, print)
    said = capsys.readouterr().err
    assert ("stopped by Ctrl-C; nothing was touched" in said, "invoke status" in said) == (nothing, not nothing)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"host": "web1"}, "--host=web1 is no host; nothing was touched"),
        ({"host": "ap1"}, "--host=ap1 is no host. Did you mean app1? Nothing was touched"),
        ({"host": "app"}, "--host=app is a group, not a host; nothing was touched"),
        ({"host": "edge1"}, "--host=edge1 is none of the application's hosts; nothing was touched"),
        ({"host": "app2", "limit": "app1"}, "--host=app2 is none of the hosts that --limit=app1 leaves"),
        ({"limit": "nope"}, "'nope' matches no group and no host.\n"),
    ],
)
def test_a_host_that_is_none(flags: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It was taken for a pattern: a group was all of its hosts, and 'nope' may have been meant for 'ungrouped'."""
    with pytest.raises(Exit) as ended:
        runner.perform(
            "lab", lambda _, __: pytest.fail("it went on"), print, limit=flags.get("limit"), host=flags.get("host")
        )
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_what_narrowed_the_hosts_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Who typed --host was told of a --limit."""

    def ask(_: runner.Environment) -> None:
        raise UsageError("no")

    for limit, host, said in (("app", "app1", "--limit and --host"), ("app1", None, "--limit")):
        with pytest.raises(Exit):
            runner.perform("lab", lambda _, __: pytest.fail("it went on"), print, ask=ask, limit=limit, host=host)
        assert f"1 host, narrowed by {said}\n" in capsys.readouterr().err


def test_a_short_flag_means_the_same_in_every_task() -> None:
    """-w was --watch in deploy and --with-database in rollback; what cannot be undone is written out."""
    meant: dict[str, set[str]] = {}
    for name in namespace.task_names:
        for argument in namespace[name].get_arguments(ignore_unknown_help=True):
            for short in (one for one in argument.nicknames if len(one) == 1):
                meant.setdefault(short, set()).add(argument.name or "")
    assert meant == {short: {name} for name, short in bad_usage.SHORT.items()}
    dangerous = {"with-database", "yes", "force", "resume", "replace", "repair", "accept", "reject", "off", "on"}
    assert not dangerous & set(bad_usage.SHORT)


@pytest.mark.parametrize(
    "words",
    [
        ["deploy", "--json", "--versoin=1"],
        ["deploy", "-j", "--env"],
        ["--dry", "rollback", "--env=nowhere", "--json"],
        ["restore", "--env=lab", "--json"],
        ["console", "--env=lab", "--json"],
    ],
)
def test_a_program_that_typed_wrong_reads_why(words: list[str]) -> None:
    """--json with nothing on standard output is no JSON."""
    done = subprocess.run(
        [PROJECT / ".venv/bin/invoke", *words], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    document = json.loads(done.stdout)
    check_document(document)
    assert document["error"]["code"] == "usage.invalid"
    assert document["error"]["message"] in done.stderr
    assert document["exit_status"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["deploy", "--check", "--resume"], "--check does not go with --resume"),
        (["deploy", "--resume", "--version=1.0"], "--version does not go with --resume"),
        (["deploy", "--check", "--report=x.html"], "--report does not go with --check"),
        (["rollback", "--list", "--to=1.0", "--check"], "--check and --to do not go with --list"),
        (["rollback", "--list", "--with-database"], "--with-database does not go with --list"),
        (["rollback", "--check", "--report=x.html"], "--report does not go with --check"),
        (["history", "--repair", "--verify"], "--verify does not go with --repair"),
        (["history", "--accept=1"], "--accept goes with --repair only"),
        (["history", "--since=2h"], "--since goes with --verify only"),
        (["history", "--verify", "--records=3"], "--records does not go with --verify"),
        (["history", "--most=3"], "history has no flag --most any more: it is --records"),
        (["inventory", "--host=app1", "--limit=app"], "--limit does not go with --host"),
        (["inventory", "--vars", "--app=shop"], "--app does not go with --vars"),
        (["deploy", "--version="], "--version is empty"),
        (["rollback", "--to="], "--to is empty"),
        (["status", "--limit="], "--limit is empty"),
    ],
)
def test_flags_that_do_not_count_are_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--check --resume was a dry run of another deploy; --limit=, out of an empty variable, was the whole fleet."""
    with pytest.raises(SystemExit) as ended:
        Program(namespace=namespace).run(["invoke", *words, "--env=lab"])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
