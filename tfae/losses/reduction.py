"""Reductions: from the losses of elements to those of samples, and from these to the loss of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfae.losses import shapes


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


def reduce_elements(
    loss: Any, x: tf.Tensor, output: tf.Tensor, reduction: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Return elementwise losses, or their sums ``(batch,)``, with the ``gradients`` of the loss as derivative."""

    @ops.custom_gradient
    def differentiable(x: tf.Tensor, output: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        values = loss.elementwise(x, output)
        shape = getattr(values, "shape", ())  # None, of a function without return, has none.
        shapes.validate_same_shape(shape, x.shape, f"{type(loss).__name__}.elementwise", "y_true")

        def differentiate(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # Or a graph might start on the derivative while the terms of the loss still take memory.
            with tf.control_dependencies([upstream]):
                return loss.gradients(x, output, shapes.expand_to_rank(upstream, len(x.shape)))

        return reduction(values), differentiate

    return differentiable(x, output)
