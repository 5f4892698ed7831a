"""A line does one request after another, each just once, and nothing after one that failed."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from playbooks.fleet.remote_shell import ShellRequest
from playbooks.fleet.script import command, quote, shell_loop

ANYTHING = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
TELL = b'for a in "$@"; do printf "%s" "$a" | sha256sum; done; sha256sum\n# whole'


def run(sent: bytes) -> subprocess.CompletedProcess[bytes]:
    words = ["/bin/sh", "-c", quote(command(shell_loop()))]
    return subprocess.run(words, input=shell_loop() + sent, capture_output=True, check=False)


def sent(requests: Sequence[ShellRequest]) -> bytes:
    return b"".join(
        request.head() + bytes(request.payload) for request in requests if isinstance(request.payload, bytes)
    )


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.lists(ANYTHING, max_size=4), st.binary(max_size=3000)), min_size=1, max_size=4))
def test_each_request_is_given_its_own_arguments_and_payload(asked: list[tuple[list[str], bytes]]) -> None:
    """A byte too many or too few, and all that follows on the line is read as something else, as root."""
    requests = [ShellRequest("tell", TELL, arguments, payload) for arguments, payload in asked]
    done = run(sent(requests))
    assert done.returncode == 0, done.stderr
    rest = done.stdout
    for request, (arguments, payload) in zip(requests, asked, strict=True):
        answer, _, rest = rest.partition(b"\n" + request.mark + b" 0 ")
        rest = rest.partition(b"\n")[2]
        expected = [*(digest(argument.encode()) for argument in arguments), digest(payload)]
        assert answer.decode().split()[::2] == expected
    assert not rest


def test_what_a_script_does_not_read_is_not_the_next_request() -> None:
    """Payload left on the line would be run."""
    lazy = ShellRequest("lazy", b"echo begun\n# whole", payload=b"0 0 x\n" * 100)
    done = run(sent([lazy, ShellRequest("tell", b"echo second\n# whole")]))
    assert done.stdout.count(b"begun\n") == done.stdout.count(b"second\n") == 1


def test_nothing_is_done_after_a_request_that_failed() -> None:
    """A release whose switch failed must not be judged, and called healthy."""
    for bad in (b"false", b"exit 7", b"kill -TERM $$", b"unknown-program"):
        done = run(
            sent([ShellRequest("bad", b"set -e\n" + bad + b"\n# whole"), ShellRequest("tell", b"echo second\n# whole")])
        )
        assert done.returncode != 0
        assert b"second" not in done.stdout, bad


def test_a_request_that_is_cut_on_its_way_is_not_done() -> None:
    """A connection that breaks while a script is sent would run the half that came."""
    whole = ShellRequest("tell", b"echo begun\necho ended\n# whole").head()
    for length in range(len(whole)):
        assert b"begun" not in run(whole[:length]).stdout, length
    assert b"begun" in run(whole).stdout


def test_steps_share_nothing_but_the_line() -> None:
    """A folder, a trap or an option that one step sets would make the next one do something else."""
    first = ShellRequest("first", b"cd /; set -eu; umask 000; trap 'echo gone' EXIT; left=x\n# whole")
    second = ShellRequest("second", b'echo "[${left:-}$unset] $(umask)"; pwd\n# whole')
    done = run(sent([first, second]))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"gone") == 1
    assert b"[] " in done.stdout and b"[] 0000" not in done.stdout


def test_a_script_that_keeps_the_line_reads_what_comes_and_ends_it() -> None:
    """Words for the lock that were read as requests would be run; and the line must not outlive the lock."""
    keeps = ShellRequest(
        "lock", b'while read -r word; do echo "$1 heard $word"; done; exit 3\n# whole', ["it"], keeps=True
    )
    done = run(sent([ShellRequest("tell", b"echo first\n# whole"), keeps]) + b"b\nc\n")
    assert done.returncode == 3
    assert done.stdout.endswith(b"it heard b\nit heard c\n") and b"first\n" in done.stdout
