"""What leaves Slipway for a person, a log or a program: no secret in it, in whatever way it is written or laid out."""

from __future__ import annotations

import ast
import base64
import contextlib
import html
import io
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from invoke.exceptions import Exit

from playbooks.adapters.secrets.masking import MASK, _undone
from playbooks.adapters.secrets.sources import Secrets
from playbooks.cli import runner
from playbooks.core.errors import ExitStatus, StepFailed
from playbooks.core.phases import Phase, PhaseCode
from playbooks.fleet.progress import Look, Progress, Side
from playbooks.report import tables
from playbooks.settings.model import EnvSecret

PROJECT = Path(__file__).resolve().parent.parent.parent
PIECE = 8  # as many characters of a secret in a row, or half of a shorter one, are too many

SIGNS = "abcdeXYZ0123 !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~äß€😀"
# Of one that is little but quotes, backslashes and escapes only the more common forms are known.


def _is_a_secret(text: str) -> bool:
    return text == text.strip() and all(len(plain) >= 4 for plain, _, _ in _undone(text))


SECRETS = st.text(SIGNS, min_size=4, max_size=60).filter(_is_a_secret)
# Long ones of their own: most of the others are too short to be cut.
LONG_SECRETS = st.text(SIGNS, min_size=2 * PIECE, max_size=60).filter(
    lambda text: _is_a_secret(text) and len(text.replace(" ", "")) >= 2 * PIECE
)
AROUND = st.text("жщю <>\"'=:,;{}[]()\n\t", max_size=40)

WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": json.dumps,
    "JSON with its letters": lambda text: json.dumps(text, ensure_ascii=False),
    "JSON with slashes escaped": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON for HTML": lambda text: re.sub("[<>&']", lambda sign: f"\\u{ord(sign[0]):04X}", json.dumps(text)),
    "URL": lambda text: quote(text, safe=""),
    "URL in small letters": lambda text: re.sub("%..", lambda one: one[0].lower(), quote(text)),
    "form": quote_plus,
    "URL of PostgreSQL": lambda text: f"postgresql://shop:{quote(text, safe='')}@db1:5432/shop",
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 behind one": lambda text: base64.b64encode(b"x" + text.encode() + b"xyz").decode(),
    "base64 behind two": lambda text: base64.b64encode(b"xy" + text.encode() + b"xyz").decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(b"shop:" + text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "HTML": html.escape,
    "HTML by numbers": lambda text: "".join(f"&#{ord(sign)};" for sign in text),
    "shell": shlex.quote,
    "YAML": lambda text: "'" + text.replace("'", "''") + "'",
    "SQL": lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'",
    "Python": repr,
    "bytes of Python": lambda text: repr(text.encode()),
}


def leaks(printed: str, secret: str, written: str) -> str | None:
    """A piece of a secret that can be read in what was printed, wherever lines were broken."""
    seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\s", "", printed)
    bare_secret = re.sub(r"\s", "", secret)
    # What stands around it in a URL may be read.
    for form in (secret, quote(secret, safe="") if "://" in written else written):
        bare = re.sub(r"\s", "", form)
        size = min(PIECE, max(4, len(bare) // 2)) if bare == bare_secret else PIECE
        for at in range(len(bare) - size + 1):
            if bare[at : at + size] in seen:
                return bare[at : at + size]
    return None


def secrets_with(value: str) -> Secrets:
    found = Secrets({}, Path())
    found.strike(value)
    return found


class Terminal(io.StringIO):
    """Standard output or standard error, with a person before it or not."""

    def __init__(self, person: bool) -> None:
        super().__init__()
        self._person = person

    def isatty(self) -> bool:
        return self._person


@contextlib.contextmanager
def screen(width: int, *, person: bool = True, **variables: str) -> Iterator[Terminal]:
    """Both streams are one, as on a screen."""
    stream = Terminal(person)
    env = {"TERM": "xterm-256color", "COLUMNS": str(width), "LINES": "50", **variables}
    with mock.patch.dict(os.environ, env), mock.patch("sys.stdout", stream), mock.patch("sys.stderr", stream):
        if "CI" not in variables:
            os.environ.pop("CI", None)
        yield stream


class Answer:
    """What a playbook returns."""

    schema = "slipway.test/1"
    exit_status = ExitStatus.DONE

    def __init__(self, text: str) -> None:
        self.text = text

    def to_json(self) -> dict[str, Any]:
        return {"detail": self.text, "hosts": {self.text: [{"why": self.text}]}}


def perform(value: str, said: str, *, fails: bool = False, as_json: bool = False) -> None:
    """A task in which a secret is said wherever anything can be said."""
    environment = SimpleNamespace(
        secrets=secrets_with(value),
        flag="--env=lab",
        about=f"shop on lab {said}",
        name="lab",
        inventory=SimpleNamespace(warnings=[f"careful: {said}"]),
    )

    def act(_: Any, progress: Progress) -> Answer:
        progress.hosts(["app1", f"app2 {said}"])
        progress.phase(Phase(PhaseCode.SHIFTING, f"phase {said}", f"stage {said}"))
        progress.begin("app1", "stage")
        progress.note("app1", f"it says {said} aloud")
        side = Side(f"1.0 {said}", 100, 3, 1.0, 2.0, 3.0)
        lacking = ((f"p95 {said}", f"too few {said}"),)
        for outcome in ("inconclusive", "bad"):
            stage = f"stage {said}"
            progress.look(Look(stage, 0.5, 1, 1, 9, 1, side, side, side, side, outcome, said, lacking, f"then {said}"))
        progress.end("app1", "stage", None, 1.0)
        progress.begin("app2", "hook")
        error = StepFailed(f"the hook says {said} and more", host="app2", step="hook", hint=f"look at {said}")
        progress.end("app2", "hook", error, 1.0)
        if fails:
            raise error
        return Answer(f"all is {said} well")

    def show(answer: Answer) -> None:
        filler = "что-то other words of some length"
        tables.show_table(("host", "detail", "why"), [("app1", answer.text, filler), ("app2", filler, answer.text)])
        tables.say(answer.text)
        tables.show_table(("setting", "value"), [("url", tables._compact({"x": answer.text}))])

    with mock.patch.object(runner, "load", lambda *_, **__: (environment,)), contextlib.suppress(Exit):
        runner.perform("lab", act, show, as_json=as_json)


@settings(max_examples=150, deadline=None)
@given(SECRETS, st.sampled_from(sorted(WRITTEN)), st.integers(20, 250), AROUND, AROUND, st.booleans())
def test_no_width_of_a_terminal_shows_a_secret(
    value: str, how: str, width: int, before: str, after: str, fails: bool
) -> None:
    """Rich folds and cuts; at 155 columns three quarters of a password stood at the end of one line."""
    written = WRITTEN[how](value)
    assume(not leaks(before + after, value, written))
    with screen(width) as seen:
        perform(value, before + written + after, fails=fails)
    assert "app1" in seen.getvalue()
    assert leaks(seen.getvalue(), value, written) is None, seen.getvalue()


@settings(max_examples=60, deadline=None)
@given(SECRETS, st.sampled_from(sorted(WRITTEN)), st.booleans(), st.booleans())
def test_neither_a_log_nor_json_shows_a_secret(value: str, how: str, fails: bool, as_json: bool) -> None:
    """A CI's log is kept, and read by more people than the terminal."""
    written = WRITTEN[how](value)
    for variables in ({"NO_COLOR": "1"}, {"CI": "true"}, {"TERM": "dumb"}, {"FORCE_COLOR": "1"}):
        with screen(80, person="NO_COLOR" in variables, **variables) as seen:
            perform(value, f"ж {written} ж", fails=fails, as_json=as_json)
        assert leaks(seen.getvalue(), value, written) is None, seen.getvalue()


@settings(max_examples=150, deadline=None)
@given(SECRETS, st.lists(st.sampled_from(sorted(WRITTEN)), min_size=2, max_size=2), AROUND, AROUND)
def test_a_secret_is_found_in_a_form_within_a_form(value: str, how: list[str], before: str, after: str) -> None:
    """A log line in JSON that holds JSON, or a URL in HTML, is nothing rare."""
    quoting = [name for name in how if "base64" not in name and "hex" not in name.lower()]
    assume(len(quoting) == 2 and "bytes of Python" not in how)
    written = WRITTEN[how[1]](WRITTEN[how[0]](value))
    assume(not leaks(before + after, value, written))
    told = secrets_with(value).mask(before + written + after)
    assert leaks(told, value, value) is None, told
    assert MASK in told


@given(LONG_SECRETS, st.data())
def test_what_is_left_of_a_secret_that_was_cut_is_struck_out_too(value: str, data: st.DataObject) -> None:
    """Hosts cut what they tell to some hundred characters, and a line of a host may end within a secret."""
    at = data.draw(st.integers(0, len(value)))
    secrets = secrets_with(value)
    for part in (f"жж {value[:at]}", f"{value[at:]} жж"):
        assert leaks(secrets.mask(part), value, value) is None


@given(st.lists(SECRETS, min_size=2, max_size=5))
def test_secrets_that_overlap_are_all_struck_out(values: list[str]) -> None:
    """The shorter one, struck out first, leaves the rest of the longer one."""
    secrets = Secrets({}, Path())
    values = [*values, values[0] + values[1][:3], values[0][2:] + values[1]]
    for value in values:
        secrets.strike(value)
    told = secrets.mask("ж".join(values) + "ж" + "".join(values))
    for value in values:
        assert leaks(told, value, value) is None


@pytest.mark.parametrize("how", sorted(WRITTEN))
def test_a_secret_of_several_lines_is_struck_out_line_by_line(how: str) -> None:
    """A private key comes out of a vault; JSON makes one line of it."""
    lines = [base64.b64encode(bytes(range(n, n + 48))).decode() for n in (0, 48, 96, 144)]
    secrets = secrets_with("\n".join(lines))
    told = secrets.mask(f"the key is {WRITTEN[how](chr(10).join(lines))}, unfortunately")
    for line in lines:
        assert leaks(told, line, line) is None
    assert told.startswith("the key is ")


def test_the_password_in_a_url_is_a_secret_of_its_own() -> None:
    """A program that takes a URL apart tells the password alone; what all URLs begin with stays readable."""
    secrets = secrets_with("postgresql://shop:s%2Fwordf1sh@db1/shop?sslmode=verify-full")
    assert secrets.mask("login as shop with s/wordf1sh failed") == "login as shop with •••••• failed"
    assert secrets.mask("postgresql://other@db2/x refuses") == "postgresql://other@db2/x refuses"


def test_ordinary_text_stays_as_it_is() -> None:
    """A text full of marks cannot be read at 3 a.m."""
    secrets = secrets_with("hunter2-hunter3-hunter4")
    secrets.strike("tok")
    text = 'app1: {"error": "token of hunter refused", "path": "C:\\\\tmp", "at": "50%25"} &amp; so on'
    assert secrets.mask(text) == text


def test_secrets_from_the_environment_are_struck_out_before_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a task has no use for may still be in what an application says."""
    monkeypatch.setenv("SHOP_TOKEN", 'to"ken/with+signs')
    secrets = Secrets({"token": EnvSecret(env="SHOP_TOKEN")}, Path())
    assert secrets.mask("?t=to%22ken%2Fwith%2Bsigns&x") == "?t=••••••&x"


def test_striking_out_takes_no_longer_than_reading() -> None:
    """A host may write whatever it likes, and watches us wait."""
    secrets = secrets_with('p"a\\ss w+ö%41rd')
    for flood in ("\\", "&", "&amp;", "%25", "%", "\\u0041", "\\x", "'", 'p"a\\ss w', "a"):
        secrets.mask(flood * (200_000 // len(flood)))


def writers(path: Path) -> Iterator[str]:
    """Where a module reaches for what a person sees."""
    for node in ast.walk(ast.parse(path.read_text())):
        name = ""
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.Name):
            name = node.id
        elif isinstance(node, ast.ImportFrom | ast.Import):
            name = getattr(node, "module", None) or node.names[0].name
        if re.fullmatch(
            r"sys\.(__)?std(out|err)(__)?|print|pprint|os\.write|traceback(\..*)?|warnings\.warn|rich(\..*)?|"
            r"logging\.(basicConfig|StreamHandler|getLogger|error|warning|info|debug)",
            name,
        ):
            yield f"{path.relative_to(PROJECT)}:{getattr(node, 'lineno', 0)}: {name}"


def test_nothing_else_writes_to_the_screen() -> None:
    """A second way out is one on which secrets are not struck out."""
    allowed = {
        "playbooks/report/output.py",
        # They make the streams safe, or flush them.
        "playbooks/core/streams.py",
        "playbooks/cli/contained.py",
        # They lay out what is shown already.
        "playbooks/report/live.py",
        "playbooks/report/looks.py",
        "playbooks/report/tables.py",
    }
    files = [PROJECT / "tasks.py", *(PROJECT / "playbooks").rglob("*.py")]
    found = [one for path in files if str(path.relative_to(PROJECT)) not in allowed for one in writers(path)]
    telling = tuple(f"playbooks/cli/{name}.py" for name in ("runner", "telling", "confirming"))
    assert [one for one in found if not one.startswith(telling)] == []
    # That paramiko writes nothing, that there are streams, and whether a person sits there.
    assert {one.rpartition(": ")[2] for one in found} <= {"logging.getLogger", "sys.stderr", "sys.stdout"}
