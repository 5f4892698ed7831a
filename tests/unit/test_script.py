"""The wire format between controller and host: what is sent is what arrives, and nonsense is told as nonsense."""

from __future__ import annotations

import fcntl
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbooks.core.errors import BadAnswer, StepFailed
from playbooks.fleet.failures import explain
from playbooks.fleet.lock_owner import FencingToken
from playbooks.fleet.remote import StepCall
from playbooks.fleet.script import Script, command, load, parse, quote

ANYTHING = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)


def test_a_script_that_is_cut_on_its_way_is_not_run() -> None:
    """A connection that breaks while a script is sent would run the half that came, as root."""
    text = Script("echo", "", "echo begun\necho ended").reading()
    words = ["/bin/sh", "-c", quote(command(text))]
    for length in range(len(text)):
        done = subprocess.run(words, input=text[:length], capture_output=True, check=False)
        assert done.returncode != 0 and not done.stdout, text[:length]


def test_an_acting_step_leaves_its_answer_and_its_status(tmp_path: Path) -> None:
    """What is not kept when the connection breaks has to be done twice, or is never known."""
    for body, status in (("emit a b; false; emit never", 1), ("emit a b", 0), ("emit a b; exit 7", 7)):
        with held(tmp_path, token=3):
            done = act(tmp_path, f"trap 'emit last' EXIT\n{body}", token=3)
        assert done.returncode == status
        assert (tmp_path / "answer/status").read_text() == f"{status}\n"
        assert (tmp_path / "answer/out").read_bytes() == done.stdout == b"a\tb\nlast\n"


def test_a_step_acts_only_for_who_holds_the_lock(tmp_path: Path) -> None:
    """A controller that slept wakes up in the middle of a deploy, and the fleet is somebody else's by then."""
    with held(tmp_path, token=4):
        assert act(tmp_path, "emit acted", token=4).stdout == b"acted\n"
        for old in (3, 5):
            refused = act(tmp_path, "emit acted", token=old)
            assert refused.returncode == 1 and refused.stdout.startswith(b"error\tfenced\t")
    lost = act(tmp_path, "emit acted", token=4)
    assert lost.stdout.startswith(b"error\tfenced\t"), "nobody holds the lock any more"


@given(st.dictionaries(st.sampled_from(("home", "release", "a_b2")), ANYTHING, min_size=3))
def test_a_value_arrives_under_its_name_as_it_is(values: dict[str, str]) -> None:
    """A value that the shell reads as more than one word, or as code, is run as root."""
    printed = "".join(f'printf "%s\\0" "${name}"\n' for name in sorted(values))
    text = Script("step", "set -eu", printed, tuple(values)).given(values).reading()
    done = subprocess.run(command(text), input=text, capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == [values[name] for name in sorted(values)]


def test_a_step_that_gives_other_values_than_its_script_needs_is_refused() -> None:
    """A value that is left out is empty on the host, and `rm -rf "$home/releases"` would begin at the root."""
    values = dict.fromkeys(load("switch").needs, "x")
    assert values
    load("switch").check(values)
    with pytest.raises(ValueError, match=r"switch\.sh needs other values: home is missing, it knows no house"):
        StepCall("switch", values={name: "x" for name in values if name != "home"} | {"house": "x"})
    with pytest.raises(ValueError, match=r"switch\.sh takes no words, and was given 1"):
        StepCall("switch", ["x"], values=values)


def test_no_script_reads_words_that_it_does_not_declare() -> None:
    """What is read by its place is read wrong as soon as somebody gives one word more before it."""
    for file in Path(str(files("playbooks.steps"))).glob("*.sh"):
        body = re.sub(r"(<<'?(\w+)'?[^\n]*)\n.*?^\2$", r"\1", load(file.stem).body, flags=re.DOTALL | re.MULTILINE)
        body = re.sub(r"^[a-z_]+\(\) [({] .*[)}]$\n", "", body, flags=re.MULTILINE)
        body = re.sub(r"^[a-z_]+\(\) [({]$\n.*?^[)}].*?$", "", body, flags=re.DOTALL | re.MULTILINE)
        body = re.sub(r"'[^']*'", "", body)
        read = re.search(r"\$[1-9@#*]|\$\{[1-9@#*]", body)
        own = re.search(r"^ *set -- ", body, re.MULTILINE)
        assert not read or own or load(file.stem).takes_words, f"{file.name} reads {read[0]}"


def test_no_script_needs_a_name_that_the_prelude_sets() -> None:
    """The prelude comes after the values, and would replace the step's value by its own."""
    for file in Path(str(files("playbooks.steps"))).glob("*.sh"):
        script = load(file.stem)
        assert not set(script.needs) & set(re.findall(r"^ *([a-zA-Z_]+)=", script.prelude, re.MULTILINE)), file.name
        assert len(set(script.needs)) == len(script.needs), file.name


def test_what_a_program_wrote_is_told_a_line_a_line() -> None:
    """A stack trace in one line cannot be read; and a hostile program must not fill the screen."""
    body = load("lib/output").body
    for wrote, told, log in (
        ("  no disk\n", "hook x failed: no disk", ()),
        ("why:\n    it\n", "hook x failed: it", ("why:", "    it")),
        ("", "hook x failed", ()),
        ("Trace:\n\n  at\tline 7\nNo table\r\n", "hook x failed: No table", ("Trace:", "  at line 7", "No table")),
        ("x\n" * 100 + "y" * 1000, f"hook x failed: {'y' * 300}", ("x",) * 11 + ("y" * 300,)),
    ):
        text = Script("hook", load("hold").prelude, f'{body}\nfail_showing hook "hook x failed" "$1"').reading()
        done = subprocess.run([*command(text), wrote], input=text, capture_output=True, check=False)
        error = explain("app1", "switch", parse("app1", "switch", done.stdout, 0.0), done.returncode, b"")
        assert isinstance(error, StepFailed) and (error.message, error.log) == (told, log), done


@contextmanager
def held(state: Path, *, token: int) -> Iterator[None]:
    (state / "token").write_text(f"{token}\n")
    with (state / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def act(state: Path, body: str, *, token: int) -> subprocess.CompletedProcess[bytes]:
    text = Script("step", load("facts").prelude, body).acting(f"{state}/answer", FencingToken(str(state), token))
    return subprocess.run(["/bin/sh", "-c", quote(command(text))], input=text, capture_output=True, check=False)


@pytest.mark.parametrize(
    "name",
    ["stage", "switch", "undo", "lock", "health", "backup", "drill", "facts", "ledger_repair", "ledger_copy"],
)
def test_every_script_is_whole_with_what_it_includes(name: str) -> None:
    """An include that is not replaced is a comment to the shell: its functions would be missing on the host."""
    try:
        script = load(name)
    except FileNotFoundError:
        pytest.fail(f"there is no script {name}.sh")
    text = script.acting("/run/x", FencingToken("/var/lib/slipway/x", 1))
    assert b"\n# include " not in text
    checked = subprocess.run(["/bin/sh", "-n"], input=text, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


@given(st.binary(max_size=500))
def test_whatever_a_host_answers_is_an_answer_or_a_sentence(output: bytes) -> None:
    """A host that answers garbage must not end the controller in a traceback."""
    answer = parse("web1", "facts", output, 0.0)
    for tag in ("system", "memory", "error"):
        try:
            answer.one(tag, 2)
        except BadAnswer as error:
            assert "web1" in str(error)


def test_numbers_are_bounded() -> None:
    """A number of a million digits would keep Python busy for minutes; none that is counted is below zero."""
    answer = parse("web1", "facts", b"", 0.0)
    assert answer.number("12") == 12
    for bad in ("", "-12", "1e9", "9" * 19, "٣", "1 "):
        with pytest.raises(BadAnswer):
            answer.number(bad)


DEFINED = re.compile(r"^([a-z_]+)\(\)", re.MULTILINE)
# Of one word there are too many in what scripts say.
CALLED = re.compile(r"(?:^|[;&|!({]|\bif|\bthen|\belse|\bdo|\bwhile)\s*([a-z]+_[a-z_]+)(?=[\s;)]|$)", re.MULTILINE)


def test_a_script_brings_all_the_functions_that_it_calls() -> None:
    """A function that is not included is "not found", which is false: in `! f || fail` a check that always passes."""
    folder = Path(str(files("playbooks.steps")))
    everywhere = {name for file in folder.rglob("*.sh") for name in DEFINED.findall(file.read_text())}
    for file in folder.glob("*.sh"):
        script = load(file.stem)
        code = re.sub(r"^\s*#.*$", "", script.body, flags=re.MULTILINE)
        own = set(DEFINED.findall(script.prelude + "\n" + script.body))
        assert sorted((set(CALLED.findall(code)) & everywhere) - own) == [], file.name


def test_a_script_is_sent_without_comments_and_is_the_same() -> None:
    """A line of a text in quotes would be lost, and the step would do something else than it says."""
    for file in Path(str(files("playbooks.steps"))).glob("*.sh"):
        script = load(file.stem)
        assert not re.search(r"^\s*#", script.body, re.MULTILINE), file.name
    assert _printed("a=1 # one\n# two\nb='#'\n") == _printed("a=1\nb='#'\n")
    for file in Path(str(files("playbooks.steps"))).rglob("*.sh"):
        text = file.read_text()
        assert _printed(text) == _printed(re.sub(r"^[ \t]*#.*\n", "", text, flags=re.MULTILINE)), file.name


def test_no_text_for_a_file_loses_a_line_with_its_comments() -> None:
    """certbot's hook came to its host without #!/bin/sh, as if that were a comment of the script that writes it."""
    for file in Path(str(files("playbooks.steps"))).rglob("*.sh"):
        for _, text in re.findall(r"<<-?'?(\w+)'?.*?\n(.*?)^\1$", file.read_text(), re.DOTALL | re.MULTILINE):
            assert not re.search(r"^\s*#", text, re.MULTILINE), f"{file.name}: {text[:80]}"


def _printed(text: str) -> list[str]:
    """What bash reads of a script: no comments but those of programs in quotes, which begin a line there, too."""
    done = subprocess.run(
        ["bash", "--pretty-print", "/dev/stdin"], input=text, capture_output=True, text=True, check=True
    )
    return [line for line in done.stdout.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def test_no_script_makes_files_where_other_users_do() -> None:
    """In /tmp others take names first, and the last inode: a rollback failed as it could not make a folder there."""
    folder = Path(str(files("playbooks.steps")))
    for file in folder.rglob("*.sh"):
        for place in re.findall(r"mktemp (?:-d )?(\S+)", file.read_text(encoding="utf-8")):
            assert place.startswith(('"$state', '"$incoming', '"/run/slipway/')), f"{file.name}: {place}"
        assert not re.search(r"mktemp( -d)?\)|/tmp/slipway|\{TMPDIR", file.read_text(encoding="utf-8")), file.name


def test_a_look_at_files_that_does_not_end_proves_nothing(tmp_path: Path) -> None:
    """Whoever moves folders ahead of find keeps it walking: what it saw until then is no proof that nothing changed."""
    (tmp_path / "release/.slipway").mkdir(parents=True)
    slow = tmp_path / "find"
    slow.write_text("#!/bin/sh\ncase $* in *%C@*) echo seen; exec sleep 60 ;; esac\n")
    slow.chmod(0o755)
    body = (
        f"PATH={tmp_path}:$PATH\n{load('prove').body.split('changed()')[0]}\nlook_seconds=1\n"
        f"fingerprint {tmp_path}/release {tmp_path}\nfingerprint {tmp_path}/release {tmp_path}"
    )
    done = subprocess.run(["/bin/sh", "-euc", body], capture_output=True, text=True, check=True, timeout=30)
    first, second = done.stdout.split()
    assert first != second


def test_no_program_of_the_users_writes_into_a_file_of_roots() -> None:
    """Another process of that user can take the open file (ptrace), keep it, and fill /run or a disk through it."""
    found = []
    for file in Path(str(files("playbooks.steps"))).rglob("*.sh"):
        whole = file.read_text().replace("\\\n", " ").replace("||\n", "|| ").replace("|\n", "| ")
        for line in re.findall(r"^ *(?:if )?as_user(?:_for)? .*$", whole, re.MULTILINE):
            # A reader of root's at the end of a pipe writes, and has a limit.
            own = re.split(r"[^|]\|[^|]", re.sub(r"'[^']*'", "", line))[0]
            found += [f"{file.name}: {own}" for place in re.findall(r">+ *([^ &;|]+)", own) if place != "/dev/null"]
    assert found == []
