"""Connections that end at a deadline, however slowly a server reads or writes.

The timeout of a socket starts anew with every byte, so each read and each write gets the time that is left.
"""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import io
import socket
from collections.abc import Iterator
from typing import Any, final

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from tfae.serving.client.retries import Deadline

#: Of the request in this thread: urllib3 passes timeouts on, but no deadline.
_DEADLINE: contextvars.ContextVar[Deadline] = contextvars.ContextVar("deadline")


def open_pool(
    address: str, *, connections: int, headers: dict[str, str], ca_file: str | None
) -> urllib3.HTTPConnectionPool:
    """Make a pool whose requests run within :func:`enforce`; it connects with the first request."""
    is_tls = urllib3.util.parse_url(address).scheme == "https"
    tls = {"cert_reqs": "CERT_REQUIRED", "ca_certs": ca_file} if is_tls else {}
    pool = urllib3.connection_from_url(address, maxsize=connections, block=True, retries=False, headers=headers, **tls)
    pool.ConnectionCls = _TlsConnection if is_tls else _PlainConnection
    return pool


@contextlib.contextmanager
def enforce(deadline: Deadline) -> Iterator[None]:
    """Have requests of this thread raise TimeoutError after the deadline."""
    token = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def _limit(sock: socket.socket, deadline: Deadline) -> None:
    left = deadline.remaining()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    sock.settimeout(left)


@final
class _Reader(io.RawIOBase):
    """The bytes that a socket receives before the deadline of the request."""

    def __init__(self, sock: socket.socket, received: Any) -> None:
        self._sock, self._received, self._deadline = sock, received, _DEADLINE.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _limit(self._sock, self._deadline)
        number: int | None = self._received.readinto(buffer)
        return number

    def close(self) -> None:
        self._received.close()  # A socket stays open as long as a file made from it.
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Reader(sock, self.fp.detach()))


class _PlainConnection(HTTPConnection):
    response_class = _Response

    def send(self, data: Any) -> None:
        """Send bytes as ``http.client`` does, which over TLS would allow the whole time for each record."""
        if self.sock is None:
            self.connect()
        unsent = memoryview(data)
        while unsent:
            _limit(self.sock, _DEADLINE.get())
            unsent = unsent[self.sock.send(unsent) :]


class _TlsConnection(_PlainConnection, HTTPSConnection):
    """The same over TLS."""
