"""Numbers taken to another dtype, and which of them that changes; in NumPy alone, for the client as well."""

from __future__ import annotations

import numpy as np


def cast_and_compare(values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in another dtype, and where they have become another one.

    Floats may be rounded to narrower floats, integers may not: 16777217 is no float32.

    Returns:
        The values in that dtype, and bool of the same shape: True for a fraction, NaN or 256 as uint8, for 1e39 or
        16777217 as float32.

    Example:
        >>> cast_and_compare(np.array([255, 256]), np.dtype("uint8"))
        (array([255,   0], dtype=uint8), array([False,  True]))
    """
    with np.errstate(over="ignore", invalid="ignore"):  # Both are found below.
        cast = values.astype(dtype)
        if not (dtype.kind in "fc" or dtype.name == "bfloat16"):
            return cast, cast != values
        if values.dtype.kind in "iu":
            return cast, _is_rounded(values, cast.real)
        return cast, np.isfinite(values) & ~np.isfinite(cast)


def _is_rounded(integers: np.ndarray, floats: np.ndarray) -> np.ndarray:
    """Where floats that were made of integers are not those integers."""
    if floats.dtype.itemsize > integers.dtype.itemsize:
        return np.zeros(integers.shape, dtype=bool)  # A float holds every integer of half its width.
    # Not `floats != integers`, before which NumPy would round the integers.
    wide = floats.astype("float64")
    has_no_integer = ~np.isfinite(wide) | (wide >= float(np.iinfo(integers.dtype).max + 1))
    return has_no_integer | (wide.astype(integers.dtype) != integers)
