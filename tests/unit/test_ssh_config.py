"""What ssh's settings come to: the same host, user, port, keys and way as OpenSSH would take. ssh itself is asked."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playbooks.core.errors import ConfigError
from playbooks.core.surroundings import ssh_home
from playbooks.fleet import ssh_config
from playbooks.fleet.address import Address, read_address
from playbooks.fleet.dialing import Agent
from playbooks.fleet.endpoint import Endpoint, split_paths
from playbooks.fleet.ssh_config import SshAnswers, SshQuery
from tests.agent import running_agent
from tests.private_parts import proves

PROJECT = Path(__file__).resolve().parent.parent.parent
CONFIG = """
Include {folder}/more
Host alias
  HostName Real.Example
  User ann
  Port 2200
Host none
  ProxyJump none
Host command
  ProxyCommand nc -x %n %h %p %r %%
Host keyed
  IdentityFile {folder}/key_%r_%h
  IdentityFile {folder}/other
  CertificateFile {folder}/cert.pub
  IdentitiesOnly yes
  IdentityAgent {folder}/agent
  HostKeyAlias known-as
  UserKnownHostsFile {folder}/a %d/b "{folder}/with blank"
  GlobalKnownHostsFile none
Host inner
  ProxyJump bob@first:2022,outer
Host outer
  HostName 192.0.2.7
  User jumper
Host first
  HostName 192.0.2.8
Host narrow
  Ciphers aes256-ctr
  KexAlgorithms curve25519-sha256
  HostKeyAlgorithms ssh-ed25519
  AddressFamily inet6
  BindAddress ::1
  PubkeyAuthentication no
  RequiredRSASize 3072
  Compression yes
Host *.suffix
  HostName %h.example.com
Match host nobody exec "false"
  User wrong
Match originalhost lookedat exec "test %h = lookedat"
  User right
Host *
  ProxyJump {everybody}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "more").write_text("Host included\n  User inside\n")
    file = tmp_path / "config"
    file.write_text(CONFIG.format(folder=tmp_path, everybody="none"))
    return file


def address(name: str, config: Path | str, **variables: Any) -> Address:
    more = variables.pop("ansible_ssh_common_args", "")
    return read_address(
        name, {**variables, "ansible_ssh_common_args": f"-F '{config}' {more}".strip()}, connect_timeout=1.0
    )


def endpoint(name: str, config: Path | str, **variables: Any) -> Endpoint:
    return ssh_config.endpoints([address(name, config, **variables)])[name]


@pytest.mark.parametrize(
    ("name", "variables", "expected"),
    [
        ("alias", {}, "ann@real.example:2200"),
        ("alias", {"ansible_user": "me", "ansible_port": 22}, "me@real.example:22"),
        ("web", {"ansible_host": "alias"}, "ann@real.example:2200"),
        ("included", {}, "inside@included:22"),
        ("lookedat", {}, "right@lookedat:22"),
        ("web", {"ansible_ssh_common_args": "-p 2022 -l bob"}, "bob@web:2022"),
        ("web", {"ansible_ssh_extra_args": "-o Port=2022 -oUser=bob"}, "bob@web:2022"),
        # Ansible gives its own ssh_args first, then port and user, then the others: the first of each counts.
        ("web", {"ansible_port": 1, "ansible_ssh_common_args": "-p 2", "ansible_ssh_extra_args": "-p 3"}, "web:1"),
        ("web", {"ansible_port": 1, "ansible_ssh_args": "-p 4"}, "web:4"),
        ("web", {"ansible_user": "with blank"}, "with blank@web:22"),
        ("web", {"ansible_host": "fe80::1"}, "fe80::1:22"),
        ("web", {"ansible_host": "carl@elsewhere"}, "carl@elsewhere:22"),
    ],
)
def test_ssh_says_whom_to_talk_to(name: str, variables: dict[str, Any], expected: str, config: Path) -> None:
    """The wrong user or port is another host's: a Match that does not apply, or an argument that is not read."""
    assert str(endpoint(name, config, **variables)).endswith(expected)


@proves("paramiko", "_preferred_")
def test_ssh_says_how_to_talk_to_it(config: Path, tmp_path: Path) -> None:
    """What ssh fills in, we fill in; a jump host has settings of its own."""
    assert endpoint("none", config).jump is None
    assert endpoint("command", config, ansible_user="ann", ansible_host="Command").command is None
    assert endpoint("command", config, ansible_user="ann").command == "nc -x command command 22 ann %"
    keyed = endpoint("keyed", config, ansible_user="ann")
    assert keyed.keys == (f"{tmp_path}/key_ann_keyed", f"{tmp_path}/other", f"{tmp_path}/cert.pub")
    assert (keyed.only_keys, keyed.agent, keyed.known_as) == (True, f"{tmp_path}/agent", "known-as")
    assert keyed.known_hosts == (f"{tmp_path}/a", f"{ssh_home()}/b", f"{tmp_path}/with blank")
    own = endpoint("keyed", config, ansible_ssh_private_key_file=f"{tmp_path}/my own key")
    assert own.keys[0] == f"{tmp_path}/my own key"
    inner = endpoint("inner", config)
    assert inner.jump is not None
    assert (str(inner.jump), str(inner.jump.jump)) == ("jumper@192.0.2.7:22", "bob@192.0.2.8:2022")
    narrow = endpoint("narrow", config)
    assert narrow.algorithms["ciphers"] == ("aes256-ctr",)
    assert narrow.algorithms["kex"] == ("curve25519-sha256@libssh.org",)
    assert narrow.algorithms["keys"] == ("ssh-ed25519",)
    assert (narrow.family, narrow.bind, narrow.pubkey, narrow.rsa_bits) == (socket.AF_INET6, "::1", False, 3072)
    assert narrow.compress
    plain = endpoint("plain", config)
    assert (plain.algorithms, plain.pubkey, plain.password, plain.only_keys) == ({}, True, True, False)
    assert plain.known_hosts[0] == f"{ssh_home()}/.ssh/known_hosts"


def test_what_the_inventory_names_holds_on_the_way_too(config: Path, tmp_path: Path) -> None:
    """An inventory with a file of host keys and a bastion: the bastion's key is in that file."""
    (key := tmp_path / "key").touch()
    inner = endpoint("inner", config, ansible_ssh_common_args=f"-o UserKnownHostsFile=/x/known -i {key}")
    hops = [inner.jump, inner.jump and inner.jump.jump]
    assert [(hop.known_hosts[0], hop.keys[0]) for hop in hops if hop] == [("/x/known", str(key))] * 2


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("web", "NoSuchThing yes", "line 1: Bad configuration option: nosuchthing"),
        ("web", "Port \udcff\udcfe", "line 1"),
        ("web", "Host", "line 1"),
        ("web", "KnownHostsCommand /bin/echo %H", "knownhostscommand"),
        ("web", "PKCS11Provider /usr/lib/some.so", "pkcs11provider"),
        ("web", "RevokedHostKeys /etc/ssh/revoked", "revokedhostkeys"),
        ("web", "BindInterface eth0", "bindinterface"),
        ("web", "IdentityFile ~/.ssh/%C", "%C"),
        ("web", "IdentityFile ${NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE"),
        ("web", "Ciphers chacha20-poly1305@openssh.com", "ciphers allows chacha20-poly1305@openssh.com only"),
        ("web", "ProxyJump other", "jumphost loop via other"),
        ("a", "Host a\n  ProxyJump b\nHost b\n  ProxyJump a", "circle"),
        ("web", "Include /etc/shadow/x\nInclude \udcff", None),
    ],
)
def test_what_cannot_be_done_is_an_error_before_any_connection(
    name: str, settings: str, told: str | None, tmp_path: Path
) -> None:
    """Ignored, it would be another host, another way, or a check that nobody makes. What ssh skips we skip."""
    file = tmp_path / "config"
    file.write_bytes(settings.encode("utf-8", "surrogateescape"))
    if told is None:
        assert endpoint(name, file).hostname == name
        return
    with pytest.raises(ConfigError, match="nothing was touched") as caught:
        endpoint(name, file)
    assert told in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("arguments", ["host", "-o", "-W a:1", "--no-such", "-p 22 -- other", "'", "-Z"])
def test_arguments_that_ssh_would_read_otherwise_are_refused(arguments: str) -> None:
    """A word too much would be the host that ssh talks to. No value is shown: it may be out of a vault."""
    with pytest.raises(ConfigError, match="ansible_ssh_common_args cannot be given to ssh"):
        read_address("web", {"ansible_ssh_common_args": arguments}, connect_timeout=1.0)


def test_one_answer_for_hosts_that_nothing_tells_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For 500 hosts ssh would be asked for seconds; but a host must never get another one's settings."""
    file = tmp_path / "config"
    file.write_text(
        "Host web*\n  User web\nHost WEB7\n  User upper\nHost * !db* !odd\n  Port 2222\nHost db?\n  HostName %h.lan\n"
        "Host one\n  IdentityFile /x/%h\nHost 10.0.0.*\n  User ten\nMatch final all\n  Compression yes\n"
        "Match host web1?,!web13 user web\n  Port 9\nMatch !originalhost y\n  ConnectTimeout 7\n"
    )
    names = [f"web{number}" for number in range(20)]
    names += [
        "db1",
        "db2",
        "db10",
        "odd",
        "one",
        "x",
        "y",
        "a",
        "10.0.0.1",
        "10.0.0.2",
        "WEB7",
        "Web8",
        "::1",
        "b@web1",
    ]
    questions = [SshQuery(("-F", str(file)), name) for name in names]
    alone = {question: ssh_config._ask(question) for question in questions}
    asked: list[SshQuery] = []
    ask = ssh_config._ask
    monkeypatch.setattr(ssh_config, "_ask", lambda question: asked.append(question) or ask(question))  # type: ignore[func-returns-value]
    together = SshAnswers()
    together.ask_all(questions)
    assert together.answers == alone
    # Of the 20 web hosts three, and "a" is in many a value, so that nothing can be said by it.
    assert len(asked) < 18
    for more in ("Match exec true\n  Port 3\n", "CanonicalizeHostname yes\n", "Include ~/%h\n"):
        (tmp_path / "other").write_text(more)
        assert len(ssh_config._alike([SshQuery(("-F", f"{tmp_path}/other"), name) for name in names])) == len(names)


WITHOUT = """
import json, sys
from playbooks.fleet import ssh_config
from playbooks.fleet.address import read_address
from playbooks.core.surroundings import who
from tests.agent import running_agent
variables = json.loads(sys.argv[1])
try:
    print(ssh_config.endpoints([read_address("web", variables, connect_timeout=1.0)])["web"], who())
except Exception as error:
    print(type(error).__name__, error)
"""


def without(variables: str, *words: str, **environment: str) -> str:
    done = subprocess.run(
        [*words, sys.executable, "-c", WITHOUT, variables],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_uid_that_has_no_name(tmp_path: Path) -> None:
    """Containers of CI run as such. ssh itself does not run then; what needs no ssh to be understood still works."""
    nobody = ("unshare", "--user", "--map-user=4711")
    here = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    host = socket.gethostname()
    plain = '{"ansible_user": "ann", "ansible_ssh_common_args": "-p 2222 -o UserKnownHostsFile=/x -o ProxyJump=none"}'
    assert without(plain, *nobody, **here) == f"ann@web:2222 uid-4711@{host}"
    assert without("{}", *nobody, **here, LOGNAME="a\udcffb") == f"a?b@web:22 a?b@{host}"
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("Host web\n  Port 7\n")
    refused = without(plain, *nobody, **here)
    assert refused.startswith("ConfigError")
    assert f"{tmp_path}/.ssh/config:2 (port) cannot be followed" in refused
    assert "/etc/passwd" in refused


def test_a_controller_without_ssh(tmp_path: Path) -> None:
    """A sentence, and no guess at what a configuration means; without any, there is nothing to ask ssh about."""
    here = {"PATH": str(tmp_path)}
    assert without('{"ansible_user": "ann", "ansible_ssh_common_args": "-F none -p 23"}', **here).startswith(
        "ann@web:23"
    )
    (tmp_path / "config").write_text("Match user ann\n  Port 7\n")
    refused = without(f'{{"ansible_ssh_common_args": "-F {tmp_path}/config"}}', **here)
    assert "apt install openssh-client" in refused
    assert "config:1 (match) cannot be followed" in refused


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    with running_agent(tmp_path / "agent") as place:
        yield place


@proves("paramiko", "_keys", "_conn", "_connect", "get_keys", "blob")
def test_only_the_keys_that_are_meant(agent: str, tmp_path: Path) -> None:
    """IdentitiesOnly: six keys of an agent are as many failed logins, and sshd closes the door."""
    for name in ("one", "two"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
        subprocess.run(["ssh-add", "-q", tmp_path / name], check=True, env={**os.environ, "SSH_AUTH_SOCK": agent})
    with contextlib.closing(Agent(agent, None)) as everything:
        assert len(everything.get_keys()) == 2
    with contextlib.closing(Agent(agent, [f"{tmp_path}/two", f"{tmp_path}/none"])) as some:
        (meant,) = some.get_keys()
        assert meant.get_base64() == (tmp_path / "two.pub").read_text().split()[1]


def test_an_agent_that_is_none_has_no_keys(tmp_path: Path) -> None:
    """A socket of a session that ended, or of another program, must not keep us from the keys in files."""
    assert Agent(f"{tmp_path}/gone", None).get_keys() == ()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"{tmp_path}/other")
        other.listen()

        def babble() -> None:
            with other.accept()[0] as client:
                client.sendall(b"\0\0\0\x01\xff")

        thread = threading.Thread(target=babble)
        thread.start()
        assert Agent(f"{tmp_path}/other", None).get_keys() == ()
        thread.join()


def test_paths_of_one_line() -> None:
    """ssh prints several without quotes."""
    assert split_paths("/a b/c ~/d %d/e") == ["/a b/c", "~/d", "%d/e"]
    assert split_paths("here there") == ["here", "there"]
