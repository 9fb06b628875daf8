"""The best constant reconstruction under a loss, found in passes over the samples and in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfae.moments import Moments

#: Bytes of float32 samples up to which they are held in memory, and their median is exact.
MAX_BYTES = 2**28

#: Elements that are sorted at a time.
_BLOCK_SIZE = 2**20


def find_best_constant(loss: Any, samples: Any, moments: Moments | None = None) -> np.ndarray:
    """Find the reconstruction that, given to all samples, has the least loss; see ``ReconstructionLoss``."""
    shape = next(x.shape[1:] for x in _batches(samples))
    moments = moments or moments_of(samples)
    if loss.known_constant == "mean":
        return moments.mean.reshape(shape)
    if loss.known_constant == "median" and moments.count * len(moments.mean) * 4 <= MAX_BYTES:
        return _find_median(samples, moments).reshape(shape)
    return _minimize(loss, samples, moments, shape)


def _find_median(batches: Any, moments: Moments) -> np.ndarray:
    """Find the median of each element of samples that fit into memory."""
    samples = np.empty((moments.count, len(moments.mean)), "float32")
    start = 0
    for rows in rows_of(batches):
        samples[start : start + len(rows)] = rows
        start += len(rows)
    # Some columns at a time, since numpy's median copies what it sorts.
    step = max(1, _BLOCK_SIZE // moments.count)
    blocks = (samples[:, i : i + step].astype("float64") for i in range(0, samples.shape[1], step))
    return np.concatenate([np.median(block, 0) for block in blocks])


def _minimize(loss: Any, batches: Any, moments: Moments, shape: tuple[int, ...]) -> np.ndarray:
    """Find where the derivative of the summed loss by the constant stops being negative.

    Six passes divide the interval of each element by 16 each, which finds the place to 2⁻²⁴ of the element's range, the
    resolution of float32. Of an even number of samples absolute error gets the lower of the two in the middle; all
    between them are as good.
    """
    readable = loss.on_reconstructions().replace(dtype="float64")

    @tf.function(autograph=False, reduce_retracing=True)
    def find_slopes(x: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
        outputs = [tf.broadcast_to(point, tf.shape(x)) for point in tf.unstack(points)]
        return tf.stack([tf.reduce_sum(readable.gradients(x, one, tf.ones_like(x))[1], 0) for one in outputs])

    low, high = moments.low.reshape(shape), moments.high.reshape(shape)
    for _ in range(6):
        bounds = np.stack([low + (high - low) * i / 16 for i in range(17)])
        slopes = sum(find_slopes(tf.cast(x, "float64"), bounds[1:-1]).numpy() for x in _batches(batches))
        bracket = (slopes < 0).sum(0)[None]
        low, high = (np.take_along_axis(bounds, bracket + i, 0)[0] for i in (0, 1))
    return high


def moments_of(samples: Any) -> Moments:
    """Find the moments of the elements of samples, without their scatter."""
    found: Moments | None = None
    for rows in rows_of(samples):
        found = found or Moments(rows.shape[1], scatter=None)
        found.add(rows)
    assert found is not None
    return found


def rows_of(samples: Any) -> Iterator[np.ndarray]:
    """Yield the samples of each batch that has any as rows ``(n, num_elements)``."""
    for x in _batches(samples):
        if len(x):
            yield np.asarray(x).reshape(len(x), -1)


def _batches(samples: Any) -> Iterator[Any]:
    """Yield the samples of a data set of batches ``(x, x)``, or all of an array."""
    yield from (x for _, x in samples) if isinstance(samples, tf.data.Dataset) else [np.asarray(samples)]
