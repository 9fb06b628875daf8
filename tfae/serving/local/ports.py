"""Addresses to listen at, and what is said when one cannot be had."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator


def authority(host: str, port: int) -> str:
    """Host and port in a URL; a server at every address is reached at the machine's own."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def try_listening(host: str, port: int) -> None:
    """Listen at a port and let it go again."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as trial:
        if os.name == "posix":  # Elsewhere it would take a port from whoever has it.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(address)
        trial.listen()


@contextlib.contextmanager
def port_of(argument: str, host: str, port: int) -> Iterator[None]:
    """Say which argument it was if a port cannot be listened at."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"host, {argument}: expected an address of this machine and a free port; received {host}:{port} "
            f"({error.strerror or error}). Take another, or port 0 for any that is free."
        ) from error
