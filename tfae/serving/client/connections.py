"""Connections that are given up at a deadline, however slowly a server reads or writes.

A socket's own timeout begins anew with every byte that passes, so that each read and each write gets what is left.
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

#: Of the request that this thread makes; urllib3 hands timeouts on, but no deadline.
_DEADLINE: contextvars.ContextVar[Deadline] = contextvars.ContextVar("deadline")


def open_pool(
    address: str, *, connections: int, headers: dict[str, str], ca_file: str | None
) -> urllib3.HTTPConnectionPool:
    """A pool whose requests have to be made inside of :func:`ending_at`; nothing is connected yet."""
    is_tls = urllib3.util.parse_url(address).scheme == "https"
    tls = {"cert_reqs": "CERT_REQUIRED", "ca_certs": ca_file} if is_tls else {}
    pool = urllib3.connection_from_url(address, maxsize=connections, block=True, retries=False, headers=headers, **tls)
    pool.ConnectionCls = _TlsConnection if is_tls else _PlainConnection
    return pool


@contextlib.contextmanager
def ending_at(deadline: Deadline) -> Iterator[None]:
    """Whatever this thread's requests send and receive in here raises TimeoutError once the deadline has passed."""
    token = _DEADLINE.set(deadline)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def _allow_what_is_left(sock: socket.socket, deadline: Deadline) -> None:
    left = deadline.remaining()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    sock.settimeout(left)


@final
class _Reader(io.RawIOBase):
    """The bytes that a socket receives before the deadline."""

    def __init__(self, sock: socket.socket, received: Any, deadline: Deadline) -> None:
        self._sock = sock
        self._received = received
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _allow_what_is_left(self._sock, self._deadline)
        number: int | None = self._received.readinto(buffer)
        return number

    def close(self) -> None:
        self._received.close()  # A socket stays open as long as something that it made does.
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Reader(sock, self.fp.detach(), _DEADLINE.get()))


class _PlainConnection(HTTPConnection):
    response_class = _Answer

    def send(self, data: Any) -> None:
        """As ``http.client`` sends bytes, which over TLS would allow each record the whole time."""
        if self.sock is None:
            self.connect()
        unsent = memoryview(data)
        while unsent:
            _allow_what_is_left(self.sock, _DEADLINE.get())
            unsent = unsent[self.sock.send(unsent) :]


class _TlsConnection(_PlainConnection, HTTPSConnection):
    """The same over TLS."""
