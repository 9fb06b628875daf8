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
    """Find the least and the greatest value of every element.

    Args:
        samples: ``(n, *shape)``, numeric, at least one.

    Returns:
        ``(2, *shape)`` in the dtype of the samples: the least values, and the greatest.

    Example:
        >>> bounds(np.array([[1, 7], [2, 5]])).tolist()
        [[1, 5], [2, 7]]
    """
    first = samples[:1][0]
    low, high = first, first
    for block in blocks(samples):
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    return np.stack([low, high])


def moments(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Find mean and standard deviation of every column of a table, or of every channel of everything else.

    Args:
        samples: ``(n, ..., channels)``, numeric, at least one.

    Returns:
        Both float64 ``(channels,)``. The deviation of a channel that is constant may be a rounding error instead of 0.

    Example:
        >>> mean, deviation = moments(np.array([[1, 7], [3, 7]]))
        >>> mean.tolist(), deviation.tolist()
        ([2.0, 7.0], [1.0, 0.0])

    Reference:
        T. F. Chan, G. H. Golub, R. J. LeVeque, Updating formulae and a pairwise algorithm for computing sample
        variances, 1979: blocks are merged without the cancellation of a sum of squares.
    """
    channels = samples.shape[-1]
    mean, squares, count = np.zeros(channels), np.zeros(channels), 0
    for block in blocks(samples):
        values = block.reshape(-1, channels).astype("float64")
        own = values.mean(axis=0)
        difference = own - mean
        total = count + len(values)
        squares += ((values - own) ** 2).sum(axis=0) + difference**2 * (count * len(values) / total)
        mean += difference * (len(values) / total)
        count = total
    return mean, np.sqrt(squares / count)
