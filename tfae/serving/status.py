"""The status of an answer: gRPC's code names, what HTTP makes of them, and the error that carries one.

Neither TensorFlow nor gRPC is imported here: the REST client needs these names too.
"""

from __future__ import annotations

#: What TensorFlow Serving's REST interface answers for each code; the place of each is its number, in gRPC as in
#: TensorFlow.
HTTP_STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}

#: The names of the codes.
CODES = tuple(HTTP_STATUS)


class StatusError(Exception):
    """A request that a server refuses, or cannot answer.

    Args:
        code: One of `CODES`, such as ``"INVALID_ARGUMENT"``.
        message: What the client is told, word for word.

    Example:
        >>> error = StatusError("NOT_FOUND", "Servable not found for request: Latest(digits)")
        >>> error.http_status, str(error)
        (404, 'NOT_FOUND: Servable not found for request: Latest(digits)')
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        """The status of the REST answer."""
        return HTTP_STATUS[self.code]
