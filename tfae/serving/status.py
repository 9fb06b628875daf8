"""What client and server say about a model: which one, its signatures, the state of its versions, and what went wrong.

Imports neither TensorFlow nor gRPC, which the REST client does without.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, final

from tfae.tensor_spec import Signature, read_signatures

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


@final
@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a server says about one version of a model; ``print`` shows it as a page."""

    model: str
    version: int
    signatures: dict[str, Signature]

    def signature(self, name: str) -> Signature:
        """The signature of that name; ValueError if the model has none."""
        if name not in self.signatures:
            raise ValueError(
                f"signature: expected one of {', '.join(sorted(self.signatures))}, which version {self.version} of "
                f"{self.model} has; received {name!r}."
            )
        return self.signatures[name]

    def __str__(self) -> str:
        lines = [f"{self.model}, version {self.version}"]
        for name, signature in sorted(self.signatures.items()):
            lines += ["", name, *signature.as_text()]
        return "\n".join(lines)


class StatusError(Exception):
    """A request that a server rejects or can not answer, with one of ``CODES``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def read_metadata(document: Mapping[str, Any]) -> Metadata:
    """The metadata in a server's JSON, or in the JSON form of its gRPC answer; some error if there are none."""
    spec = document["model_spec"]
    signatures = read_signatures(document["metadata"]["signature_def"].get("signature_def", {}))
    return Metadata(str(spec["name"]), int(spec["version"]), signatures)


def read_status(document: Mapping[str, Any]) -> list[VersionStatus]:
    """The versions in the same, newest first."""
    versions = []
    for entry in document["model_version_status"]:
        status = entry.get("status", {})
        code, message = status.get("error_code", "OK"), status.get("error_message", "")
        versions.append(
            VersionStatus(int(entry["version"]), str(entry.get("state", "UNKNOWN")), str(code), str(message))
        )
    return sorted(versions, key=lambda entry: -entry.version)
