"""paramiko's transport, tuned, with limits on everything that the other side may send.

paramiko believes a packet's length even before authentication, keeps data that a channel gets beyond its window, and
unpacks a compressed packet to any size. ssh does none of this.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA

from playbooks.fleet import hostkeys

MAX_PACKET = 256 * 1024  # bytes, as in ssh (PACKET_MAX_SIZE); normal packets have 32 kB

_Feed = Callable[[paramiko.Channel, paramiko.Message], None]


class _Decompressor:
    """Decompresses packets, with a limit on their size."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()

    def __call__(self, data: bytes) -> bytes:
        found = self._stream.decompress(data, MAX_PACKET)
        if self._stream.unconsumed_tail:
            raise paramiko.SSHException("it sends a packet that unpacks without end")
        return found


def _within_window(feed: _Feed) -> _Feed:
    def fed(channel: paramiko.Channel, message: paramiko.Message) -> None:
        feed(channel, message)
        # A host that follows the protocol never sends more than the window allows.
        if len(channel.in_buffer) + len(channel.in_stderr_buffer) > channel.in_window_size:
            raise paramiko.SSHException("it sends more than it was asked for")

    return fed


class Transport(paramiko.Transport):
    """paramiko's transport with one-pass ciphers first: in Python the second pass for a MAC costs as much again."""

    # paramiko wakes each connection's thread ten times a second to check whether it was closed. With hundreds of hosts
    # that takes most of the controller's time, and Slipway never waits for such a thread to end.
    _active_check_timeout = 2.0
    _preferred_ciphers = (
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
    )
    _compression_info: ClassVar = {
        name: (packer, packer and _Decompressor)
        for name, (packer, _) in getattr(paramiko.Transport, "_compression_info").items()  # noqa: B009
    }
    _channel_handler_table: ClassVar = {
        kind: _within_window(handler) if kind in (MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA) else handler
        for kind, handler in getattr(paramiko.Transport, "_channel_handler_table").items()  # noqa: B009
    }

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - paramiko's own signature
        super().__init__(*arguments, **options)
        packets: Any = self.packetizer
        read = packets.read_all

        def read_all(count: int, check_rekey: bool = False) -> bytes:
            if count > MAX_PACKET:
                raise paramiko.SSHException(f"it sends a packet of {count} bytes")
            return bytes(read(count, check_rekey))

        packets.read_all = read_all

    def allow(self, algorithms: Mapping[str, Sequence[str]]) -> None:
        """Use only these algorithms.

        Args:
            algorithms: the algorithms by paramiko's kinds; a missing kind is not limited.
        """
        for kind, names in algorithms.items():
            ours = getattr(self, f"_preferred_{kind}")
            kept = tuple(name for name in ours if name in names)
            # If ssh's settings exclude all fast algorithms, use the rest of paramiko's own.
            setattr(self, f"_preferred_{kind}", kept or tuple(names))

    def prefer_keys(self, wanted: hostkeys.ExpectedKeys) -> None:
        """Ask for a host key of a recorded kind."""
        options = self.get_security_options()
        options.key_types = wanted.kinds(tuple(options.key_types))
