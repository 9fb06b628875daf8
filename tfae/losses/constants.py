"""The best constant reconstruction under a loss, found in passes over the samples and in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfae.moments import Moments

if TYPE_CHECKING:
    from tfae.losses.reconstruction_loss import ReconstructionLoss

#: Batches ``(x, x)``, which can be iterated over again.
Batches = Iterable[tuple[Any, Any]]

#: Bytes of float32 samples up to which they are held in memory, and their median is exact.
MAX_BYTES = 2**28

#: Elements that are sorted at a time.
_BLOCK_SIZE = 2**20


def find_best_constant(loss: ReconstructionLoss, samples: Any, moments: Moments | None = None) -> np.ndarray:
    """Find the reconstruction that, given to all samples, has the least loss; see ``ReconstructionLoss``."""
    if not isinstance(samples, tf.data.Dataset):
        samples = [(samples, np.asarray(samples))]
    shape = next(x.shape[1:] for _, x in samples)
    if moments is None:
        moments = Moments(math.prod(shape), scatter=None)
        for rows in _rows(samples):
            moments.add(rows)
    if loss.known_constant == "mean":
        return moments.mean.reshape(shape)
    if loss.known_constant == "median":
        return find_median(samples, moments).reshape(shape)
    return _minimize(loss, samples, moments, shape)


def find_median(batches: Batches, moments: Moments, *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Find the median of each element.

    Exact while all samples fit into ``max_bytes`` as float32. More samples are not held: six passes over them divide
    the interval that holds the median by 16 each, which finds it to 2⁻²⁴ of the range of the element, the resolution
    of float32. Of an even number of samples this is the lower of the two in the middle; under absolute error, all
    between them are as good.

    Args:
        batches: Float ``(batch, ...)``.
        moments: Of all samples.
        max_bytes: Limit of the samples held.

    Returns:
        float64 ``(num_elements,)``.
    """
    num_elements = len(moments.mean)
    if moments.count * num_elements * 4 <= max_bytes:
        samples = np.empty((moments.count, num_elements), "float32")
        start = 0
        for rows in _rows(batches):
            samples[start : start + len(rows)] = rows
            start += len(rows)
        # Some columns at a time, since numpy's median copies what it sorts.
        step = max(1, _BLOCK_SIZE // moments.count)
        blocks = (samples[:, i : i + step].astype("float64") for i in range(0, num_elements, step))
        return np.concatenate([np.median(block, 0) for block in blocks])

    rank = math.ceil(moments.count / 2)  # How many samples are at or below the lower median.

    def is_below_median(points: np.ndarray) -> np.ndarray:
        num_below = np.zeros(points.shape, "int64")
        for rows in _rows(batches):
            for counts, point in zip(num_below, points, strict=True):
                counts += (rows <= point).sum(0)
        return num_below < rank

    return _narrow(moments.low, moments.high, is_below_median, num_brackets=16, num_passes=6)


def _minimize(loss: ReconstructionLoss, batches: Batches, moments: Moments, shape: tuple[int, ...]) -> np.ndarray:
    """Find where the derivative of the summed loss by the constant becomes positive, to 2⁻²⁰ of the element's range."""
    config = loss.on_reconstructions().get_config()
    readable = type(loss).from_config({**config, "dtype": "float64"})

    @tf.function(autograph=False, reduce_retracing=True)
    def find_slopes(x: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
        outputs = [tf.broadcast_to(point, tf.shape(x)) for point in tf.unstack(points)]
        return tf.stack([tf.reduce_sum(readable.gradients(x, one, tf.ones_like(x))[1], 0) for one in outputs])

    def is_falling(points: np.ndarray) -> np.ndarray:
        return sum(find_slopes(tf.cast(x, "float64"), points).numpy() for _, x in batches) < 0

    low, high = moments.low.reshape(shape), moments.high.reshape(shape)
    return _narrow(low, high, is_falling, num_brackets=4, num_passes=10)


def _narrow(
    low: np.ndarray,
    high: np.ndarray,
    is_below: Callable[[np.ndarray], np.ndarray],
    *,
    num_brackets: int,
    num_passes: int,
) -> np.ndarray:
    """Divide each element's interval by ``num_brackets`` in each pass; return the upper ends of the last intervals.

    ``is_below`` says of points ``(num_brackets - 1, ...)`` whether they are below what is searched.
    """
    for _ in range(num_passes):
        points = np.stack([low + (high - low) * i / num_brackets for i in range(1, num_brackets)])
        bracket = is_below(points).sum(0)
        bounds = np.stack([low, *points, high])
        low, high = (np.take_along_axis(bounds, bracket[None] + i, 0)[0] for i in (0, 1))
    return high


def _rows(batches: Batches) -> Iterator[np.ndarray]:
    """Yield the samples of each batch that has any as rows ``(n, num_elements)``."""
    for _, x in batches:
        if len(x):
            yield np.asarray(x).reshape(len(x), -1)
