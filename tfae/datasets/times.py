"""Columns of times."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def to_times(column: pa.Array, name: str, first: int) -> tuple[np.ndarray, str]:
    """Return times, float64 ``(n,)``, NaN where there is none; and " s", or nothing for numbers without a unit."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts = pc.utf8_trim_whitespace(column)
        texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
        for dtype in (pa.timestamp("ns"), pa.timestamp("ns", "UTC"), pa.float64()):
            try:
                column = pc.cast(texts, dtype)
                break
            except pa.ArrowInvalid as error:
                reason = error
        else:
            shown = next(text for text in texts.to_pylist() if text is not None)
            raise ValueError(
                f"time: expected numbers, or dates and times such as 2026-01-31 12:30:00; received {shown!r} in "
                f"{name!r}, in the rows from {first} on: {reason}. Write them so."
            )
    if pa.types.is_temporal(column.type):
        nanoseconds = pc.cast(pc.cast(column, pa.timestamp("ns", getattr(column.type, "tz", None))), pa.int64())
        seconds = nanoseconds.fill_null(0).to_numpy(zero_copy_only=False) / 1e9
        return np.where(column.is_valid().to_numpy(zero_copy_only=False), seconds, np.nan), " s"
    return pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), ""
