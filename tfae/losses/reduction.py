"""Reductions: from the losses of elements to those of samples, and from these to the loss of a batch."""

from __future__ import annotations

import math

import keras
import tensorflow as tf
from keras import ops


class BatchReduction(keras.losses.Loss):
    """Keras's reduction of per-sample losses to the loss of the batch; ``y_true`` is ignored."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the per-sample losses ``y_pred``."""
        return y_pred


def sum_per_sample(values: tf.Tensor) -> tf.Tensor:
    """Sum ``values`` over the elements of each sample; returns ``(batch,)``.

    XLA adds the elements of a sample one after the other, each addition waiting for the one before, which is slow and
    loses digits, and it merges a sum of sums back into one. Here lanes are added side by side first, and the divisor of
    their mean, a power of 2 that rounds nothing, keeps the two sums apart.
    """
    elements = values.shape[1:].num_elements()
    if not elements:  # There are none, or their number is known only when the graph runs.
        return ops.sum(values, axis=tuple(range(1, len(values.shape))))
    lanes = math.gcd(elements, 8)
    mean = ops.mean(ops.reshape(values, (-1, lanes, elements // lanes)), axis=1)
    return lanes * ops.sum(mean, axis=1)
