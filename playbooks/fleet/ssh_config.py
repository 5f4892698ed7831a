"""Ask ssh itself how it would connect to each host, before any connection.

`ssh -G` prints every setting of the command line, of ~/.ssh/config and of the system's file, with Host, Match,
Include and whatever OpenSSH adds later. This module does not interpret these files itself.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise

from playbooks.core.counting import counted
from playbooks.core.errors import ConfigError
from playbooks.core.surroundings import account_name, local_user
from playbooks.fleet import ssh_arguments, ssh_files
from playbooks.fleet.address import Address
from playbooks.fleet.endpoint import ALGORITHMS, HARMLESS, Endpoint, SshAnswer, judge

ASK_SECONDS = 30.0  # `Match exec` runs programs, and CanonicalizeHostname asks DNS
SIDE_BY_SIDE = 8
MAX_JUMPS = 10
_NO_DEFAULTS = ("-F", "none")
_PLAIN_NAME = re.compile(r"[a-z0-9._:-]+")
_IDENTITIES = ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk")


class RefusedError(Exception):
    """ssh's settings for a host cannot be read, or Slipway cannot follow them."""


@dataclass(frozen=True)
class SshQuery:
    """A question to ssh.

    Args:
        arguments: see `read_arguments`.
        destination: the host, as ssh gets it.
    """

    arguments: tuple[str, ...]
    destination: str


@dataclass
class SshAnswers:
    """ssh's answers; each question is asked once.

    Args:
        answers: the known answers.
    """

    answers: dict[SshQuery, SshAnswer | RefusedError] = field(default_factory=dict)

    def ask_all(self, questions: Iterable[SshQuery]) -> None:
        """Ask all new questions at the same time, and only one of those with the same answer."""
        wanted = [one for one in dict.fromkeys(questions) if one not in self.answers]
        if not wanted:
            return
        alike = _alike(wanted)
        with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="ssh-G") as pool:
            firsts = [group[0] for group in alike]
            for group, answer in zip(alike, list(pool.map(_ask, firsts)), strict=True):
                self.answers[group[0]] = answer
            left = [question for group in alike for question in self._not_derived(*group)]
            self.answers.update(zip(left, pool.map(_ask, left), strict=True))

    def _not_derived(self, like: SshQuery, *others: SshQuery) -> Sequence[SshQuery]:
        """Answer questions from the answer to another one, with the own host's name in each.

        Returns:
            All questions, if the answer contains the name in several places, because ssh has derived values from it.
        """
        answer = self.answers[like]
        if isinstance(answer, RefusedError) or answer.get("hostname") != (like.destination,):
            return others
        elsewhere = (value for key, values in answer.items() if key not in ("host", "hostname") for value in values)
        if any(like.destination in value for value in elsewhere):
            return others
        for one in others:
            name = (one.destination,)
            self.answers[one] = {**answer, "hostname": name, **({"host": name} if "host" in answer else {})}
        return ()

    def answer(self, question: SshQuery) -> SshAnswer:
        """Return ssh's answer.

        Raises:
            RefusedError: ssh refuses its configuration.
        """
        self.ask_all([question])
        found = self.answers[question]
        if isinstance(found, RefusedError):
            raise found
        return found


def endpoints(addresses: Sequence[Address]) -> dict[str, Endpoint]:
    """Find how ssh would connect to each host, without connecting.

    Args:
        addresses: the hosts.

    Raises:
        ConfigError: ssh refuses its configuration, or Slipway cannot follow it; the message names all such hosts.
    """
    asked = SshAnswers()
    defaults = SshQuery(_NO_DEFAULTS, "localhost")
    asked.ask_all([defaults, *map(_question, addresses)])
    found: dict[str, Endpoint] = {}
    problems: dict[str, list[str]] = {}
    for address in addresses:
        try:
            found[address.name] = _with_jumps(address, asked, asked.answer(defaults))
        except RefusedError as refused:
            problems.setdefault(str(refused), []).append(address.name)
    if problems:
        raise ConfigError([f"{_hosts(names)}: {problem}" for problem, names in problems.items()], hint=_hint(addresses))
    return found


def _hosts(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {counted(len(names) - 3, 'more host')}" if len(names) > 3 else "")


def _hint(addresses: Sequence[Address]) -> str:
    return f"see what ssh itself makes of it: ssh -G {addresses[0].hostname}"


def _question(address: Address) -> SshQuery:
    return SshQuery(address.ssh_arguments, address.hostname)


def _with_jumps(address: Address, asked: SshAnswers, defaults: SshAnswer) -> Endpoint:
    question = _question(address)
    endpoint = _judged(asked.answer(question), defaults, question.destination)
    said = ssh_arguments.names(question.arguments)
    # The inventory's own files apply to the jump hosts too. (ssh does not pass them on, but there Ansible's users
    # write a ProxyCommand that does.)
    files = endpoint.known_hosts if "userknownhostsfile" in said else ()
    keys = endpoint.keys if "identityfile" in said else ()
    chain = [endpoint]
    while (hop := _hop(question, asked.answer(question))) is not None and chain[-1].command is None:
        if len(chain) > MAX_JUMPS:
            raise RefusedError("ssh's ProxyJump leads round in a circle: " + " via ".join(map(str, chain[:4])))
        question = hop
        jump = _judged(asked.answer(hop), defaults, hop.destination)
        chain.append(
            replace(
                jump,
                known_hosts=tuple(dict.fromkeys((*files, *jump.known_hosts))),
                keys=tuple(dict.fromkeys((*keys, *jump.keys))),
            )
        )
    whole = chain.pop()
    while chain:
        whole = chain.pop().by_way_of(whole)
    return whole


def _judged(answer: SshAnswer, defaults: SshAnswer, destination: str) -> Endpoint:
    endpoint, problems = judge(answer, defaults, destination)
    if problems:
        raise RefusedError("; ".join(problems))
    return endpoint


def _hop(question: SshQuery, answer: SshAnswer) -> SshQuery | None:
    """Return the last jump host. ssh is asked as it asks itself: with the jump hosts before it, and the same file."""
    said = answer.get("proxyjump", ("none",))[0]
    if said in ("", "none"):
        return None
    before, _, last = said.rpartition(",")
    found = re.fullmatch(r"(?:ssh://)?(?:(?P<user>.*)@)?(?P<host>\[[^]]*\]|[^:]*|.*:.*:.*?)(?::(?P<port>\d+))?/?", last)
    if found is None:
        raise RefusedError(f"ssh's ProxyJump names no host: {last}")
    arguments: list[str] = []
    for flag, value in (("-F", _file(question)), ("-l", found["user"]), ("-p", found["port"]), ("-J", before)):
        arguments += [flag, value] if value else []
    return SshQuery(tuple(arguments), found["host"].strip("[]"))


def _file(question: SshQuery) -> str | None:
    return next((value for flag, value in pairwise(question.arguments) if flag == "-F"), None)


def _alike(questions: Sequence[SshQuery]) -> list[list[SshQuery]]:
    """Group the questions about hosts that ssh's files treat alike. Their answers differ only in the name."""
    groups: dict[object, list[SshQuery]] = {}
    told_apart: dict[tuple[str, ...], list[str] | None] = {}
    for question in questions:
        words = question.arguments
        if words not in told_apart:
            canonical = any("canonicalize" in word.lower() for word in words)
            told_apart[words] = None if canonical else ssh_files.patterns(words)
        by = told_apart[words]
        if by is None or not _PLAIN_NAME.fullmatch(question.destination):
            groups[question] = [question]
        else:
            groups.setdefault((words, ssh_files.signature(question.destination, by)), []).append(question)
    return list(groups.values())


def _ask(question: SshQuery) -> SshAnswer | RefusedError:
    words = ["ssh", *question.arguments, "-G", "--", question.destination]
    if "" in words or any("\0" in word for word in words):
        return RefusedError("the host's name or one of ssh's arguments is empty, or holds a NUL")
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_SECONDS, check=False)
    except FileNotFoundError:
        return _without_ssh(question, "ssh is not installed here (Debian: apt install openssh-client)")
    except subprocess.TimeoutExpired:
        return RefusedError(f"ssh -G {question.destination} did not answer within {ASK_SECONDS:g} s: a Match exec?")
    except OSError as error:
        return RefusedError(f"ssh cannot be run: {error.strerror}")
    if done.returncode:
        if account_name() is None:
            return _without_ssh(question, "ssh does not run for a user without an entry in /etc/passwd")
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        told = [line for line in said if not line.startswith("Pseudo-terminal")]
        return RefusedError("ssh refuses: " + "; ".join(told[:3]).replace("\r", ""))
    return _parse(done.stdout.decode("utf-8", "surrogateescape"))


def _parse(text: str) -> SshAnswer:
    found: dict[str, tuple[str, ...]] = {}
    for line in text.split("\n"):
        key, _, value = line.partition(" ")
        if key:
            found[key.lower()] = (*found.get(key.lower(), ()), value)
    return found


def _without_ssh(question: SshQuery, why: str) -> SshAnswer | RefusedError:
    """Return ssh's answer if ssh is not installed: only without configuration files, and for plain arguments."""
    try:
        said = ssh_arguments.names(question.arguments)
        for line in ssh_files.lines(question.arguments):
            if line.key not in HARMLESS | {"host"} and not (line.key == "match" and line.words == ("all",)):
                return RefusedError(f"{why}, and so {line.file}:{line.number} ({line.key}) cannot be followed")
    except (ssh_files.UnclearError, ValueError):
        return RefusedError(f"{why}, and so its configuration cannot be followed")
    if limited := sorted(said.keys() & ALGORITHMS.keys()):
        return RefusedError(f"{why}, and so its setting {limited[0]} cannot be followed")
    user, _, hostname = question.destination.rpartition("@")
    known = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
    answer: Mapping[str, Sequence[str]] = {
        "hostname": [hostname],
        "port": ["22"],
        "user": [user or account_name() or local_user()],
        "identityfile": [f"~/.ssh/id_{kind}" for kind in _IDENTITIES],
        "userknownhostsfile": [known],
        "globalknownhostsfile": ["/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"],
        **{key: values for key, values in said.items() if not key.startswith("-")},
    }
    return {key: tuple(values) for key, values in answer.items()}
