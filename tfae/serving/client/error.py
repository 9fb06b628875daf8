"""The error that a client raises: what the server said, or that it said nothing."""

from __future__ import annotations

import re
from typing import final

from tfae.serving.status import HTTP_STATUS

#: Where in the graph it happened: TensorFlow's business, not that of who asked.
_NODE = re.compile(r"\s*\[\[(?:\{\{[^}]*\}\})+\]\]|\{\{function_node [^}]*\}\}\s*")
_ASSERTION = re.compile(r"assertion failed: \[(.*)\]", re.DOTALL)
#: The likely code of an answer with this status, where several have it.
_CODES = {
    **{status: code for code, status in HTTP_STATUS.items()},
    **{400: "INVALID_ARGUMENT", 413: "RESOURCE_EXHAUSTED", 500: "INTERNAL"},
}


@final
class ServingError(RuntimeError):
    """A request that a server refused or did not answer.

    Attributes:
        code: gRPC's name of what is the matter, such as ``"NOT_FOUND"``. Over REST it follows from the HTTP status, and
            ``"INVALID_ARGUMENT"`` stands for FAILED_PRECONDITION and OUT_OF_RANGE too. Where no server answered it is
            ``"UNAVAILABLE"``, ``"DEADLINE_EXCEEDED"`` after the timeout, and ``"INTERNAL"`` for an answer that can not
            be read or does not fit the model's metadata.
        message: The server's, without TensorFlow's account of where in the graph it arose.
        request: What was asked.
        may_be_retried: Whether the same request may well succeed later.
    """

    def __init__(self, code: str, message: str, request: str, may_be_retried: bool = False) -> None:
        super().__init__(code, message, request, may_be_retried)  # All of them, so that it can be pickled.
        self.code = code
        self.message = _clean(message) or "no message"
        self.request = request
        self.may_be_retried = may_be_retried

    def __str__(self) -> str:
        return f"{self.message} ({self.code}; asked: {self.request})"


def code_of(status: int) -> str:
    """The code that an HTTP status stands for."""
    return _CODES.get(status, "UNKNOWN")


def _clean(message: str) -> str:
    """What the model's author wrote, without the names of nodes and the brackets of a failed assertion."""
    message = _NODE.sub("", message)
    assertion = _ASSERTION.search(message)
    if assertion:
        message = assertion[1].replace("] [", " ")
    return message.strip()
