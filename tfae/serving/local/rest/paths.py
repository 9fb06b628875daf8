"""Which request a method and a path mean, or TensorFlow Serving's word on why none."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from tfae.serving.status import StatusError

#: What is asked by POST and GET. The fixed parts match in any case, like there.
_POST = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
    r":(?P<question>classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_GET = re.compile(
    r"/v1/models(?:/(?P<name>[^/:]+))?(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
    r"(?:/(?P<question>metadata))?",
    re.IGNORECASE | re.ASCII,
)
_API = re.compile(r"/v1/.*", re.IGNORECASE | re.ASCII)
#: The parts of a request target that libevent accepts, RFC 3986 to the letter; scheme and host are not looked at.
_CHARACTER = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/{more}]|%[0-9A-Fa-f]{{2}})*"
_TARGET = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*:(?=//))?(?://[^/?#]*)?"
    rf"(?P<path>{_CHARACTER.format(more='')}(?:\?{_CHARACTER.format(more='?')})?(?:#{_CHARACTER.format(more='?')})?)",
    re.ASCII,
)
_MOST_VERSION = 2**63 - 1


@dataclass(frozen=True)
class Route:
    """What is asked of which model.

    Attributes:
        question: ``"predict"``, ``"classify"``, ``"regress"``, ``"status"`` or ``"metadata"``.
        name: Of the model.
        version: If the path has one.
        label: If the path has one.
    """

    question: str
    name: str
    version: int | None = None
    label: str | None = None


class VersionTooLargeError(StatusError):
    """A version number that does not fit into 64 bits; the server answers it with nothing but the status."""


def path_of(target: str) -> str | None:
    """Path and query of a request target, still encoded; None if it is not to be read.

    Example:
        >>> path_of("http://localhost:8501/v1/models/a%20b?c=1"), path_of("/v1/models/<a>")
        ('/v1/models/a%20b?c=1', None)
    """
    match = _TARGET.fullmatch(target)
    return None if match is None else match["path"]


def is_api(path: str) -> bool:
    """Whether a path is one of the REST interface at all; all others are not found."""
    return _API.fullmatch(path) is not None


def route(method: str, path: str) -> Route:
    """What is asked.

    Args:
        method: Such as ``"POST"``.
        path: With the query, still encoded.

    Raises:
        StatusError: INVALID_ARGUMENT.

    Example:
        >>> route("POST", "/v1/models/digits/labels/st%61ble:predict")
        Route(question='predict', name='digits', version=None, label='stable')
    """
    match = {"POST": _POST, "GET": _GET}[method].fullmatch(path) if method in ("POST", "GET") else None
    if match is None:
        raise _malformed(method, path)
    name, version, label, question = match["name"], match["version"], match["label"], match["question"]
    if version is not None and (len(version.lstrip("0")) > 19 or int(version) > _MOST_VERSION):
        raise VersionTooLargeError("INVALID_ARGUMENT", f"Failed to convert version: {version} to numeric.")
    if method == "POST" and not question.islower():
        raise _malformed(method, path)
    if name is None:
        raise StatusError("INVALID_ARGUMENT", "Missing model name in request.")
    if method == "GET" and question != "metadata":
        question = "status"
    return Route(
        question,
        _decoded(name),
        None if version is None else int(version),
        None if label is None else _decoded(label),
    )


def _decoded(part: str) -> str:
    return urllib.parse.unquote(part, errors="surrogateescape")


def _malformed(method: str, path: str) -> StatusError:
    return StatusError("INVALID_ARGUMENT", f"Malformed request: {method} {path}")
