"""Watch a machine for secrets while tasks run: in every process, and in every program that a step starts."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from testinfra.host import Host

from tests.hosts.conftest import PROJECT, App

# Runs as root on the machine: looks into /proc and the folders for temporary files until its standard input ends. The
# first line there is what to look for, so that this very process does not have it in its command line.
SAMPLER = """
import json, os, select, stat, sys
traces = [trace.encode() for trace in json.loads(sys.stdin.readline())]
seen, names, rounds = set(), set(), 0
def look(pid, what):
    with open(f"/proc/{pid}/{what}", "rb") as file:
        text = file.read()
    for trace in traces:
        if trace in text:
            comm = open(f"/proc/{pid}/comm").read().strip()
            seen.add((what, comm, os.stat(f"/proc/{pid}").st_uid, trace.decode()))
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    rounds += 1
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            look(pid, "cmdline")
            look(pid, "environ")
        except OSError:
            pass
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        for entry in os.scandir(folder):
            try:
                at = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            names.add((entry.path, stat.filemode(at.st_mode), at.st_uid))
json.dump({"seen": sorted(seen), "names": sorted(names), "rounds": rounds}, sys.stdout)
"""
# Stands before every program on a step's PATH, but for those of /usr/sbin until require_programs has looked: the
# sampler may miss one that lives for a millisecond, this doesn't.
WRAPPER = """#!/bin/sh
me=${0##*/}
printf '%s\\036%s\\035' "$me" "$*" >>/run/watch/cmdline
printf '%s\\036%s\\035' "$me" "$(export -p)" >>/run/watch/environ
[ -x "/usr/bin/$me" ] || exec "/usr/sbin/$me" "$@"
exec "/usr/bin/$me" "$@"
"""


@dataclass(frozen=True)
class Seen:
    """A secret that was visible in a process.

    Args:
        place: cmdline or environ.
        program: the program's name.
        trace: the secret.
    """

    place: str
    program: str
    trace: str


@dataclass
class Watched:
    """The observations on a machine.

    Args:
        seen: the processes in which a secret was visible.
        temporary: the temporary files: path, mode as ls(1) shows it, user id.
        rounds: the number of the sampler's rounds.
        programs: the number of programs that steps started.
    """

    seen: set[Seen]
    temporary: set[tuple[str, str, int]]
    rounds: int = 0
    programs: int = 0


@contextmanager
def watching(
    app: App, on: Callable[[str], Host], addresses: dict[str, str], traces: Sequence[str]
) -> Iterator[dict[str, Watched]]:
    """Watch hosts, and this machine under the name "", for secrets."""
    found = {name: Watched(set(), set()) for name in ("", *addresses)}
    with ExitStack() as stack:
        for name, address in addresses.items():
            stack.enter_context(_wrapped(on(name), found[name], traces))
            command = ["ssh", "-F", f"{app.lab.folder}/ssh/config", address]
            stack.enter_context(_sampled([*command, f"sudo python3 -c {shlex.quote(SAMPLER)}"], found[name], traces))
        stack.enter_context(_sampled([sys.executable, "-c", SAMPLER], found[""], traces))
        yield found


@contextmanager
def _sampled(command: list[str], found: Watched, traces: Sequence[str]) -> Iterator[None]:
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sampler:
        assert sampler.stdin
        assert sampler.stdout
        sampler.stdin.write(json.dumps(list(traces)) + "\n")
        sampler.stdin.flush()
        assert sampler.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            told = json.loads(sampler.communicate()[0])
    found.seen |= {Seen(place, program, trace) for place, program, _, trace in told["seen"]}
    found.temporary |= {(path, mode, user) for path, mode, user in told["names"]}
    found.rounds = told["rounds"]


@contextmanager
def _wrapped(host: Host, found: Watched, traces: Sequence[str]) -> Iterator[None]:
    words = {
        word
        for script in (PROJECT / "playbooks" / "steps").rglob("*.sh")
        for word in re.findall(r"[a-z][a-z0-9_-]+", script.read_text())
    }
    listed = " ".join(shlex.quote(word) for word in sorted(words))
    host.check_output(
        "mkdir -p /run/watch && : >/run/watch/cmdline && : >/run/watch/environ && chmod 666 /run/watch/*"
        " && printf '%%s' %s >/usr/local/sbin/.watch && chmod 755 /usr/local/sbin/.watch"
        f" && for name in {listed}; do [ ! -x /usr/bin/$name -a ! -x /usr/sbin/$name ] ||"
        " for place in /usr/local/sbin /usr/sbin; do"
        " [ -e $place/$name ] || ln -s /usr/local/sbin/.watch $place/$name; done; done",
        WRAPPER,
    )
    try:
        yield
    finally:
        said = {place: host.check_output(f"cat /run/watch/{place}") for place in ("cmdline", "environ")}
        host.check_output("find /usr/local/sbin /usr/sbin -lname '*/.watch' -delete")
        host.check_output("rm -r /usr/local/sbin/.watch /run/watch")
    found.programs = said["environ"].count("\035")
    for place, text in said.items():
        calls = [call.partition("\036") for call in text.split("\035")]
        found.seen |= {Seen(place, program, trace) for program, _, line in calls for trace in traces if trace in line}
