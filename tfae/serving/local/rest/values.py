"""JSON values as the requests hold them, and how error messages quote them.

null, true, false, numbers, strings and arrays are None, bool, int or float, str and list; objects are `Members`.
A byte that is not UTF-8 stands in a str as a lone surrogate (``errors="surrogateescape"``), and so comes out again.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable
from typing import final

#: Where a quotation is cut, in bytes: requests are large, and their errors are shown to people.
QUOTATION_BYTES = 256

_ESCAPES = {code: f"\\u{code:04X}" for code in range(32)} | {
    ord(char): f"\\{letter}" for char, letter in zip('"\\\b\f\n\r\t', '"\\bfnrt', strict=True)
}
_REPR = re.compile(r"(?P<whole>\d+)(?:\.(?P<fraction>\d+))?(?:e(?P<exponent>[-+]\d+))?")


@final
class Members:
    """A JSON object: its members in order, those of equal names too.

    It is no sequence and no mapping, lest NumPy takes it for an axis.

    Args:
        pairs: Names and values.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, object]]) -> None:
        self.pairs = list(pairs)

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.pairs)

    def get(self, name: str, default: object = None) -> object:
        """The value of the first member of that name, ``default`` if there is none."""
        return next((value for key, value in self.pairs if key == name), default)

    @property
    def names(self) -> list[str]:
        """Of all members, in order."""
        return [name for name, _ in self.pairs]


class _CutError(Exception):
    """There is no more to write."""


def kind(value: object) -> str:
    """The type of a value, as error messages name it."""
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    if isinstance(value, (int, float)):
        return "Number"
    return {str: "String", list: "Array", Members: "Object"}[type(value)]


def string_text(value: str) -> str:
    """A string as JSON text; like RapidJSON's, it leaves all but quotes, backslashes and control characters as is.

    Example:
        >>> print(string_text('a "b"\\n\\x1f é'))
        "a \\"b\\"\\n\\u001F é"
    """
    return f'"{value.translate(_ESCAPES)}"'


def quoted(value: object) -> str:
    """A value as error messages quote it: objects over several lines, arrays in one, the whole cut if it is long.

    A number that is not finite ends the quotation, as RapidJSON's writer does not write it.

    Example:
        >>> print(quoted(Members([("a", [1, 2.0, 1e30]), ("b", True)])))
        {
            "a": [1, 2.0, 1e30],
            "b": true
        }
    """
    parts: list[str] = []
    with contextlib.suppress(_CutError):
        _write(value, 0, parts, [QUOTATION_BYTES])
    return "".join(parts).encode(errors="surrogateescape")[:QUOTATION_BYTES].decode(errors="surrogateescape")


def _write(value: object, level: int, parts: list[str], left: list[int]) -> None:
    """Append the text of a value; its depth is bounded, as every level takes some of what is ``left``."""

    def put(text: str) -> None:
        parts.append(text)
        left[0] -= len(text)
        if left[0] <= 0:
            raise _CutError

    if isinstance(value, Members):
        put("{")
        for index, (name, member) in enumerate(value.pairs):
            put(("," if index else "") + "\n" + "    " * (level + 1) + string_text(name[:QUOTATION_BYTES]) + ": ")
            _write(member, level + 1, parts, left)
        put(("\n" + "    " * level if value.pairs else "") + "}")
    elif isinstance(value, list):
        put("[")
        for index, element in enumerate(value):
            if index:
                put(", ")
            _write(element, level + 1, parts, left)
        put("]")
    elif isinstance(value, str):
        put(string_text(value[:QUOTATION_BYTES]))
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _CutError
        put(_float_text(value))
    else:
        put("null" if value is None else str(value).lower())


def _float_text(value: float) -> str:
    """A float64 as RapidJSON writes it: the shortest digits, without an exponent from 1e-6 to 1e21."""
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    match = _REPR.fullmatch(repr(abs(value)))
    if match is None:
        raise AssertionError(f"repr of a finite float: {value!r}")
    whole, fraction = match["whole"], match["fraction"] or ""
    digits = (whole + fraction).lstrip("0")
    if not digits.strip("0"):
        return f"{sign}0.0"
    # 0.digits · 10**point
    point = len(digits) - len(fraction) + int(match["exponent"] or 0)
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        text = digits.ljust(point, "0") + ".0"
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        text = digits[0] + (f".{digits[1:]}" if digits[1:] else "") + f"e{point - 1}"
    return sign + text
