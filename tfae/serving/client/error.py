"""How a call fails: the error that a client raises, and the retries and the deadline before that."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar, final

from tfae.graph_messages import clean
from tfae.serving.status import HTTP_STATUS

T = TypeVar("T")

#: Seconds before the first retry, on average; the pause doubles with each retry, up to the longest.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
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


@final
class Deadline:
    """The instant at which a call ends, ``seconds`` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds that are left; negative after the deadline."""
        return self._end - time.monotonic()


def ask_with_retries(ask: Callable[[], T], deadline: Deadline, retries: int) -> T:
    """Return what ``ask`` returns, or its last error; ``retries`` calls more at most, none after the deadline."""
    earlier: ServingError | None = None
    mean_pause = FIRST_PAUSE
    while True:
        try:
            return ask()
        except ServingError as error:
            if earlier is not None and error.code == "DEADLINE_EXCEEDED":
                error.message += f"; before that: {earlier.message}"
            # The random factor keeps clients that failed together from coming back together.
            pause = mean_pause * random.uniform(0.5, 1.5)
            if not error.may_be_retried or not retries or pause >= deadline.remaining():
                raise
            time.sleep(pause)
            earlier, retries, mean_pause = error, retries - 1, min(2 * mean_pause, LONGEST_PAUSE)
