"""Opening an SSH session: Fabric's Connection with strict host keys and without Nagle's delay."""

from __future__ import annotations

import random
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import fabric
import paramiko

from playbooks.errors import SlipwayError, Unreachable
from playbooks.fleet import hostkeys
from playbooks.fleet.address import Address


class _Transport(paramiko.Transport):
    """paramiko's transport with one-pass ciphers first: in Python the second pass for a MAC costs as much again."""

    # paramiko wakes each connection's thread ten times a second to see whether it was closed. With hundreds of hosts
    # that is most of what the controller does; nobody here waits for such a thread to end.
    _active_check_timeout = 2.0
    _preferred_ciphers = (
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
    )


# A third of the guard's usual time-out: after as much silence a host is connected to anew (fleet/lock.py).
LOST_SECONDS = 20


def _transport(sock: Any, **options: Any) -> paramiko.Transport:  # noqa: ANN401 - paramiko's own signature
    """A transport on a socket that sends at once: Nagle's algorithm costs 40 ms a command on a Fabric connection."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Else whoever writes into a cable that was pulled waits a quarter of an hour, and every heartbeat behind him.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1000)
    transport = _Transport(sock, **options)
    transport.set_keepalive(15)
    return transport


@dataclass(frozen=True)
class SshConfig:
    """The user's ~/.ssh/config and the system's, and the keys of known hosts, read once for the whole fleet.

    Args:
        config: as Fabric knows it.
        known: recorded host keys by the files that have them, as they come to be needed.
        making: held while a connection is made of it. Fabric writes into the configuration then, and for that moment
            there is nothing in it for anybody else. A copy for each connection would cost more than the rest of it.
    """

    config: fabric.Config = field(default_factory=fabric.Config)
    known: dict[tuple[str, ...], paramiko.HostKeys] = field(default_factory=dict)
    making: threading.Lock = field(default_factory=threading.Lock)


def connect(address: Address, ssh: SshConfig) -> fabric.Connection:
    """Log in to a host.

    Args:
        address: which host, and how.
        ssh: decides what the address leaves open.

    Returns:
        An open connection; the caller closes it.

    Raises:
        Unreachable: no route, no answer in time, or no key that the host accepts.
        HostKeyRefused: the host's key is unknown or has changed.
    """
    until = time.monotonic() + address.connect_timeout
    while True:
        with ssh.making:
            connection = _connection(address, ssh)
        try:
            connection.open()
        except BaseException as error:
            connection.close()
            if _is_turned_away(error) and time.monotonic() < until:
                time.sleep(random.uniform(0.2, 0.6))  # noqa: S311 - not all at once again
                continue
            if isinstance(error, Exception):
                raise _explain(address, connection, error) from None
            raise
        return connection


def _is_turned_away(error: BaseException) -> bool:
    """Whether sshd closed the door before it said a word: it has too many at the door (MaxStartups)."""
    return isinstance(error, (EOFError, ConnectionResetError, BrokenPipeError)) or (
        isinstance(error, paramiko.SSHException) and "banner" in str(error)
    )


def _connection(address: Address, ssh: SshConfig) -> fabric.Connection:
    config = ssh.config
    options: dict[str, Any] = {"transport_factory": _transport, "banner_timeout": address.connect_timeout}
    if address.key_file:
        options |= {"key_filename": address.key_file, "look_for_keys": False}
    if address.password:
        options |= {"password": address.password}
    connection = fabric.Connection(
        address.hostname,
        user=address.user,
        port=address.port,
        config=config,
        connect_timeout=address.connect_timeout,
        connect_kwargs=options,
        **({"gateway": _gateway(address, config)} if address.proxy_jump or address.proxy_command else {}),
    )
    hop: object = connection
    while isinstance(hop, fabric.Connection):
        files = _known_hosts(hop, address, config)
        if files not in ssh.known:
            ssh.known[files] = hostkeys.read_known(files)
        hostkeys.strict(hop.client, address.name, ssh.known[files], hop.host, hop.port)
        hop.connect_kwargs.setdefault("transport_factory", _transport)
        hop = hop.gateway
    return connection


def _gateway(address: Address, config: fabric.Config) -> fabric.Connection | str:
    if address.proxy_command:
        return address.proxy_command.replace("%h", address.hostname).replace("%p", str(address.port or 22))
    gateway: fabric.Connection | None = None
    for hop in (address.proxy_jump or "").split(","):
        gateway = fabric.Connection(
            hop.strip(),
            config=config,
            gateway=gateway,
            connect_timeout=address.connect_timeout,
            # Empty, they would be those of the configuration that all connections share.
            connect_kwargs={
                "transport_factory": _transport,
                **({"key_filename": address.key_file} if address.key_file else {}),
            },
        )
    assert gateway is not None  # split() gives at least one  # noqa: S101
    return gateway


def _known_hosts(hop: fabric.Connection, address: Address, config: fabric.Config) -> tuple[str, ...]:
    """The inventory's files of host keys; else those that ~/.ssh/config names; else none, which means the defaults."""
    if address.known_hosts:
        return address.known_hosts
    named = config.base_ssh_config.lookup(hop.original_host).get("userknownhostsfile", "")
    return tuple(str(named).split())


def _explain(address: Address, connection: fabric.Connection, error: Exception) -> SlipwayError:
    where = f"{connection.user}@{connection.host}:{connection.port}"
    where += f" by way of {address.proxy_jump}" if address.proxy_jump else ""
    match error:
        case SlipwayError():
            return error
        case paramiko.BadHostKeyException():
            return hostkeys.changed(address.name, error)
        case paramiko.PasswordRequiredException():
            reason, hint = (
                f"{_key(address)} is locked by a passphrase",
                "ssh-add it first; for cron take a key without one",
            )
        case paramiko.AuthenticationException():
            reason = "it accepts none of our keys"
            hint = (
                f"try: ssh {connection.user}@{connection.host} -p {connection.port}; "
                "check ansible_user, the key file and the agent"
            )
        case OSError() if error.filename:
            reason, hint = f"{_key(address)} cannot be read: {error.strerror}", "check ansible_ssh_private_key_file"
        case socket.gaierror():
            reason, hint = "there is no host of that name", "check ansible_host, and the name in DNS"
        case TimeoutError():
            reason, hint = f"no answer within {address.connect_timeout:g} s", "is the host up, and the port open to us?"
        case paramiko.ssh_exception.NoValidConnectionsError():
            # It speaks of all the host's addresses at once; each has its own error.
            reasons = dict.fromkeys(getattr(one, "strerror", None) or str(one) for one in error.errors.values())
            reason, hint = ", ".join(reasons), "is the host up, and does sshd listen on that port?"
        case _:
            reason, hint = str(error) or type(error).__name__, "is it sshd that listens on that port?"
    return Unreachable(f"cannot connect to {where}: {reason}", host=address.name, hint=hint)


def _key(address: Address) -> str:
    return f"the key {address.key_file}" if address.key_file else "the key"
