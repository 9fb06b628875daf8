"""TensorFlow Serving over REST."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import TypeVar, final
from urllib.parse import quote

import numpy as np
import urllib3
from urllib3.exceptions import EmptyPoolError, HTTPError, NewConnectionError, ProtocolError, SSLError, TimeoutError

from tfae.serving.client.connections import ending_at, open_pool
from tfae.serving.client.description import Metadata, Signature, VersionStatus, read_metadata, read_status
from tfae.serving.client.error import ServingError, code_of
from tfae.serving.client.json_bodies import read_answer, read_json, row_bytes, write_request
from tfae.serving.client.retries import Deadline
from tfae.serving.client.transport import Target, Transport

T = TypeVar("T")

#: Characters of an answer that is not understood which an error shows.
_SHOWN = 200
#: What urllib3 puts in front of what happened to a connection.
_CONNECTION = re.compile(r"^\w*Connection\(.*?\): ")


@final
class RestTransport(Transport):
    """A pool of connections that are kept open between requests; who needs one more waits.

    The address may end in what a proxy puts before ``/v1``.
    """

    max_bytes = 4 * 2**20

    def __init__(self, address: str, *, connections: int, token: str | None, ca_file: str | None) -> None:
        url = urllib3.util.parse_url(address)
        self._address = address
        self._prefix = url.path or ""
        headers = {"Content-Type": "application/json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._pool = open_pool(address, connections=connections, headers=headers, ca_file=ca_file)

    def metadata(self, target: Target, deadline: Deadline) -> Metadata:
        """As `Transport` says."""
        return self._read(f"{_path(target)}/metadata", deadline, lambda body: read_metadata(read_json(body)))

    def status(self, target: Target, deadline: Deadline) -> list[VersionStatus]:
        """As `Transport` says."""
        path = _path(Target(target.model, target.version))
        return self._read(path, deadline, lambda body: read_status(read_json(body)))

    def predict(
        self, target: Target, signature: Signature, inputs: Mapping[str, np.ndarray], deadline: Deadline
    ) -> tuple[dict[str, np.ndarray], int | None]:
        """As `Transport` says."""
        body, what = write_request(signature, inputs), f", signature {signature.name}"
        path = f"{_path(target)}:predict"
        return self._read(path, deadline, lambda answer: read_answer(answer, signature), body, what), None

    def row_bytes(self, array: np.ndarray) -> np.ndarray:
        """As `Transport` says."""
        return row_bytes(array)

    def close(self) -> None:
        """As `Transport` says."""
        self._pool.close()

    def _read(
        self, path: str, deadline: Deadline, read: Callable[[bytes], T], body: bytes | None = None, what: str = ""
    ) -> T:
        """What ``read`` makes of the body of a good answer."""
        method = "GET" if body is None else "POST"
        request = f"{method} {self._address}{path}{what}"
        status, answer = self._exchange(method, path, body, request, deadline)
        if status != 200:
            message = _error_message(answer) or f"HTTP status {status}"
            raise ServingError(code_of(status), message, request, may_be_retried=status in (429, 503))
        try:
            return read(answer)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            shown = answer[:_SHOWN].decode("utf-8", "replace")
            message = f"expected an answer of TensorFlow Serving; received {shown!r} ({error})"
            raise ServingError("INTERNAL", message, request) from error

    def _exchange(
        self, method: str, path: str, body: bytes | None, request: str, deadline: Deadline
    ) -> tuple[int, bytes]:
        """Status and body of whatever answer comes before the deadline."""
        # The pool wants a time to wait that is not negative; none is left when threads have waited for a connection.
        left = max(deadline.remaining(), 1e-3)
        late = ServingError("DEADLINE_EXCEEDED", f"no answer within {deadline.seconds:g} s", request)
        try:
            with ending_at(deadline):
                response = self._pool.urlopen(
                    method,
                    self._prefix + path,
                    body=body,
                    redirect=False,
                    timeout=urllib3.Timeout(total=left),
                    pool_timeout=left,  # type: ignore[arg-type] # It is annotated as an integer and goes to Queue.get.
                    preload_content=False,
                )
                with contextlib.closing(response):
                    answer = response.read()
                    response.release_conn()
                    return response.status, answer
        except NewConnectionError as error:  # A kind of timeout to urllib3; so it comes first.
            raise ServingError("UNAVAILABLE", f"no connection: {_reason(error)}", request, True) from error
        except (TimeoutError, EmptyPoolError) as error:
            raise late from error
        except SSLError as error:
            raise ServingError("UNAVAILABLE", f"no trusted connection: {_reason(error)}", request) from error
        except ProtocolError as error:
            if deadline.remaining() <= 0:  # A request that is not sent in time is a broken connection to urllib3.
                raise late from error
            raise ServingError("UNAVAILABLE", f"the connection broke: {_reason(error)}", request, True) from error
        except HTTPError as error:
            raise ServingError("INTERNAL", f"no HTTP answer: {_reason(error)}", request) from error


def _path(target: Target) -> str:
    path = f"/v1/models/{quote(target.model, safe='')}"
    if target.version is not None:
        return f"{path}/versions/{target.version}"
    if target.label is not None:
        return f"{path}/labels/{quote(target.label, safe='')}"
    return path


def _error_message(answer: bytes) -> str:
    """The server's own message, or the text that came in its place; empty if there is none."""
    try:
        message = read_json(answer)["error"]
    except (ValueError, LookupError, TypeError):
        return answer[:_SHOWN].decode("utf-8", "replace").strip()
    # Bytes that are not UTF-8 came in as lone surrogates, which can not be printed.
    return str(message).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _reason(error: HTTPError) -> str:
    """What urllib3 says, without the connection that it puts in front."""
    text = str(error.args[-1]) if error.args else type(error).__name__
    return _CONNECTION.sub("", text)
