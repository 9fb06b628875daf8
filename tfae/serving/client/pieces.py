"""How a large input is cut into requests."""

from __future__ import annotations

import numpy as np


def cut(row_bytes: np.ndarray, max_rows: int, max_bytes: int) -> list[slice]:
    """Slices of rows, in order, each of at most so many rows and bytes; a row that is larger alone stands alone.

    Args:
        row_bytes: int ``(num_rows,)``, what each row takes in a request; at least one row.
        max_rows: Of a slice.
        max_bytes: Of a slice.

    Example:
        >>> cut(np.array([4, 4, 4, 9, 1]), max_rows=2, max_bytes=8)
        [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None), slice(4, 5, None)]
    """
    ends = np.cumsum(row_bytes, dtype=np.int64)
    slices = []
    start = 0
    while start < len(ends):
        before = ends[start - 1] if start else 0
        stop = int(np.searchsorted(ends, before + max_bytes, side="right"))
        stop = max(start + 1, min(stop, start + max_rows))
        slices.append(slice(start, stop))
        start = stop
    return slices
