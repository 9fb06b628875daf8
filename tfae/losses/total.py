"""What becomes of the elementwise terms of a loss: they stay as they are, or are added up per sample."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf
from keras import ops

#: Linear, so that a loss may hand over its terms one by one.
Total = Callable[[tf.Tensor], tf.Tensor]


def each_element(values: tf.Tensor) -> tf.Tensor:
    """``values`` as they are."""
    return values


def sum_per_sample(values: tf.Tensor) -> tf.Tensor:
    """Sum of ``values`` over the elements of each sample, ``(batch,)``.

    XLA adds the elements of a sample one after the other, each addition waiting for the one before, which is slow and
    loses digits, and it merges a sum of sums back into one. So lanes are added side by side first, and the divisor of
    their mean, a power of 2 that rounds nothing, keeps the two sums apart.
    """
    elements = values.shape[1:].num_elements()
    if not elements:  # None of them, or a number that is known only when the graph runs.
        return ops.sum(values, axis=tuple(range(1, len(values.shape))))
    lanes = math.gcd(elements, 8)
    mean = ops.mean(ops.reshape(values, (-1, lanes, elements // lanes)), axis=1)
    return lanes * ops.sum(mean, axis=1)
