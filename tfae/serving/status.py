"""What client and server both name: the model of a request, the state of a version, and the code of a response.

Imports neither TensorFlow nor gRPC, which the REST client does without.
"""

from __future__ import annotations

import dataclasses

#: HTTP status of each code in TensorFlow Serving's REST interface. The position of a code is its number in gRPC.
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


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """The model of a request: its ``version`` if given, else the version of ``label`` if given, else the newest."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The state of one version of a model on a server.

    Attributes:
        state: ``"START"``, ``"LOADING"``, ``"AVAILABLE"``, ``"UNLOADING"`` or ``"END"``.
        error_code: ``"OK"``, or the code of the error that ended it.
        error_message: The message of that error.
    """

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


class StatusError(Exception):
    """A request that a server rejects or can not answer, with one of ``CODES``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
