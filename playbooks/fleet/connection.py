"""Open an SSH session: Fabric's Connection with strict host keys and without Nagle's delay."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import fabric
import paramiko

from playbooks.core.errors import SlipwayError, Unreachable
from playbooks.core.unreached import in_words
from playbooks.fleet import hostkeys
from playbooks.fleet.address import Address
from playbooks.fleet.dialing import Agent, dial, readable, speak_through
from playbooks.fleet.endpoint import Endpoint
from playbooks.fleet.transport import Transport

# A third of the guard's default timeout. After this much silence Slipway connects again (fleet/lock.py).
LOST_SECONDS = 20


def _transport(
    sock: Any,  # noqa: ANN401 - paramiko's own signature
    *,
    endpoint: Endpoint,
    wanted: hostkeys.ExpectedKeys,
    **options: Any,  # noqa: ANN401 - paramiko's own signature
) -> paramiko.Transport:
    """Make a transport on a socket without Nagle's algorithm, which costs 40 ms a command on a Fabric connection."""
    if isinstance(sock, socket.socket) and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without this a write into a pulled cable blocks for a quarter of an hour, and every heartbeat waits for it.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1000)
    transport = Transport(sock, **options)
    transport.allow(endpoint.algorithms)
    transport.prefer_keys(wanted)
    transport.set_keepalive(15)
    return transport


class _NoFile(paramiko.SSHConfig):
    """An empty ssh configuration. paramiko's own looks up the user's name, and not every uid has one."""

    def lookup(self, hostname: str) -> paramiko.SSHConfigDict:
        return paramiko.SSHConfigDict(hostname=hostname)


def _settings() -> fabric.Config:
    """Return Fabric's settings without any file, because only ssh's settings decide which host we connect to."""
    return fabric.Config(ssh_config=_NoFile(), lazy=True)


@dataclass(frozen=True)
class Ways:
    """How to reach each host; it is determined once for a task.

    Args:
        endpoints: the endpoints, by the host's inventory name.
        config: Fabric's configuration.
        known: the recorded host keys by file, read when first needed.
        making: the mutex for making a connection. Fabric empties and rewrites the configuration for that moment; a
            copy for each connection would take longer than making the connection.
    """

    endpoints: Mapping[str, Endpoint]
    config: fabric.Config = field(default_factory=_settings)
    known: dict[tuple[str, ...], hostkeys.KnownHosts] = field(default_factory=dict)
    making: threading.Lock = field(default_factory=threading.Lock)

    def wanted(self, endpoint: Endpoint) -> hostkeys.ExpectedKeys:
        """Return the key that a host must show."""
        if endpoint.known_hosts not in self.known:
            self.known[endpoint.known_hosts] = hostkeys.read_known(endpoint.known_hosts)
        known = self.known[endpoint.known_hosts]
        with_port = endpoint.known_as == hostkeys.known_as(endpoint.hostname, endpoint.port)
        plain = known.of(endpoint.hostname) if with_port and endpoint.port != hostkeys.SSH_PORT else []
        return hostkeys.ExpectedKeys(
            endpoint.known_as, tuple(known.of(endpoint.known_as)), tuple(plain), endpoint.rsa_bits
        )


class _Connection(fabric.Connection):  # type: ignore[misc]  # Fabric has no types
    """A Fabric connection to an endpoint."""

    endpoint: Endpoint

    def open_gateway(self) -> Any:  # noqa: ANN401 - a socket, or what paramiko takes for one
        """Open the socket, if it is not a plain connection from this machine."""
        endpoint = self.endpoint
        if endpoint.command is not None:
            return speak_through(endpoint.command)
        if endpoint.jump is not None:
            return super().open_gateway()
        return dial(endpoint, self.connect_timeout)

    def close(self) -> None:
        """Close the connection and the jump hosts' connections."""
        super().close()
        if isinstance(self.gateway, fabric.Connection):
            self.gateway.close()


def connect(address: Address, ways: Ways) -> fabric.Connection:
    """Log in to a host.

    Args:
        address: the host and the login.
        ways: how to reach the hosts.

    Returns:
        An open connection; the caller closes it.

    Raises:
        Unreachable: no route, no answer in time, or no key that the host accepts.
        HostKeyRefused: the host's key is unknown or has changed.
    """
    until = time.monotonic() + address.connect_timeout
    while True:
        with ways.making:
            connection = _connection(address, ways)
        try:
            connection.open()
        except BaseException as error:
            connection.close()
            if _is_turned_away(error) and time.monotonic() < until:
                time.sleep(random.uniform(0.2, 0.6))  # noqa: S311 - not all at once again
                continue
            if isinstance(error, Exception):
                raise _explain(address, ways, error) from None
            raise
        return connection


def _is_turned_away(error: BaseException) -> bool:
    """Return whether sshd closed the connection before its greeting, because of too many new ones (MaxStartups)."""
    return isinstance(error, (EOFError, ConnectionResetError, BrokenPipeError)) or (
        isinstance(error, paramiko.SSHException) and "banner" in str(error)
    )


def _connection(address: Address, ways: Ways) -> _Connection:
    return _made(address, ways.endpoints[address.name], ways)


def _made(address: Address, endpoint: Endpoint, ways: Ways) -> _Connection:
    """Make a connection and its jump hosts' connections, without opening them."""
    wanted = ways.wanted(endpoint)
    gateway: object = _made(address, endpoint.jump, ways) if endpoint.jump and endpoint.command is None else None
    if gateway is None and (endpoint.command or endpoint.bind or endpoint.family):
        gateway = True  # `open_gateway` opens the socket
    connection = _Connection(
        endpoint.hostname,
        user=endpoint.user,
        port=endpoint.port,
        config=ways.config,
        connect_timeout=address.connect_timeout,
        gateway=gateway or False,
        connect_kwargs={
            "transport_factory": partial(_transport, endpoint=endpoint, wanted=wanted),
            "banner_timeout": address.connect_timeout,
            "compress": endpoint.compress,
            **_login(address, endpoint),
        },
    )
    # Fabric would take a plain assignment for one of its settings.
    object.__setattr__(connection, "endpoint", endpoint)
    if endpoint.pubkey and endpoint.agent is not None:
        # paramiko asks the environment's agent; ssh's settings may name another agent, or only some keys.
        connection.client._agent = Agent(endpoint.agent, endpoint.keys if endpoint.only_keys else None)
    connection.client.set_missing_host_key_policy(hostkeys.Strict(address.name, wanted))
    return connection


def _login(address: Address, endpoint: Endpoint) -> dict[str, Any]:
    """Return the login arguments. A missing key file of ssh's settings is skipped, as ssh does."""
    named = address.key_file
    keys = [key for key in endpoint.keys if key == named or readable(key)] if endpoint.pubkey else []
    return {
        "key_filename": keys,
        "look_for_keys": False,
        "allow_agent": endpoint.pubkey and endpoint.agent is not None,
        **({"password": address.password} if address.password and endpoint.password else {}),
    }


def _explain(address: Address, ways: Ways, error: Exception) -> SlipwayError:
    endpoint = ways.endpoints[address.name]
    where = str(endpoint)
    where += f" by way of {endpoint.jump}" if endpoint.jump else ""
    where += " by way of its ProxyCommand" if endpoint.command else ""
    match error:
        case SlipwayError():
            return error
        case paramiko.PasswordRequiredException():
            reason, hint = (
                f"{_key(address)} is locked by a passphrase",
                "ssh-add it first; for cron take a key without one",
            )
        case paramiko.AuthenticationException():
            reason = "it accepts none of your keys"
            hint = (
                f"try: ssh {endpoint.user}@{endpoint.hostname} -p {endpoint.port}; "
                "check ansible_user, the key file and the agent"
            )
        case OSError() if error.filename:
            reason, hint = (
                f"the key {error.filename} cannot be read: {error.strerror}",
                "check ansible_ssh_private_key_file",
            )
        case socket.gaierror():
            reason, hint = "there is no host of that name", "check ansible_host, and the name in DNS"
        case TimeoutError():
            reason, hint = f"no answer within {address.connect_timeout:g} s", "is the host up, and the port open?"
        case paramiko.ssh_exception.NoValidConnectionsError():
            # This error is about all the host's addresses; each address has its own error inside.
            reasons = dict.fromkeys(getattr(one, "strerror", None) or str(one) for one in error.errors.values())
            reason, hint = ", ".join(reasons), "is the host up, and does sshd listen on that port?"
        case _:
            reason, hint = in_words(error), "is it sshd that listens on that port?"
    return Unreachable(f"cannot connect to {where}: {reason}", host=address.name, hint=hint)


def _key(address: Address) -> str:
    return f"the key {address.key_file}" if address.key_file else "the key"
