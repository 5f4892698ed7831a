"""paramiko's transport, tuned, with limits on everything that the other side may send.

paramiko believes the length that a packet gives itself, before anybody has said who he is; it keeps what a channel is
sent beyond its window, and all that a compressed packet unpacks to. ssh does none of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA

from playbooks.fleet import hostkeys

MAX_PACKET = 256 * 1024  # bytes, as ssh has it (PACKET_MAX_SIZE); honest ones have 32 kB

_Feed = Callable[[paramiko.Channel, paramiko.Message], None]


class _Decompressor:
    """Unpacks what comes, packet by packet."""

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
        # An honest host never has more on its way than was asked for and not read yet.
        if len(channel.in_buffer) + len(channel.in_stderr_buffer) > channel.in_window_size:
            raise paramiko.SSHException("it sends more than it was asked for")

    return fed


class Transport(paramiko.Transport):
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
        """Use no others than these.

        Args:
            algorithms: by paramiko's kinds; a kind that is missing is not limited.
        """
        for kind, names in algorithms.items():
            ours = getattr(self, f"_preferred_{kind}")
            kept = tuple(name for name in ours if name in names)
            # Where ssh's settings leave out all that is fast, what is left of paramiko's own is used.
            setattr(self, f"_preferred_{kind}", kept or tuple(names))

    def prefer_keys(self, wanted: hostkeys.ExpectedKeys) -> None:
        """Ask for a host key of a kind that is recorded."""
        options = self.get_security_options()
        options.key_types = wanted.kinds(tuple(options.key_types))
