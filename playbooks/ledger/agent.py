"""Talk to the SSH agent: list its keys, and get a signature (draft-ietf-sshm-ssh-agent).

paramiko's client waits for ever for an agent that does not answer; here each answer has a time limit.
"""

from __future__ import annotations

import os
import socket
import struct

from playbooks.core.sshsig import BadSignature, PublicKey, Reader, packed

ASK_KEYS, KEYS = 11, 12
ASK_SIGNATURE, SIGNATURE = 13, 14
RSA_SHA2_512 = 4
MAX_ANSWER = 256 * 1024  # OpenSSH's own limit


class NoAnswer(Exception):
    """The agent refused or did not answer; the sentence says why."""


def agent_keys(seconds: float) -> list[PublicKey]:
    """Return the agent's keys, in its order; none if there is no agent.

    Args:
        seconds: how long to wait for it.

    Raises:
        NoAnswer: it does not answer, or its answer is malformed.
    """
    if not os.environ.get("SSH_AUTH_SOCK"):
        return []
    reader = _ask(ASK_KEYS, b"", KEYS, seconds)
    try:
        return [PublicKey(reader.string(), reader.string().decode("utf-8", "replace")) for _ in range(reader.number())]
    except BadSignature as error:
        raise NoAnswer(f"its answer is invalid: {error}") from None


def agent_signature(key: PublicKey, data: bytes, *, flags: int, seconds: float) -> bytes:
    """Return a signature by one of its keys, in SSH's format.

    Args:
        key: the key.
        data: the data to sign.
        flags: how an RSA key signs.
        seconds: how long to wait; a person may have to touch the key.

    Raises:
        NoAnswer: it does not sign, or not in time.
    """
    reader = _ask(ASK_SIGNATURE, packed(key.blob, data) + struct.pack(">I", flags), SIGNATURE, seconds)
    try:
        return reader.string()
    except BadSignature as error:
        raise NoAnswer(f"its answer is invalid: {error}") from None


def _ask(kind: int, body: bytes, expected: int, seconds: float) -> Reader:
    try:
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(seconds)
            agent.connect(os.environ["SSH_AUTH_SOCK"])
            agent.sendall(packed(bytes([kind]) + body))
            length = int(struct.unpack(">I", _take(agent, 4))[0])
            if not 0 < length <= MAX_ANSWER:
                raise NoAnswer("its answer is invalid")
            answer = _take(agent, length)
    except TimeoutError:
        raise NoAnswer(f"it did not answer within {seconds:.0f} s") from None
    except OSError as error:
        raise NoAnswer(error.strerror or str(error)) from None
    if answer[0] != expected:
        raise NoAnswer("it refuses")
    return Reader(answer[1:])


def _take(agent: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = agent.recv(count - len(found))
        if not more:
            raise NoAnswer("it hung up")
        found += more
    return found
