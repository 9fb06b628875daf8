"""Mean and covariance of rows that come batch by batch."""

from __future__ import annotations

import numpy as np


class Moments:
    """Number, mean, extremes and scatter of rows, accumulated in float64.

    Batches are merged by the update of Chan, Golub and LeVeque (1983), which subtracts each batch's own mean first:
    E[z²] − E[z]² would lose all digits where the mean is large against the deviation.

    Args:
        width: Length of a row.
        with_scatter: Whether to keep Σ (z − mean)(z − mean)ᵀ, ``(width, width)``; otherwise ``scatter`` is None.
    """

    def __init__(self, width: int, *, with_scatter: bool) -> None:
        self.count = 0
        self.mean = np.zeros(width)
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self.scatter = np.zeros((width, width)) if with_scatter else None

    def add(self, rows: np.ndarray) -> None:
        """Take in more rows, ``(n, width)``, n ≥ 1."""
        self.low, self.high = np.minimum(self.low, rows.min(0)), np.maximum(self.high, rows.max(0))
        total = self.count + len(rows)
        with np.errstate(invalid="ignore"):  # What is not finite is seen in the mean.
            mean = rows.mean(0, dtype="float64")
            step = mean - self.mean
            if self.scatter is not None:
                centred = rows - mean
                self.scatter += centred.T @ centred
                self.scatter += np.outer(step, step * (self.count * len(rows) / total))
            self.mean = self.mean + step * (len(rows) / total)
        self.count = total
