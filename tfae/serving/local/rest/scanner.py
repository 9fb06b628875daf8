"""JSON text read byte by byte, as RapidJSON 1.1.0 does: its errors, its offsets, and any bytes in strings.

Slow, and needed only where the fast parser gives up: see ``document``.
"""

from __future__ import annotations

import re

import rapidjson

from tfae.serving.local.rest.values import Members
from tfae.serving.status import StatusError

#: No request that means anything is nested deeper, and memory for lists within lists runs out first.
MAX_DEPTH = 10_000

_WHITE_SPACE = re.compile(rb"[ \n\r\t]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_WHOLE = re.compile(rb"0|[1-9][0-9]*")
_DIGITS = re.compile(rb"[0-9]*")
_HEX = re.compile(rb"[0-9A-Fa-f]{4}")
_ESCAPED = dict(zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True))
_WORDS = {b"n": (b"null", None), b"t": (b"true", True), b"f": (b"false", False)}
#: More digits than that, and a number may be too big for a float64.
_SAFE_DIGITS = 300


def parse_error(message: str, offset: int) -> StatusError:
    """What a client is told about text that is not JSON; ``offset`` in bytes."""
    return StatusError("INVALID_ARGUMENT", f"JSON Parse error: {message} at offset: {offset}")


def scan(text: bytes, start: int = 0) -> object:
    """The first JSON value in ``text``; what follows it is not looked at.

    Args:
        text: A zero byte ends it.
        start: Where to begin.

    Raises:
        StatusError: INVALID_ARGUMENT with RapidJSON's message.
    """
    scanner = _Scanner(text)
    position = scanner.after_white_space(start)
    if scanner.at(position) in (b"", b"\0"):
        raise parse_error("The document is empty.", position)
    return scanner.value(position)


class _Scanner:
    """The text, and what may stand at a position of it; methods return what they read and where it ended."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def at(self, position: int) -> bytes:
        return self._text[position : position + 1]

    def after_white_space(self, position: int) -> int:
        return self._match(_WHITE_SPACE, position)

    def value(self, position: int) -> object:
        """The value at ``position``; containers are kept on a stack, not on Python's."""
        # Containers that are open; for an object the name of the member that is being read.
        stack: list[tuple[list, str | None]] = []
        while True:
            opening = self.at(position)
            if opening in (b"[", b"{"):
                if len(stack) == MAX_DEPTH:
                    raise parse_error(f"Nested deeper than {MAX_DEPTH} levels.", position)
                position = self.after_white_space(position + 1)
                if self.at(position) != (b"]" if opening == b"[" else b"}"):
                    name = None
                    if opening == b"{":
                        name, position = self._name(position)
                    stack.append(([], name))
                    continue
                value: object = [] if opening == b"[" else Members(())
                position += 1
            else:
                value, position = self._scalar(opening, position)
            # Put it where it belongs, and close what ends here.
            while stack:
                container, name = stack.pop()
                container.append(value if name is None else (name, value))
                position = self.after_white_space(position)
                following = self.at(position)
                if following == b",":
                    position = self.after_white_space(position + 1)
                    if name is not None:
                        name, position = self._name(position)
                    stack.append((container, name))
                    break
                if name is None and following != b"]":
                    raise parse_error("Missing a comma or ']' after an array element.", position)
                if name is not None and following != b"}":
                    raise parse_error("Missing a comma or '}' after an object member.", position)
                position += 1
                value = container if name is None else Members(container)
            else:
                return value

    def _name(self, position: int) -> tuple[str, int]:
        """The name of a member, and where its value begins."""
        if self.at(position) != b'"':
            raise parse_error("Missing a name for object member.", position)
        name, position = self._string(position)
        position = self.after_white_space(position)
        if self.at(position) != b":":
            raise parse_error("Missing a colon after a name of object member.", position)
        return name, self.after_white_space(position + 1)

    def _scalar(self, opening: bytes, position: int) -> tuple[object, int]:
        if opening == b'"':
            return self._string(position)
        if opening in _WORDS:
            word, value = _WORDS[opening]
            return value, self._word(word, position)
        return self._number(position)

    def _word(self, word: bytes, position: int) -> int:
        """Where ``word``, which has begun at ``position``, ends."""
        for index in range(len(word)):
            if self.at(position + index) != word[index : index + 1]:
                raise parse_error("Invalid value.", position + index)
        return position + len(word)

    def _string(self, position: int) -> tuple[str, int]:
        """The string whose opening quote is at ``position``."""
        parts = bytearray()
        position += 1
        while True:
            end = self._match(_PLAIN, position)
            parts += self._text[position:end]
            closing, position = self.at(end), end
            if closing == b'"':
                return parts.decode(errors="surrogateescape"), position + 1
            if closing in (b"", b"\0"):
                raise parse_error("Missing a closing quotation mark in string.", position)
            escaped = self.at(position + 1)
            if closing == b"\\" and escaped == b"u":
                code, position = self._code_point(position)
                parts += chr(code).encode(errors="surrogatepass")
            elif closing == b"\\" and escaped and escaped[0] in _ESCAPED:
                parts.append(_ESCAPED[escaped[0]])
                position += 2
            else:  # Or a control character.
                raise parse_error("Invalid escape character in string.", position)

    def _code_point(self, position: int) -> tuple[int, int]:
        r"""The character that one ``\uXXXX`` stands for, or two of them; the second of a pair may stand alone."""
        code = self._hex(position, position)
        if not 0xD800 <= code <= 0xDBFF:
            return code, position + 6
        if self._text[position + 6 : position + 8] == b"\\u":
            second = self._hex(position + 6, position)
            if 0xDC00 <= second <= 0xDFFF:
                return 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00), position + 12
        raise parse_error("The surrogate pair in string is invalid.", position)

    def _hex(self, position: int, escape: int) -> int:
        digits = self._text[position + 2 : position + 6]
        if not _HEX.fullmatch(digits):
            raise parse_error("Incorrect hex digit after \\u escape in string.", escape)
        return int(digits, 16)

    def _number(self, start: int) -> tuple[int | float, int]:
        negative = self.at(start) == b"-"
        position = start + negative
        if self.at(position) == b"N":
            return float("nan"), self._word(b"NaN", position)
        if self.at(position) == b"I":
            end = self._word(b"Inf", position)
            if self.at(end) == b"i":
                end = self._word(b"Infinity", position)
            return float("-inf" if negative else "inf"), end
        end = self._match(_WHOLE, position)
        if end == position:
            raise parse_error("Invalid value.", position)
        if end - position > _SAFE_DIGITS:
            self._convert(start, end)
        if self.at(end) == b".":
            end = self._digits(end + 1, "Miss fraction part in number.")
        if self.at(end) in (b"e", b"E"):
            end += 1 + (self.at(end + 1) in (b"+", b"-"))
            end = self._digits(end, "Miss exponent in number.")
        return self._convert(start, end), end

    def _digits(self, position: int, message: str) -> int:
        end = self._match(_DIGITS, position)
        if end == position:
            raise parse_error(message, position)
        return end

    def _convert(self, start: int, end: int) -> int | float:
        """The number that stands there: of RapidJSON itself, which rounds in a way of its own."""
        try:
            return rapidjson.loads(self._text[start:end], number_mode=rapidjson.NM_NATIVE)
        except rapidjson.JSONDecodeError:
            raise parse_error("Number too big to be stored in double.", start) from None

    def _match(self, pattern: re.Pattern[bytes], position: int) -> int:
        """Where a match that begins at ``position`` ends; there itself if there is none."""
        match = pattern.match(self._text, position)
        return position if match is None else match.end()
