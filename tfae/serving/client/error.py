"""The error that a client raises."""

from __future__ import annotations

from typing import final

from tfae.graph_messages import clean
from tfae.serving.status import HTTP_STATUS

#: The likely code of an answer with this status, where several have it.
_CODES = {
    **{status: code for code, status in HTTP_STATUS.items()},
    **{400: "INVALID_ARGUMENT", 413: "RESOURCE_EXHAUSTED", 500: "INTERNAL"},
}


@final
class ServingError(RuntimeError):
    """A request that a server rejected or did not answer.

    Attributes:
        code: Name of a gRPC status code, such as ``"NOT_FOUND"``. Over REST it follows from the HTTP status, and
            ``"INVALID_ARGUMENT"`` stands for FAILED_PRECONDITION and OUT_OF_RANGE too. It is ``"UNAVAILABLE"`` without
            a connection, ``"DEADLINE_EXCEEDED"`` after the timeout, and ``"INTERNAL"`` for a response that can not be
            read or does not fit the model's metadata.
        message: The server's message, without the names of graph nodes.
        request: What was asked.
        may_be_retried: Whether the same request may succeed later.
    """

    def __init__(self, code: str, message: str, request: str, may_be_retried: bool = False) -> None:
        super().__init__(code, message, request, may_be_retried)  # All arguments, for pickle.
        self.code = code
        self.message = clean(message) or "no message"
        self.request = request
        self.may_be_retried = may_be_retried

    def __str__(self) -> str:
        return f"{self.message} ({self.code}; asked: {self.request})"


def to_code(status: int) -> str:
    """The code that an HTTP status stands for."""
    return _CODES.get(status, "UNKNOWN")
