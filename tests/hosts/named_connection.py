"""Connect by TLS to a host without a DNS entry."""

from __future__ import annotations

import http.client
import ssl


class NamedConnection(http.client.HTTPConnection):
    """A TLS connection to a host without a DNS entry, with the name of its certificate."""

    def __init__(self, address: str, port: int, trusted: tuple[str, str]) -> None:
        super().__init__(address, port, timeout=20)
        self._context = ssl.create_default_context(cadata=trusted[0])
        self._name = trusted[1]

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)
