"""Numbers taken to another dtype, unless that changes them; in NumPy alone, for the client as well."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def cast_exactly(values: np.ndarray, dtype: npt.DTypeLike, *, name: str = "inputs") -> np.ndarray:
    """Take numbers to another dtype, if that changes none of them.

    Floats may be rounded to floats of another width, integers may not: 16777217 is no float32. Whole numbers may be
    stored in any dtype, as a .csv file stores them as float64; but fractions given to a model of integers have most
    likely been scaled already. No copy is made where the values have the dtype. Errors call them ``name``.

    Raises:
        ValueError: A value would be another one: a fraction, NaN or 256 as uint8, 1e39 or 16777217 as float32.

    Example:
        >>> cast_exactly(np.array([0.0, 255.0]), "uint8")
        array([  0, 255], dtype=uint8)
    """
    dtype = np.dtype(dtype)
    if values.dtype == dtype:
        return values
    expected = f"{name}: expected values that {dtype} can hold; received {values.dtype}"
    if values.dtype.kind not in ("biufc" if dtype.kind == "c" else "biuf"):
        raise ValueError(f"{expected}.")
    cast, changed = cast_and_compare(values, dtype)
    if changed.any():
        remedy = "Samples go in as they were before scaling, which is part of the model."
        if values.dtype.kind in "iu" and dtype.kind not in "iub":
            remedy = f'{dtype} does not hold that integer: round it yourself if that does no harm, x.astype("{dtype}").'
        raise ValueError(f"{expected} with a value of {values[changed][0]}. {remedy}")
    return cast


def cast_and_compare(values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in another dtype, and where that makes them others: bool of the same shape.

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


def to_nearest(values: npt.ArrayLike, dtype: np.dtype) -> np.ndarray:
    """Take numbers to the nearest ones that another dtype has.

    Example:
        >>> to_nearest([-1, 2.5, 300], np.dtype("uint8"))
        array([  0,   2, 255], dtype=uint8)
    """
    if dtype.kind == "b":
        return np.greater(values, 0.5)
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        return np.clip(values, limits.min, limits.max).astype(dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    if float(high) > high:  # float64 has no 2⁶³ − 1.
        high = np.nextafter(float(high), 0)
    return np.clip(np.rint(values), low, high).astype(dtype)
