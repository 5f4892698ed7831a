"""--untrusted-inventory: nothing outside of the inventory is read, nothing runs, nobody is reached, and it ends."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from playbooks.environments.load import load_environment
from playbooks.environments.not_read import not_read
from playbooks.inventory import fence_around
from tests.fuzz.vaults import encrypted
from tests.schemas import check_answer

PROJECT = Path(__file__).resolve().parent.parent.parent
AUDITED = Path(__file__).parent / "audited"
CANARY = "canary-from-the-environment"
FLAG = "--untrusted-inventory"
CODE = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
CODE += [str(PROJECT / name) for name in ("playbooks", "lab", "tasks.py", "templates")]
LOOKS = [["inventory", FLAG], ["deploy", "--check", FLAG, "--version=1.0.0"]]


class Runner:
    """Runs tasks with an inventory, watched."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "checkout" / "inventory" / "staging"
        self.marker = folder / "marker"
        self.log = folder / "audit.log"
        (self.source / "group_vars").mkdir(parents=True)
        self.script = folder / "vault-script"
        self.script.write_text(f"#!/bin/sh\n{self.touch}\necho password\n")
        self.script.chmod(0o755)

    @property
    def touch(self) -> str:
        """A command that leaves a trace."""
        return f"touch {shlex.quote(str(self.marker))}"

    def write(self, name: str, content: object) -> None:
        """Write a file of the inventory."""
        file = self.source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))

    def run(self, *arguments: str, env: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a task; what it asks Python for is in `events`."""
        self.log.unlink(missing_ok=True)
        environ = {
            **os.environ,
            "PYTHONPATH": str(AUDITED),
            "AUDIT_LOG": str(self.log),
            "CANARY": CANARY,
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.script),
        }
        command = [str(PROJECT / ".venv/bin/invoke"), *arguments, f"--env={env or self.source}"]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=PROJECT, env=environ, check=False, timeout=120
        )
        check_answer(arguments, done.stdout)
        return done

    def events(self, *, of_child: bool = True) -> Iterator[tuple[str, str]]:
        """Events and what they are about: of the process that reads the inventory, or of all."""
        lines = [line.split("\t", 2) for line in self.log.read_text(errors="replace").splitlines()]
        first = lines[0][0]
        for process, event, about in lines:
            if process != first or not of_child:
                yield event, about

    def outside(self) -> list[str]:
        """What the process that reads the inventory asked for, other than code and the inventory itself."""
        # Where Python looks for modules besides.
        code = [*CODE, str(PROJECT / ".venv/bin"), *(path for path in sys.path if path.endswith(".zip"))]
        inside = [*code, str(self.source.parent), os.devnull]
        found = []
        for event, about in self.events():
            reads = event in ("open", "os.listdir", "os.scandir")
            at = os.path.realpath(about) if about else ""
            if event in ("os.putenv", "os.unsetenv"):  # it empties its own
                continue
            if reads and (about.isdigit() or at == str(PROJECT) or any(f"{at}/".startswith(f"{p}/") for p in inside)):
                continue
            found.append(f"{event} {about}")
        return found


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def everything(runner: Runner, port: int) -> None:
    """An inventory that tries all there is to try."""
    key = f"-i /etc/shadow -o UserKnownHostsFile=/etc/passwd -o 'ProxyCommand={runner.touch}'"
    runner.write(
        "hosts.yml",
        {
            "all": {
                "hosts": {"web1": {"ansible_ssh_common_args": key}, "edge1": {}},
                "vars": {"ansible_host": "127.0.0.1"},
            }
        },
    )
    settings = {
        "app": "shop",
        "hosts": "web1",
        "artifact": f"http://127.0.0.1:{port}/{{version}}.tar.gz",
        "config": [{"template": "all.j2", "dest": "all.env"}],
        "balancer": {"hosts": "edge1"},
        "backup": {"password": "command"},
        "secrets": {
            "command": {"command": shlex.split(runner.touch)},
            "file": {"file": "/etc/shadow"},
            "env": {"env": "CANARY"},
        },
    }
    lookups = {
        "a": "{{ lookup('file', '/etc/passwd') }}",
        "b": "{{ query('ansible.builtin.env', 'CANARY') }}",
        "c": "{{ lookup('env', 'CANARY', 'HOME') ~ lookup('file', '~/.ssh/id_rsa') }}",
        "d": "{{ '~root/x' | expanduser }}",
        "e": "{{ from_the_vault }}",
    }
    values = {f"slipway_{key}": value for key, value in settings.items()} | lookups
    vaulted = encrypted("plain-text-of-the-vault", "password").decode()
    runner.write("group_vars/all/main.yml", yaml.safe_dump(values) + f"sealed: !vault {json.dumps(vaulted)}\n")
    runner.write("group_vars/all/vault.yml", encrypted("from_the_vault: x\n", "password").decode())
    runner.write("ansible.cfg", "[defaults]\nvault_password_file = ./script\ninventory = ./script\n")
    runner.write("vars_plugins/evil.py", f"import os\nos.system({runner.touch!r})\n")
    names = ("a", "b", "c", "d", "e", "sealed", "secrets.command", "secrets.file", "secrets.env")
    runner.write("templates/all.j2", "".join(f"{name}={{{{ {name} }}}}\n" for name in names))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody who would be reached."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        yield server


@pytest.mark.parametrize("task", LOOKS, ids=lambda task: task[0])
def test_nothing_outside_is_read_run_or_reached(runner: Runner, listener: socket.socket, task: list[str]) -> None:
    """Fails if a pull request can make CI read its secrets, run a command or call somebody."""
    everything(runner, listener.getsockname()[1])
    done = runner.run(*task, "--json")
    assert done.returncode == 0, done.stderr
    assert list(runner.events()), "the watcher saw nothing: it does not watch"
    assert runner.outside() == []
    assert not runner.marker.exists()
    with pytest.raises(BlockingIOError):
        listener.accept()
    for leak in ("root:x:", CANARY, "plain-text-of-the-vault", str(Path.home() / ".ssh")):
        assert leak not in done.stdout + done.stderr
    told = " ".join(json.loads(done.stdout)["not_read"])
    for word in ("ProxyCommand", "UserKnownHostsFile", "private key", "secrets.command", "secrets.file", "secrets.env"):
        assert word in told
    assert "vault.yml is encrypted" in done.stderr


def test_what_is_left_out_is_shown_as_such(runner: Runner, listener: socket.socket) -> None:
    """Fails if a reviewer takes a placeholder for a value."""
    everything(runner, listener.getsockname()[1])
    done = runner.run(*LOOKS[1], "--json")
    host = json.loads(done.stdout)["hosts"][0]
    lines = dict(line.split("=", 1) for line in host["files"]["all.env"].splitlines())
    assert set(lines) == {"a", "b", "c", "d", "e", "sealed", "secrets.command", "secrets.file", "secrets.env"}
    assert lines.pop("d") == "~root/x"
    assert all("not read" in value and "untrusted" in value for value in lines.values()), lines


def test_the_watcher_sees_what_a_trusted_inventory_does(runner: Runner, listener: socket.socket) -> None:
    """Fails if the tests above would pass whatever happened."""
    everything(runner, listener.getsockname()[1])
    runner.write("group_vars/web1.yml", "{}")
    runner.write(
        "host_vars/web1.yml", "slipway_user: \"{{ lookup('file', '/etc/hostname') and sealed and 'shop' }}\"\n"
    )
    assert runner.run("inventory").returncode == 0
    seen = list(runner.events(of_child=False))
    assert ("open", "/etc/hostname") in seen
    assert any(event.startswith("subprocess.") and str(runner.script) in about for event, about in seen), seen
    assert runner.marker.exists()


LINKS = {
    "hosts2.yml": "/etc/passwd",
    "more": "/etc",
    "group_vars/all.yml": "/etc/passwd",
    "group_vars/web/passwd": "/etc/passwd",
    "group_vars/web": "/etc",
    "host_vars": "/etc",
    "host_vars/web1.yml": "../../../../outside.yml",
    "templates/a.j2": "/etc/passwd",
    "templates": "/etc",
    "zero.yml": "/dev/zero",
    "proc.yml": "/proc/self/environ",
    "loop.yml": "loop.yml",
}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_out_of_the_inventory_is_not_followed(runner: Runner, name: str) -> None:
    """Fails if a link in a pull request shows a file of the machine that checks it."""
    runner.write("hosts.yml", {"web": {"hosts": {"web1": None}}})
    config = [{"template": "a.j2", "dest": "a.env"}]
    runner.write("group_vars/all/main.yml", {"slipway_app": "shop", "slipway_config": config})
    runner.write("templates/a.j2", "a\n")
    (runner.source.parents[2] / "outside.yml").write_text("outside: canary\n")
    link = runner.source / name
    if name == "group_vars/all.yml":
        (runner.source / "group_vars/all/main.yml").unlink()
        (runner.source / "group_vars/all").rmdir()
    if name == "templates":
        (runner.source / "templates/a.j2").unlink()
        link.rmdir()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(LINKS[name])
    done = runner.run(*LOOKS[1], "--json")
    assert done.returncode == 2, done.stdout
    assert Path(name).name in done.stderr
    assert "root:" not in done.stdout + done.stderr
    assert "canary" not in done.stdout + done.stderr
    assert runner.outside() == []


def test_a_time_zone_is_known(runner: Runner) -> None:
    """An honest pull request failed where a window names a zone: the machine's time zones are files as well."""
    runner.write("hosts.yml", {"web": {"hosts": {"web1": None, "db1": None}}})
    window = {"opens": "02:30", "closes": "05:00", "zone": "Europe/Berlin"}
    database = {"name": "shop", "via": "db1", "owner": "shop", "owner_password": "p"}
    runner.write(
        "group_vars/all.yml",
        {
            "slipway_app": "shop",
            "slipway_hosts": "web1",
            "slipway_secrets": {"p": {"env": "P"}},
            "slipway_databases": [{**database, "migrations": {"folder": "db", "window": window}}],
        },
    )
    done = runner.run(*LOOKS[1], "--json")
    assert done.returncode == 0, done.stderr
    window["zone"] = "../../../etc/hostname"
    database["migrations"] = {"folder": "db", "window": window}  # type: ignore[assignment]
    runner.write("group_vars/web.yml", {"slipway_databases": [database]})
    refused = runner.run(*LOOKS[1], "--json")
    assert (refused.returncode, "expected the name of a time zone" in refused.stderr) == (2, True), refused.stderr


def test_ansibles_own_settings_are_told_of_where_they_matter(runner: Runner) -> None:
    """Fails if each answer says what no reader can act on; or if two readings of one inventory look alike."""
    runner.write("hosts.yml", {"web": {"hosts": {"web1": None}}})
    runner.write("group_vars/all.yml", {"slipway_app": "shop", "slipway_guard": {"timeout": "9s"}})
    fence = fence_around(runner.source, PROJECT, [])
    told = not_read(load_environment(str(runner.source), PROJECT, fence=fence))
    assert not told
    runner.write("group_vars/web.yml", {"slipway_guard": {"settle": "9s"}})
    told = not_read(load_environment(str(runner.source), PROJECT, fence=fence))
    assert [
        sentence for sentence in told if "ANSIBLE_HASH_BEHAVIOUR" in sentence and sentence.endswith(": slipway_guard")
    ]


def test_environments_may_share_files(runner: Runner) -> None:
    """Fails if links between environments, to a folder that they share, are refused."""
    (runner.source.parent / "shared").mkdir()
    (runner.source.parent / "shared/defaults.yml").write_text("slipway_app: shop\n")
    runner.write("hosts.yml", {"web": {"hosts": {"web1": None}}})
    (runner.source / "group_vars/all.yml").symlink_to("../../shared/defaults.yml")
    done = runner.run(*LOOKS[0], "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hosts"][0]["settings"]["app"] == "shop"


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "an encrypted inventory": ({"more.yml": encrypted("x: {}\n", "password").decode()}, "is encrypted"),
    "a pattern that names a file": ({"group_vars/all.yml": {"slipway_hosts": "@/etc/passwd"}}, "names a file"),
    "a template by its path": (
        {"group_vars/all.yml": {"slipway_config": [{"template": "../../../etc/passwd", "dest": "x"}]}},
        "all.yml:4: slipway_config[0].template",
    ),
    "an unknown lookup": ({"group_vars/all.yml": {"slipway_user": "{{ lookup('pipe', 'id') }}"}}, "runs a program"),
    "a tag of Python's": ({"group_vars/web.yml": "a: !!python/object/apply:os.system [id]\n"}, "web.yml:1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_with_its_place(runner: Runner, case: str) -> None:
    """Fails if an attempt is passed over, or its author is not told where it is."""
    runner.write("hosts.yml", {"web": {"hosts": {"web1": None}}})
    runner.write("group_vars/all.yml", {"slipway_app": "shop"})
    files, said = REFUSED[case]
    for name, content in files.items():
        content = {"slipway_app": "shop", **content} if isinstance(content, dict) else content
        runner.write(name, content)
    done = runner.run(*LOOKS[1], "--json")
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert runner.outside() == []


def test_an_executable_inventory_is_never_run(runner: Runner) -> None:
    """Fails if a file that Ansible would run is run, trusted or not."""
    runner.write("hosts.yml", {"web": {"hosts": {"web1": None}}})
    runner.write("dynamic", f"#!/bin/sh\n{runner.touch}\necho '{{}}'\n")
    (runner.source / "dynamic").chmod(0o755)
    for arguments in (["inventory"], LOOKS[0]):
        done = runner.run(*arguments)
        assert done.returncode == 2
        assert "is a script" in done.stderr
        assert not runner.marker.exists()


def test_the_inventory_itself_is_no_link(runner: Runner, tmp_path: Path) -> None:
    """Fails if the folder that is named leads to another place: a pull request may hold a link there."""
    elsewhere = tmp_path / "elsewhere"
    runner.source.rename(elsewhere)
    (elsewhere / "hosts.yml").write_text("web: {hosts: {web1: }}\n")
    (elsewhere / "group_vars/all.yml").write_text("slipway_app: shop\n")
    runner.source.symlink_to(elsewhere)
    done = runner.run(*LOOKS[0])
    assert done.returncode == 2
    assert "is a link" in done.stderr


@pytest.mark.parametrize("way", ["envs/staging", "deploy/inventory/staging", "a/b/envs/staging"])
def test_no_link_on_the_way_to_the_inventory_is_followed(runner: Runner, tmp_path: Path, way: str) -> None:
    """A pull request put a link to another checkout on the way to its own inventory, and CI showed what was there."""
    first, _, rest = way.partition("/")
    private = tmp_path / "private" / rest
    private.mkdir(parents=True)
    (private / "hosts.yml").write_text("all: {hosts: {web1: {}}, vars: {slipway_app: shop, key: canary}}")
    checkout = tmp_path / "pull-request"
    checkout.mkdir()
    (checkout / first).symlink_to(tmp_path / "private")
    runner.source = checkout / way
    done = runner.run(*LOOKS[0], "--vars")
    assert (done.returncode, f"{checkout / first} is a link" in done.stderr) == (2, True), done.stderr
    assert "canary" not in done.stdout + done.stderr
    # The same folder, as it is called there, is what the person names.
    runner.source = private
    assert "canary" in runner.run(*LOOKS[0], "--vars").stdout


@pytest.mark.parametrize(
    "task",
    ["status", "health", "history", "provision", "host-keys", "rollback", "backup", "schedule", "deploy", "abort"],
)
def test_tasks_that_act_refuse_the_flag(task: str, runner: Runner) -> None:
    """Fails if somebody who asks for it is given a task that connects or acts."""
    done = runner.run(task, FLAG, env="staging")
    assert done.returncode == 2
    assert f"{FLAG} refuses that" in done.stderr
    assert "invoke inventory" in done.stderr or "--check" in done.stderr


@pytest.mark.parametrize("flag", ["--artifact=x.tar", "--sha256=0", "--report=x.html", "--timings", "--resume"])
def test_flags_that_need_more_are_refused(flag: str, runner: Runner) -> None:
    """Fails if the flag's promise is broken by another flag."""
    done = runner.run(*LOOKS[1], flag, env="staging")
    assert done.returncode == 2
    assert f"does not go with {FLAG}" in done.stderr


HUNGRY = {
    "processor": ({"slipway_user": "{{ ('a' * 40) is match('(a+)+$b') }}"}, "processor time"),
    "processor, in C": ({"slipway_user": "{{ range(10**6) | product(range(10**6)) | length }}"}, ""),
    "pattern": ({"slipway_hosts": "~(a+)+$b"}, "processor time"),
    "memory": ({"slipway_user": "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}"}, "emory"),
    "endless": ({"slipway_user": "{% for a in range(10**9) %}{% for b in range(10**9) %}{% endfor %}{% endfor %}"}, ""),
}


@pytest.mark.parametrize("case", HUNGRY)
def test_time_and_memory_are_bounded(runner: Runner, case: str) -> None:
    """Fails if an inventory can take the machine that looks at it."""
    settings, said = HUNGRY[case]
    runner.write("hosts.yml", {"web": {"hosts": {"a" * 40: None}}})
    runner.write("group_vars/all.yml", {"slipway_app": "shop", **settings})
    script = (
        "import sys; from playbooks.cli import contained, untrusted; contained.SECONDS = 2;"
        "from playbooks.report.tables import show_inventory as show;"
        "from playbooks.show_inventory import show_inventory;"
        "from invoke.exceptions import Exit\n"
        "try: untrusted.perform_untrusted(sys.argv[1], show_inventory, show)\n"
        "except Exit as ended: sys.exit(ended.code)\n"
    )
    command = [sys.executable, "-c", script, str(runner.source)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr


ACTS: dict[str, str] = {
    "read": "open('/etc/passwd').read()",
    "read, by number": "os.open('/etc/passwd', os.O_RDONLY)",
    "read by a link": "open(inside / 'link').read()",
    "list": "os.listdir('/etc')",
    "write": "open(inside / 'new', 'w')",
    "remove": "os.remove(inside / 'file')",
    "program": "subprocess.run(['touch', str(inside / 'ran')])",
    "shell": "os.system('touch ' + str(inside / 'ran'))",
    "fork": "os.fork()",
    "connect": "socket.create_connection(('127.0.0.1', 1))",
    "name": "socket.getaddrinfo('example.invalid', 80)",
    "library": "ctypes.CDLL('libc.so.6')",
    "unpickle": "pickle.loads(b'cposix\\nsystem\\n.')",
    "limits": "resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))",
}


@pytest.mark.parametrize("act", ACTS)
def test_the_second_wall_holds_by_itself(tmp_path: Path, act: str) -> None:
    """Fails if code that forgets to ask the fence can act all the same."""
    (tmp_path / "file").write_text("inside")
    (tmp_path / "link").symlink_to("/etc/passwd")
    script = (
        "import ctypes, errno, os, pickle, resource, socket, subprocess, sys; from pathlib import Path;"
        "from playbooks.cli.contained import close, contained; from playbooks.inventory import Fence\n"
        "inside = Path(sys.argv[1])\n"
        "def run():\n"
        "    close(Fence((inside,)))\n"
        "    assert (inside / 'file').read_text() == 'inside'\n"
        "    assert os.environ['HOME'] == '/nonexistent' and 'PATH' not in os.environ\n"
        "    try:\n"
        f"        {ACTS[act]}\n"
        "    except PermissionError as error:\n"
        "        return 42 if '--untrusted-inventory refuses' in str(error) else 1\n"
        "    return 0\n"
        "print(contained(run).status)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False, timeout=120)
    assert done.stdout == "42\n", done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


STUBBORN = {
    "asleep": ("signal.alarm(1)\n    time.sleep(120)", "more than 300 s"),
    "deaf": ("signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n    while True: pass", "processor time"),
    "broken": ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "hungry": ("bytearray(8 << 30)", "2 GB of memory"),
}


@pytest.mark.parametrize("case", STUBBORN)
def test_what_does_not_listen_is_ended_and_told(case: str) -> None:
    """Fails if the process that looks can hang, or dies without a word."""
    act, said = STUBBORN[case]
    script = (
        "import os, signal, time; from playbooks.cli import contained; contained.SECONDS = 1\n"
        f"def run():\n    {act}\n    return 0\n"
        "ended = contained.contained(run); print(ended.status, ended.why)\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False, timeout=120)
    assert done.stdout.startswith("None ")
    assert said in done.stdout
    assert done.stderr == ""
