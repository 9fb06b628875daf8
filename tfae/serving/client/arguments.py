"""Arguments of the client, checked."""

from __future__ import annotations

import math
import numbers
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
    if number < least or isinstance(value, bool):  # To Python True is 1; to whoever writes it, it is a switch.
        raise ValueError(f"{name}: expected an integer of at least {least}; received {value!r}.")
    return number


def checked_seconds(name: str, value: object) -> float:
    """``value``, if it is a positive number.

    Raises:
        ValueError: If it is none.
    """
    seconds = math.nan if isinstance(value, bool) or not isinstance(value, numbers.Real) else float(value)
    if not 0 < seconds < math.inf:
        raise ValueError(f"{name}: expected a positive number of seconds; received {value!r}.")
    return seconds
