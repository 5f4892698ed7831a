"""Private parts of other packages (tests/private_parts.py): each is listed, and each still does what we use it for."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import paramiko
import pytest
import yaml
from invoke import Program
from invoke.exceptions import ParseError
from invoke.parser import Parser

from playbooks.core.errors import ConfigError
from playbooks.fleet import channels, hostkeys, terminal
from playbooks.fleet.address import Address
from playbooks.fleet.connection import Ways, _is_turned_away, _made, connect
from playbooks.fleet.endpoint import Endpoint
from playbooks.fleet.remote_shell import RemoteShell, ShellRequest
from playbooks.fleet.transport import Transport
from playbooks.inventory import document, load_inventory
from tasks import namespace
from tests.agent import running_agent
from tests.private_parts import PARTS, proves
from tests.unit.test_transport import Act, Lets, session

PROJECT = Path(__file__).resolve().parent.parent.parent
FILES = [*(PROJECT / "playbooks").rglob("*.py"), *(PROJECT / "lab").glob("*.py"), PROJECT / "tasks.py"]
OURS = {"playbooks", "lab", "tasks"}
SECONDS = 20
HOST = Address("app1", "127.0.0.1", become=False)
# Methods and attributes that the packages' documentation offers to subclasses.
FOR_SUBCLASSES = {
    *("lookup", "missing_host_key"),  # paramiko
    *("resolve_or_missing", "code_generator_class", "context_class"),  # Jinja2
    *("intercepted_binops", "is_safe_attribute", "call_binop"),
    "model_config",  # pydantic
}
# Bases that need no look: Python's, as our source names them.
PYTHONS = {
    "Protocol",
    "Exception",
    "BaseException",
    "Enum",
    "StrEnum",
    "IntEnum",
    "str",
    "ABC",
    "NamedTuple",
    "TypedDict",
}
# Documented by Python.
DOCUMENTED = {"os._exit"}


# What is used, and where: found in the source, and compared with the list.


# What the list has under a name that nothing else has, and that does not look private.
LISTED = {part.name for part in PARTS if not part.common and not part.name.startswith("_")}
# A file without any of this has nothing to be found: most need not be parsed.
MAY_USE = re.compile(
    r"(?<!\bself)(?<!\bcls)\._[a-z]|attr\(|import\b.*\b_[a-z]|^ +_\w+,$"
    rf"|^class \w+\((?!(?:{'|'.join(PYTHONS)})\))|\.(?:{'|'.join(LISTED)})\b",
    re.MULTILINE,
)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def named_in_call(node: ast.Call) -> Iterator[str]:
    """A private name that getattr and the like have as text; any name that setattr replaces on what is not ours."""
    if not (isinstance(node.func, ast.Name) and node.func.id in ("getattr", "setattr", "hasattr", "delattr")):
        return
    name = node.args[1]
    if isinstance(name, ast.JoinedStr):
        name = name.values[0]
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        replaces = node.func.id == "setattr" and not own(node.args[0])
        if is_private(name.value) or replaces:
            yield name.value


def used(tree: ast.AST) -> Iterator[str]:
    """Private names of what is not the class's own, and names that the list has."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            private = is_private(node.attr) and not own(node.value) and ast.unparse(node) not in DOCUMENTED
            if private or node.attr in LISTED:
                yield node.attr
        elif isinstance(node, ast.Call):
            yield from named_in_call(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            paths = [getattr(node, "module", None) or "", *(one.name for one in node.names)]
            yield from (part for path in paths for part in path.split(".") if is_private(part))


@functools.cache
def names_in(module: str) -> frozenset[str]:
    """All names in the source of a module of another package; none, if it is written in C."""
    try:
        return frozenset(re.findall(r"\b_\w+", inspect.getsource(sys.modules[module])))
    except (OSError, TypeError):
        return frozenset()


def inherited(tree: ast.Module, module: str) -> Iterator[str]:
    """What classes of ours override, or use on themselves as private, of a class of another package."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or {ast.unparse(base) for base in node.bases} <= PYTHONS:
            continue
        mro = getattr(importlib.import_module(module), node.name).__mro__[1:]
        bases = [base for base in mro if base.__module__.partition(".")[0] not in OURS | sys.stdlib_module_names]
        if not bases:
            continue
        private = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute) and is_private(one.attr)}
        yield from (name for name in private if any(name in names_in(base.__module__) for base in bases))
        for name in defined(node):
            if name not in FOR_SUBCLASSES and any(name in vars(base) for base in bases):
                yield name


def defined(node: ast.ClassDef) -> Iterator[str]:
    for one in node.body:
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield one.name
        elif isinstance(one, ast.Assign):
            yield from (target.id for target in one.targets if isinstance(target, ast.Name))
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.value is not None:
            yield one.target.id


def test_every_private_part_in_use_is_listed() -> None:
    """A new one would break with some upgrade, and nobody would know by what."""
    found: set[tuple[str, str]] = set()
    for file in FILES:
        name, text = str(file.relative_to(PROJECT)), file.read_text()
        if not MAY_USE.search(text):
            continue
        tree = ast.parse(text)
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        names = {*used(tree), *inherited(tree, module)}
        found |= {(one, name) for one in names if not (one.startswith("__") and one.endswith("__"))}
    listed = {(part.name, file) for part in PARTS for file in part.files}
    new = sorted(found - listed)
    assert not new, f"use what is documented, else list it in tests/private_parts.py and prove it: {new}"
    gone = {one for one in listed - found if one[0] not in (PROJECT / one[1]).read_text()}
    gone |= {(part.name, file) for part in PARTS for file in part.files if not part.common} - found
    assert not gone, f"no longer used, so take it off tests/private_parts.py: {sorted(gone)}"


def test_every_private_part_is_proven() -> None:
    """One without a test would be found moved by a deploy."""
    proven: set[tuple[str, ...]] = set()
    for file in (PROJECT / "tests/unit").rglob("test_*.py"):
        text = file.read_text()
        for node in ast.walk(ast.parse(text)) if "@proves(" in text else ():
            if isinstance(node, ast.FunctionDef):
                calls = [one for one in node.decorator_list if isinstance(one, ast.Call)]
                for call in calls:
                    if ast.unparse(call.func) == "proves":
                        package, *names = (ast.literal_eval(one) for one in call.args)
                        proven |= {(package, name) for name in names}
    assert {(part.package, part.name) for part in PARTS} == proven


# paramiko and Fabric.


class Hears(Lets):
    """Lets anybody in, and notes what is asked for."""

    def __init__(self) -> None:
        self.command = b""
        self.terminal: tuple[object, ...] = ()
        self.asked = threading.Event()

    def check_channel_pty_request(self, _: paramiko.Channel, term: bytes, *sizes_and_modes: object) -> bool:
        self.terminal = (term, *sizes_and_modes)
        return True

    def check_channel_exec_request(self, _: paramiko.Channel, command: bytes) -> bool:
        self.command = command
        self.asked.set()
        return True


def wait_for(asked: threading.Event) -> Act:
    def act(_: paramiko.Transport, __: paramiko.Channel) -> None:
        asked.wait(SECONDS)

    return act


@pytest.fixture(scope="module")
def rsa() -> paramiko.RSAKey:
    return paramiko.RSAKey.generate(2048)


@proves("paramiko", "_send_user_message", "remote_chanid")
def test_a_program_and_a_terminal_are_asked_for_without_a_wait(
    rsa: paramiko.RSAKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step begins with the one, the console with both."""
    monkeypatch.setenv("TERM", "vt100")
    monkeypatch.setenv("COLUMNS", "91")
    monkeypatch.setenv("LINES", "33")
    hears = Hears()
    with session(wait_for(hears.asked), lets=hears, keys=[rsa]) as (_, channel):
        terminal._ask_terminal(channel)
        channels.start(channel, HOST, ["/bin/sh", "-c", "a b"])
        assert hears.asked.wait(SECONDS)
    assert hears.command == b"/bin/sh -c 'a b'"
    assert hears.terminal == (b"vt100", 91, 33, 0, 0, terminal.MODES)


@proves("paramiko", "set_event", "in_buffer", "in_stderr_buffer", "eof_received", "closed")
def test_a_shell_hears_both_streams_and_the_end(rsa: paramiko.RSAKey) -> None:
    """An answer that does not ring is read when its time is over; an end that is not seen, never."""
    first, second = ShellRequest("facts", b""), ShellRequest("stage", b"")
    goes_on = threading.Event()

    def act(_: paramiko.Transport, channel: paramiko.Channel) -> None:
        # Each piece comes when the shell waits already: one stream must not silence the other.
        for send, piece in (
            (channel.sendall_stderr, b"a note\n\n%s\n" % first.mark),
            (channel.sendall, b"says this\n%s 0 1.00 1.25\n" % first.mark),
        ):
            time.sleep(0.1)
            send(piece)
        goes_on.wait(SECONDS)
        channel.shutdown_write()
        time.sleep(0.1)
        channel.send_exit_status(3)
        goes_on.clear()
        goes_on.wait(SECONDS)
        channel.close()

    with session(act, keys=[rsa]) as (_, channel):
        shell = RemoteShell("app1", channel)
        until = time.monotonic() + 10
        reply = shell.receive(first, until, None)
        assert (reply.status, reply.output, reply.errors, reply.work) == (0, b"says this", b"a note\n", 0.25)
        assert shell.is_open
        goes_on.set()
        assert shell.receive(second, until, None).status == 3
        assert not (shell.is_open or channel.closed)
        while goes_on.is_set():
            time.sleep(0.01)
        goes_on.set()
        while not channel.closed:
            assert time.monotonic() < until
            time.sleep(0.01)


@proves("paramiko", "eof_received")
def test_a_host_that_is_gone_has_no_exit_status(rsa: paramiko.RSAKey) -> None:
    """It would be taken for a step that a signal ended."""
    with session(lambda server, _: server.close(), keys=[rsa]) as (_, channel):
        with pytest.raises(EOFError):
            RemoteShell("app1", channel).receive(ShellRequest("facts", b""), time.monotonic() + 10, None)
        assert channels.exit_status(channel, 0.0) == -1


@proves("paramiko", "_preferred_ciphers", "_active_check_timeout")
def test_a_transport_is_tuned(rsa: paramiko.RSAKey) -> None:
    """A slower cipher takes twice the time of a large artifact; threads that wake often, the whole of a core."""
    recorded = hostkeys.ExpectedKeys("app1", (hostkeys.Recorded("ssh-rsa", rsa.asbytes()),))
    other = paramiko.ECDSAKey.generate()  # paramiko itself prefers it
    with session(lambda *_: None, keys=[other, rsa], tune=lambda transport: transport.prefer_keys(recorded)) as (
        client,
        _,
    ):
        assert getattr(client, "local_cipher") == "aes128-gcm@openssh.com"  # noqa: B009 - it has no type
        assert client.sock.gettimeout() == 2.0
        assert client.get_remote_server_key() == rsa


@proves("paramiko", "_preferred_")
def test_only_what_ssh_allows_is_used(rsa: paramiko.RSAKey) -> None:
    """A policy of the company's would be passed over in silence."""
    allowed = {
        "ciphers": ("aes256-ctr",),
        "macs": ("hmac-sha2-512",),
        "kex": ("ecdh-sha2-nistp256",),
        "keys": ("rsa-sha2-256",),
        "pubkeys": ("rsa-sha2-512",),
    }
    used_kex = []
    with session(lambda *_: None, keys=[rsa], tune=lambda transport: transport.allow(allowed)) as (client, _):
        agreed = [getattr(client, name) for name in ("local_cipher", "local_mac", "host_key_type")]
        used_kex = list(client.get_security_options().kex)
        pubkeys = getattr(client, "preferred_pubkeys")  # noqa: B009 - it has no type
    assert agreed == ["aes256-ctr", "hmac-sha2-512", "rsa-sha2-256"]
    assert used_kex == ["ecdh-sha2-nistp256"]
    assert pubkeys == ("rsa-sha2-512",)


@proves("paramiko", "banner")
def test_a_door_that_is_closed_at_once_is_tried_again() -> None:
    """sshd's MaxStartups: a fleet of hundreds would fail at a jump host."""
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.shutdown(socket.SHUT_WR)
        transport = Transport(ours)
        with pytest.raises(paramiko.SSHException) as caught:
            transport.start_client(timeout=SECONDS)
        transport.close()
    assert _is_turned_away(caught.value)


class OneKey(paramiko.ServerInterface):
    """Lets in whoever has one key."""

    def __init__(self, blob: str) -> None:
        self.blob = blob

    def get_allowed_auths(self, _: str) -> str:
        return "publickey"

    def check_auth_publickey(self, _: str, key: paramiko.PKey) -> int:
        known = key.get_base64() == self.blob
        return paramiko.common.AUTH_SUCCESSFUL if known else paramiko.common.AUTH_FAILED


@contextlib.contextmanager
def server(blob: str, key: paramiko.PKey) -> Iterator[tuple[int, list[str]]]:
    """An SSH server: its port, and the addresses that it was spoken to from."""
    came: list[str] = []
    transports: list[paramiko.Transport] = []

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, (address, _) = listening.accept()
                came.append(address)
                transport = paramiko.Transport(sock)
                transports.append(transport)
                transport.add_server_key(key)
                transport.start_server(event=threading.Event(), server=OneKey(blob))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield listening.getsockname()[1], came
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(SECONDS)
            for transport in transports:
                transport.close()


@pytest.fixture
def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Endpoint, list[str]]]:
    """The way to a server that knows a key of an agent alone, and the addresses that it was spoken to from."""
    monkeypatch.setenv("SSH_AUTH_SOCK", f"{tmp_path}/another")
    with running_agent(tmp_path / "agent") as agent:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
        subprocess.run(["ssh-add", "-q", tmp_path / "key"], check=True, env={**os.environ, "SSH_AUTH_SOCK": agent})
        shown = paramiko.ECDSAKey.generate()
        with server((tmp_path / "key.pub").read_text().split()[1], shown) as (port, came):
            name, known = f"[127.0.0.1]:{port}", tmp_path / "known_hosts"
            known.write_text(f"{name} {shown.get_name()} {shown.get_base64()}\n")
            endpoint = Endpoint("127.0.0.1", port, "deploy", name, (str(known),), agent=agent, bind="127.0.0.2")
            yield endpoint, came


@proves("paramiko", "_agent")
def test_the_agent_that_is_meant_is_asked(way: tuple[Endpoint, list[str]]) -> None:
    """paramiko asks the one that the environment names."""
    endpoint, _ = way
    with contextlib.closing(connect(HOST, Ways({HOST.name: endpoint}))) as connection:
        assert connection.is_connected
        assert isinstance(connection.transport, Transport)


@proves("fabric", "open_gateway", "close")
def test_a_connection_takes_its_way_and_ends_with_it(way: tuple[Endpoint, list[str]]) -> None:
    """BindAddress would be passed over; a jump host would keep its connections."""
    endpoint, came = way
    connect(HOST, Ways({HOST.name: endpoint})).close()
    assert came == ["127.0.0.2"]
    inner = _made(HOST, endpoint.by_way_of(endpoint), Ways({}))
    jump = inner.gateway
    jump.open()
    assert jump.is_connected
    inner.close()
    assert not jump.is_connected


# Invoke.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["deploy", "--versoin=1"], "deploy has no flag --versoin. Did you mean --version?"),
        (["deplyo"], "there is no task 'deplyo'. Did you mean deploy?"),
        (["deploy", "--env"], "--env needs a value"),
        (["--dry", "rollback", "--env=nowhere"], "rollback knows no --dry"),
    ],
)
@proves("invoke", "ParseError", "No idea what", "needed value", "flag_names", "body")
def test_a_wrong_command_line_is_ours_to_explain(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invoke would end with 1, which is a failed deploy, and --dry would deploy."""
    monkeypatch.setattr(sys, "argv", ["invoke", *words])
    with pytest.raises(SystemExit) as ended:
        Program(namespace=namespace).run(["invoke", *words])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")


@proves("invoke", "auto_shortflags", "get_arguments", "names")
def test_invoke_reads_the_short_flags_that_we_give() -> None:
    """Its own are the first letters that are free: -w was --watch here, and --with-database there."""
    parser = Parser(namespace.to_contexts())
    (found,) = parser.parse_argv(["deploy", "-e", "lab", "-c"])
    assert (found.args["env"].value, found.args["check"].value) == ("lab", True)
    # Only read, not run: -w is also a flag of Invoke's own, which a task would run with.
    with pytest.raises(ParseError, match="rollback has no flag -w"):
        parser.parse_argv(["rollback", "-w"])


# Jinja2.


def values(folder: Path, **variables: str) -> Mapping[str, object]:
    """The variables of a host whose inventory has these."""
    (folder / "inventory").mkdir()
    lines = "".join(f"  {name}: '{text}'\n" for name, text in variables.items())
    (folder / "inventory/hosts.yml").write_text(f"web:\n hosts:\n  h1:\n vars:\n{lines}")
    return load_inventory(str(folder / "inventory"), folder, environ={}).resolved_vars("h1")


def refused(variables: Mapping[str, object], name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        variables[name]
    return str(caught.value)


@proves("jinja2", "_output_child_to_const", "_FinalizeInfo", "visit_List", "visit_Dict", "concat")
def test_templates_keep_types(tmp_path: Path) -> None:
    """A port would be text, and a list that a template makes could not grow."""
    found = values(
        tmp_path,
        number="{{ 1 }}",
        grown="{% set a = [1] %}{% set _ = a.append(2) %}{{ a }}",
        updated="{% set a = {1: 1} %}{% set _ = a.update({2: 2}) %}{{ a }}",
        macro="{% macro m() %}{{ 7 }}{% endmacro %}{{ m() + 1 }}",
    )
    assert (found["number"], found["grown"], found["updated"], found["macro"]) == (1, [1, 2], {1: 1, 2: 2}, 8)


@proves("jinja2", "call", "__wrapped__", "jinja_pass_arg")
def test_calls_and_filters_are_guarded(tmp_path: Path) -> None:
    """A width of millions would fill the memory; a filter of something undefined would fail before its default()."""
    found = values(
        tmp_path,
        wide='{{ "{:9999999}".format(1) }}',
        padded='{{ "x".ljust(10**9) }}',
        short='{{ "{:3}".format(1) }}',
        filtered='{{ nothing | map("upper") | sort | default("none") }}',
    )
    assert "a width above" in refused(found, "wide")
    assert "a width above" in refused(found, "padded")
    assert (found["short"], found["filtered"]) == ("  1", "none")


@proves(
    "jinja2",
    "_undefined_message",
    "_undefined_hint",
    "_undefined_obj",
    "_undefined_name",
    "_fail_with_undefined_error",
)
def test_what_is_undefined_says_why(tmp_path: Path) -> None:
    """The name, what it was looked for in, and the variable that needs it."""
    found = values(
        tmp_path,
        name="{{ nothing }}",
        inner="{{ a.b }}",
        hint='{{ "x" if false }}',
        needs="{{ name ~ 1 }}",
        a="{{ {1: 1} }}",
    )
    assert "'nothing' is undefined" in refused(found, "name")
    assert "'b' is not in the mapping it is looked for in" in refused(found, "inner")
    assert "an inline if has no else" in refused(found, "hint")
    assert re.search(r"'nothing' is undefined \(needed by name, .*hosts\.yml:5\)", refused(found, "needs"))


@proves("jinja2", "__jinja_template__", "get_corresponding_lineno")
def test_a_template_file_says_the_line(tmp_path: Path) -> None:
    """Of a long unit file, a person would have to guess it."""
    values(tmp_path, a="1")
    inventory = load_inventory(str(tmp_path / "inventory"), tmp_path, environ={})
    with pytest.raises(ConfigError, match=r"site\.conf:3 on host h1"):
        inventory.render("h1", "one\ntwo\n{{ 1 / 0 }}\nfour", Path("site.conf"))


# PyYAML.


def parsed(text: str) -> tuple[object, document.Lines, list[str]]:
    lines, warnings = document.Lines(), list[str]()
    return document.parse(text, Path("x.yml"), lines, warnings), lines, warnings


@proves("yaml", "CParser", "compose_node", "peek_event", "get_single_node", "construct_document", "dispose")
def test_yaml_is_composed_in_python_from_libyamls_events() -> None:
    """libyaml's own composer ends the process on a deep file; Python's scanner takes ten times as long."""
    if yaml.__with_libyaml__:
        assert document._Loader.__mro__[2].__module__ == "yaml._yaml"
    found, lines, warnings = parsed("a: 1\nb:\n  - c: 2\na: 3\n")
    assert found == {"a": 3, "b": [{"c": 2}]}
    assert isinstance(found, dict)
    assert str(lines.of(found["b"][0], "c")) == "x.yml:3"
    assert warnings == ["x.yml:4: the key 'a' is there twice; the last one is used."]
    with pytest.raises(ConfigError, match=r"x\.yml:2, column \d+: not YAML: it is nested deeper than 100 levels"):
        parsed("a:\n " + "[" * 5000)


@proves("yaml", "construct_yaml_int", "unhashable key", "could not determine a constructor for the tag")
def test_yamls_mistakes_are_told_in_our_words() -> None:
    """In its own they name classes of Python's."""
    assert parsed("[1, 0x10, 1_000]")[0] == [1, 16, 1000]
    for text, said in (
        (f"a: {'9' * 2000}", "a number of thousands of digits"),
        ("a: {{ b }}", "a mapping cannot be a key"),
        ("a: !nope 1", "the tag '!nope' is unknown"),
    ):
        with pytest.raises(ConfigError, match=said):
            parsed(text)
