"""Arguments of the client, checked."""

from __future__ import annotations

import math
import operator


def checked_integer(name: str, value: int, least: int) -> int:
    """``value``, if it is an integer of at least ``least``.

    Raises:
        ValueError: If it is none.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name}: expected an integer of at least {least}; received {value!r}.")
    return number


def checked_seconds(name: str, value: float) -> float:
    """``value``, if it is a positive number.

    Raises:
        ValueError: If it is none.
    """
    if not (isinstance(value, (int, float)) and 0 < value < math.inf):
        raise ValueError(f"{name}: expected a positive number of seconds; received {value!r}.")
    return float(value)
