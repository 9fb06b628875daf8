"""The body of a request as JSON values, read as RapidJSON 1.1.0 reads it in TensorFlow Serving."""

from __future__ import annotations

import re

import numpy as np
import rapidjson

from tfae.serving.local.rest.scanner import parse_error, scan
from tfae.serving.local.rest.values import Members, quoted
from tfae.serving.status import StatusError

#: Numbers become what they become in C++, with its rounding; NaN and Inf are numbers.
_NUMBERS = rapidjson.NM_NAN | rapidjson.NM_NATIVE
#: Deeper text is left to `scan`: the fast parser calls itself for each level, and would overflow the stack.
_FAST_DEPTH = 500
_ERROR = re.compile(r"Parse error at offset (?P<offset>\d+): (?P<message>.*)", re.DOTALL)
_TRAILING = "The document root must not be followed by other values."
#: Where the RapidJSON in the fast parser, which is a newer one, refuses or words things differently.
_NEWER = ("Invalid encoding in string.", "The surrogate pair in string is invalid.", "Terminate parsing")
_STEPS = np.zeros(256, np.int8)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1


class _Decoder(rapidjson.Decoder):
    """Keeps the members of objects in order, all of them."""

    def start_object(self) -> list:
        return []

    def end_object(self, pairs: list) -> Members:
        return Members(pairs)


_DECODER = _Decoder(number_mode=_NUMBERS)


def parse(body: bytes) -> Members:
    """The JSON object that a body begins with; what follows it is not looked at.

    A byte order mark is skipped; a zero byte ends the text.

    Raises:
        StatusError: INVALID_ARGUMENT with RapidJSON's message and the offset in bytes, or if it is no object.

    Example:
        >>> parse(b'{"instances": [1]} and more').get("instances")
        [1]
    """
    document = _parse(body)
    if not isinstance(document, Members):
        raise StatusError("INVALID_ARGUMENT", f"JSON Value: {quoted(document)} Is not object")
    return document


def _parse(body: bytes) -> object:
    """The JSON value that a body begins with."""
    if not body:
        raise StatusError("INVALID_ARGUMENT", "JSON Parse error: The document is empty")
    start = 0
    for mark in (b"\xef", b"\xbb", b"\xbf"):  # RapidJSON takes each of them by itself.
        start += body[start : start + 1] == mark
    if _deeper_than(_FAST_DEPTH, body):
        return scan(body, start)
    text = body[start:] if start else body
    try:
        return _DECODER(text)
    except rapidjson.JSONDecodeError as error:
        match = _ERROR.fullmatch(str(error))
        if match is None or match["message"].startswith(_NEWER):
            return scan(body, start)
        offset = int(match["offset"])
        if match["message"] == _TRAILING:
            return _DECODER(text[:offset])
        raise parse_error(match["message"], start + offset) from None
    except UnicodeDecodeError:
        return scan(body, start)


def _deeper_than(levels: int, text: bytes) -> bool:
    """Whether lists and objects are nested deeper than that; exact up to the first error in the text."""
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    # Every other piece between quotes is a string; those that are escaped end none. No regular expression does this in
    # bounded memory.
    unescaped = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    steps = _STEPS[np.frombuffer(b"".join(unescaped.split(b'"')[::2]), np.uint8)]
    depths = np.cumsum(steps[steps != 0], dtype=np.int32)
    return bool(depths.size) and int(depths.max()) > levels
