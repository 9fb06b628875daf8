"""How samples spread: their bounds, means and deviations, taken block by block in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

# Large enough that Python costs little, and small beside the data; sums of a block are exact to float64's last digits.
BLOCK_BYTES = 2**20


class Samples(Protocol):
    """Samples ``(n, *shape)`` in memory or on disk: a slice of them is an array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, *shape)``."""

    @property
    def dtype(self) -> np.dtype:
        """Of the samples."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...


def rows_per_block(samples: Samples) -> int:
    """Return how many samples a block of about 1 MB holds."""
    return max(1, BLOCK_BYTES // (math.prod(samples.shape[1:]) * samples.dtype.itemsize))


def blocks(samples: Samples) -> Iterator[np.ndarray]:
    """Yield samples in stored order, in arrays of about 1 MB: the same ones wherever the samples are.

    Example:
        >>> [len(block) for block in blocks(np.zeros((5, 2**18), "uint16"))]
        [2, 2, 1]
    """
    size = rows_per_block(samples)
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def bounds(samples: Samples) -> np.ndarray:
    """Find the least and the greatest value of every element of at least one sample: ``(2, *shape)``, dtype as it is.

    NaN counts for nothing; an element that is nothing else has NaN.

    Example:
        >>> bounds(np.array([[1, 7], [2, 5]])).tolist()
        [[1, 5], [2, 7]]
    """
    first = samples[:1][0]
    low, high = first, first
    for block in blocks(samples):
        low, high = np.fmin(low, np.fmin.reduce(block)), np.fmax(high, np.fmax.reduce(block))
    return np.stack([low, high])


class Moments:
    """Number, mean, extremes and scatter of rows that come batch by batch, accumulated in float64.

    NaN counts for nothing, so that each column has a number of its own, unless the scatter is full.

    Batches are merged by the update of Chan, Golub and LeVeque (1979), which subtracts each batch's own mean first:
    E[z²] − E[z]² would lose all digits where the mean is large against the deviation.

    Args:
        width: Length of a row.
        scatter: ``"full"`` to keep Σ (z − mean)(z − mean)ᵀ, ``(width, width)``; ``"diagonal"`` for its diagonal alone;
            None for neither.
    """

    def __init__(self, width: int, *, scatter: str | None) -> None:
        self.count = 0
        self.counts = np.zeros(width)
        self.mean = np.zeros(width)
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self.scatter = None if scatter is None else np.zeros((width, width) if scatter == "full" else width)

    def add(self, rows: np.ndarray) -> None:
        """Take in more rows, ``(n, width)``, n ≥ 1."""
        self.low, self.high = np.fmin(self.low, np.fmin.reduce(rows)), np.fmax(self.high, np.fmax.reduce(rows))
        with np.errstate(
            invalid="ignore", over="ignore", divide="ignore"
        ):  # What is not finite is seen in the results.
            mean = rows.mean(0, dtype="float64")
            counts: Any = float(len(rows))
            if has_gaps := bool(np.isnan(mean).any()):
                counts = (~np.isnan(rows)).sum(0)
                mean = np.where(counts, np.nansum(rows, 0, dtype="float64") / counts, self.mean)
            totals = self.counts + counts
            step = mean - self.mean
            if self.scatter is not None:
                centred, weight = rows - mean, self.counts * counts / np.maximum(totals, 1)
                if has_gaps:
                    centred = np.nan_to_num(centred)
                if self.scatter.ndim == 2:
                    self.scatter += centred.T @ centred + np.outer(step, step * weight)
                else:
                    self.scatter += (centred**2).sum(0) + step**2 * weight
            self.mean = self.mean + step * (counts / np.maximum(totals, 1))
        self.count, self.counts = self.count + len(rows), totals

    def of_columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of every column; the scatter has to be diagonal."""
        assert self.scatter is not None
        return self.mean, np.sqrt(self.scatter / np.maximum(self.counts, 1))


def moments(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Find mean and standard deviation of every column of a table, or of every channel of everything else.

    Returns:
        Both float64 ``(channels,)``. The deviation of a channel that is constant may be a rounding error instead of 0.

    Example:
        >>> mean, deviation = moments(np.array([[1, 7], [3, 7]]))
        >>> mean.tolist(), deviation.tolist()
        ([2.0, 7.0], [1.0, 0.0])
    """
    channels = samples.shape[-1]
    found = Moments(channels, scatter="diagonal")
    for block in blocks(samples):
        found.add(block.reshape(-1, channels).astype("float64"))
    return found.of_columns()
