"""The median of each element over the samples of a data set of any size."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from tfae.moments import Moments

#: Bytes of float32 samples up to which they are held in memory, and their median is exact.
MAX_BYTES = 2**28

#: Elements that are sorted at a time.
_BLOCK_SIZE = 2**20

#: Brackets per pass, and passes: 16⁶ = 2²⁴ is the resolution of float32's significand.
_NUM_BRACKETS, _NUM_PASSES = 16, 6


def median(dataset: tf.data.Dataset, moments: Moments, *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The median of each element.

    Exact while all samples fit into ``max_bytes`` as float32. More samples are not held: six passes over them divide
    the interval that holds the median by 16 each, which finds it to 2⁻²⁴ of the range of the element. Of an even
    number of samples this is the lower of the two in the middle; under absolute error, all between them are as good.

    Args:
        dataset: Batches ``(x, x)``, float ``(batch, ...)``.
        moments: Of all its samples.
        max_bytes: Limit of the samples held.

    Returns:
        float64 ``(num_elements,)``.
    """
    num_elements = len(moments.mean)
    if moments.count * num_elements * 4 <= max_bytes:
        samples = np.empty((moments.count, num_elements), "float32")
        start = 0
        for _, x in dataset:
            samples[start : start + len(x)] = x.numpy().reshape(-1, num_elements)
            start += len(x)
        # Some columns at a time, since numpy's median copies what it sorts.
        step = max(1, _BLOCK_SIZE // moments.count)
        blocks = (samples[:, i : i + step].astype("float64") for i in range(0, num_elements, step))
        return np.concatenate([np.median(block, 0) for block in blocks])

    low, high = moments.low, moments.high
    rank = math.ceil(moments.count / 2)  # How many samples are at or below the lower median.
    for _ in range(_NUM_PASSES):
        edges = [low + (high - low) * i / _NUM_BRACKETS for i in range(1, _NUM_BRACKETS)]
        num_below = np.zeros((len(edges), num_elements), "int64")
        for _, x in dataset:
            rows = x.numpy().reshape(-1, num_elements)
            for counts, edge in zip(num_below, edges, strict=True):
                counts += (rows <= edge).sum(0)
        # The median is at or below the first edge that has as many samples below it.
        bracket = (num_below < rank).sum(0)
        bounds = np.stack([low, *edges, high])
        low, high = (np.take_along_axis(bounds, bracket[None] + i, 0)[0] for i in (0, 1))
    return high
