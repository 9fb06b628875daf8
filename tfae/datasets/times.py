"""Columns of times."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: What texts can be, in this order.
_TYPES = (pa.timestamp("ns"), pa.timestamp("ns", "UTC"), pa.float64())


def to_times(column: pa.Array, name: str) -> tuple[np.ndarray, str, dict[int, str]]:
    """Return times, float64 ``(n,)``, NaN where there is none; their unit, " s" or ""; and by row what is none."""
    wrong: dict[int, str] = {}
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts = [text.strip() or None for text in pc.fill_null(column, "").to_pylist()]
        first = itertools.islice(filter(None, texts), 100)
        dtype = next((dtype for text in first for dtype in _TYPES if _is(text, dtype)), _TYPES[0])
        try:
            column = pc.cast(pa.array(texts, pa.string()), dtype)
        except pa.ArrowInvalid:
            wrong = {row: repr(text) for row, text in enumerate(texts) if text is not None and not _is(text, dtype)}
            rest = [None if row in wrong else text for row, text in enumerate(texts)]
            column = pc.cast(pa.array(rest, pa.string()), dtype)
    unit = ""
    if pa.types.is_temporal(column.type):
        nanoseconds = pc.cast(pc.cast(column, pa.timestamp("ns", getattr(column.type, "tz", None))), pa.int64())
        times, unit = nanoseconds.fill_null(0).to_numpy(zero_copy_only=False) / 1e9, " s"
        times = np.where(column.is_valid().to_numpy(zero_copy_only=False), times, np.nan)
    else:
        times = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    missing = {row: wrong.get(row, "none") for row in np.flatnonzero(np.isnan(times)).tolist()}
    return times, unit, {row: f"{text} in column {name!r}, where a time is expected" for row, text in missing.items()}


def _is(text: str, dtype: pa.DataType) -> bool:
    try:
        pc.cast(pa.array([text], pa.string()), dtype)
    except pa.ArrowInvalid:
        return False
    return True
