"""A large input, cut into requests."""

from __future__ import annotations

import numpy as np


def cut(row_bytes: np.ndarray, max_rows: int, max_bytes: int) -> list[slice]:
    """Slice rows in order, at most ``max_rows`` and ``max_bytes`` each; a larger row is a slice of its own.

    ``row_bytes``, int ``(num_rows,)``, is what each row takes in a request.

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
