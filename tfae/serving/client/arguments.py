"""Validation of the client's arguments, and the transport that an address asks for."""

from __future__ import annotations

import math
import numbers
import operator
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from tfae.serving.client.rest import RestTransport

if TYPE_CHECKING:
    from tfae.serving.client.grpc_transport import GrpcTransport

    #: Both raise ServingError, no later than at the deadline.
    Transport: TypeAlias = RestTransport | GrpcTransport

_GRPC_PORT = 8500


def validate_integer(name: str, value: int, least: int) -> int:
    """Return an integer of at least ``least``, else raise ValueError."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):  # True is 1 in Python, and a switch to the caller.
        raise ValueError(f"{name}: expected an integer of at least {least}; received {value!r}.")
    return number


def validate_seconds(name: str, value: object) -> float:
    """Return a positive number, else raise ValueError."""
    seconds = math.nan if isinstance(value, bool) or not isinstance(value, numbers.Real) else float(value)
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name}: expected a positive number of seconds; received {value!r}.")
    return seconds


def connect(address: str, *, connections: int, token: str | None, ca_file: str | os.PathLike[str] | None) -> Transport:
    """Make the transport for an address, which connects with the first request; ValueError for invalid arguments."""
    url = _parse_address(address)
    address = address.rstrip("/")
    if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
        raise ValueError("token: expected printable ASCII without blanks; received something else.")
    if ca_file is not None:
        if url.scheme in ("http", "grpc"):
            raise ValueError(f"ca_file: expected none with {url.scheme}://, which has no TLS; received {ca_file}.")
        if not Path(ca_file).is_file():
            raise ValueError(f"ca_file: expected a PEM file; received {ca_file}, which is none.")
        ca_file = os.fspath(ca_file)
    if url.scheme in ("http", "https"):
        return RestTransport(address, connections=connections, token=token, ca_file=ca_file)
    from tfae.serving.client.grpc_transport import GrpcTransport  # Imports TensorFlow.

    host = f"{url.host}:{url.port or _GRPC_PORT}"
    return GrpcTransport(address, host, tls=url.scheme == "grpcs", token=token, ca_file=ca_file)


def _parse_address(address: str) -> Url:
    expected = "address: expected http://, https://, grpc:// or grpcs:// with a host and a port"
    try:
        url = parse_url(address)
    except (LocationParseError, AttributeError, TypeError) as error:
        raise ValueError(f"{expected}; received {address!r}.") from error
    if url.scheme not in ("http", "https", "grpc", "grpcs") or not url.host:
        hint = f' Write "http://{address}".' if isinstance(address, str) and "://" not in address else ""
        raise ValueError(f"{expected}; received {address!r}.{hint}")
    if url.auth or url.query or url.fragment:
        raise ValueError(f"{expected}, and nothing that holds @, ? or #; received something else.")
    path = (url.path or "").rstrip("/")
    if path and url.scheme.startswith("grpc"):
        raise ValueError(f"{expected}; received {address!r}. gRPC has no paths.")
    if path.endswith("/v1") or "/v1/models" in path:
        raise ValueError(
            f'{expected}; received {address!r}. Leave out /v1 and what follows; model="…" names the model.'
        )
    return url
