"""TensorFlow Serving over REST."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar, final
from urllib.parse import quote

import numpy as np
import urllib3
from urllib3.exceptions import EmptyPoolError, HTTPError, NewConnectionError, ProtocolError, SSLError, TimeoutError

from tfae.serving.client import json_bodies
from tfae.serving.client.error import Deadline, ServingError, to_code
from tfae.serving.client.json_bodies import read_json, read_response, write_request
from tfae.serving.status import Metadata, ModelSpec, VersionStatus, read_metadata, read_status
from tfae.tensor_spec import Signature

T = TypeVar("T")

#: Characters of an unreadable response that an error quotes.
_MAX_QUOTED = 200
#: What urllib3, older or newer, puts in front of the reason of a failed connection.
_CONNECTION = re.compile(r"^(\w*Connection\(.*?\)|<\S+ object at \w+>): ")


@final
class RestTransport:
    """A pool of connections that stay open between requests; a request waits while all of them are in use."""

    #: Most bytes of a request with more than one row.
    max_bytes = 4 * 2**20
    estimate_row_bytes = staticmethod(json_bodies.estimate_row_bytes)

    def __init__(self, address: str, *, connections: int, token: str | None, ca_file: str | None) -> None:
        self._address = address
        self._prefix = urllib3.util.parse_url(address).path or ""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        tls = {"cert_reqs": "CERT_REQUIRED", "ca_certs": ca_file} if address.startswith("https") else {}
        self._pool = urllib3.connection_from_url(
            address, maxsize=connections, block=True, retries=False, headers=headers, **tls
        )

    def metadata(self, spec: ModelSpec, deadline: Deadline) -> Metadata:
        """Ask for the signatures of a version."""
        return self._ask(f"{_build_path(spec)}/metadata", deadline, lambda body: read_metadata(read_json(body)))

    def status(self, spec: ModelSpec, deadline: Deadline) -> list[VersionStatus]:
        """Ask for the states of the versions, newest first; a label is ignored."""
        path = _build_path(ModelSpec(spec.name, spec.version))
        return self._ask(path, deadline, lambda body: read_status(read_json(body)))

    def predict(
        self, spec: ModelSpec, signature: Signature, inputs: Mapping[str, np.ndarray], deadline: Deadline
    ) -> tuple[dict[str, np.ndarray], None]:
        """Ask for outputs by name; REST does not tell the version that gave them."""
        body, what = write_request(signature, inputs), f", signature {signature.name}"
        path = f"{_build_path(spec)}:predict"
        return self._ask(path, deadline, lambda response: read_response(response, signature), body, what), None

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _ask(
        self, path: str, deadline: Deadline, read: Callable[[bytes], T], body: bytes | None = None, what: str = ""
    ) -> T:
        """Return what ``read`` makes of the body of a response with status 200."""
        method = "GET" if body is None else "POST"
        request = f"{method} {self._address}{path}{what}"
        status, response = self._exchange(method, path, body, request, deadline)
        if status != 200:
            message = _read_error(response) or f"HTTP status {status}"
            raise ServingError(to_code(status), message, request, may_be_retried=status in (429, 503))
        try:
            return read(response)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            quoted = response[:_MAX_QUOTED].decode("utf-8", "replace")
            message = f"expected an answer of TensorFlow Serving; received {quoted!r} ({error})"
            raise ServingError("INTERNAL", message, request) from error

    def _exchange(
        self, method: str, path: str, body: bytes | None, request: str, deadline: Deadline
    ) -> tuple[int, bytes]:
        # The pool takes no negative timeout, and threads may have waited for a connection beyond the deadline.
        left = max(deadline.remaining(), 1e-3)
        try:
            response = self._pool.urlopen(
                method,
                self._prefix + path,
                body=body,
                redirect=False,
                timeout=urllib3.Timeout(total=left),
                pool_timeout=left,  # type: ignore[arg-type] # It is annotated as an integer and goes to Queue.get.
                preload_content=False,
            )
            with contextlib.closing(response), _cut_off(response, deadline):
                return response.status, response.read()
        except HTTPError as error:
            reason = _CONNECTION.sub("", str(error.args[-1]) if error.args else type(error).__name__)
            if isinstance(error, NewConnectionError):  # A subclass of TimeoutError, so it comes first.
                raise ServingError("UNAVAILABLE", f"no connection: {reason}", request, True) from error
            # urllib3 raises other errors, too, for a request that is not sent, or an answer not read, in time.
            if isinstance(error, (TimeoutError, EmptyPoolError)) or deadline.remaining() <= 0:
                message = f"no answer within {deadline.seconds:g} s"
                raise ServingError("DEADLINE_EXCEEDED", message, request) from error
            if isinstance(error, SSLError):
                raise ServingError("UNAVAILABLE", f"no trusted connection: {reason}", request) from error
            if isinstance(error, ProtocolError):
                raise ServingError("UNAVAILABLE", f"the connection broke: {reason}", request, True) from error
            raise ServingError("INTERNAL", f"no HTTP answer: {reason}", request) from error


@contextlib.contextmanager
def _cut_off(response: urllib3.BaseHTTPResponse, deadline: Deadline) -> Iterator[None]:
    """End the reading of a response at the deadline; the timeout of its socket starts anew with every byte."""

    def end() -> None:
        with contextlib.suppress(RuntimeError, ValueError):  # It has just been read to its end.
            response.shutdown()

    timer = threading.Timer(max(deadline.remaining(), 0), end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _build_path(spec: ModelSpec) -> str:
    path = f"/v1/models/{quote(spec.name, safe='')}"
    if spec.version is not None:
        return f"{path}/versions/{spec.version}"
    return path if spec.label is None else f"{path}/labels/{quote(spec.label, safe='')}"


def _read_error(response: bytes) -> str:
    """Return the message of an error response, or its text if it is not JSON."""
    try:
        message = read_json(response)["error"]
    except (ValueError, LookupError, TypeError):
        return response[:_MAX_QUOTED].decode("utf-8", "replace").strip()
    # Bytes that are not UTF-8 arrive as lone surrogates, which can not be printed.
    return str(message).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
