"""Absolute error."""

from __future__ import annotations

from typing import final

import tensorflow as tf
from keras import ops

from tfae.losses.reconstruction_loss import ReconstructionLoss


@final
class AbsoluteError(ReconstructionLoss):
    """Absolute error, for real-valued data with outliers.

    per-sample loss = ``Σⱼ |xⱼ − x̂ⱼ|``. Up to a constant this is the negative log-likelihood of a Laplace distribution
    of scale 1. The best constant is the median, which outliers move less than the mean. The gradient is the sign of the
    error, and 0 where the error is 0.

    Example:
        >>> loss = AbsoluteError()
        >>> float(loss([[0.0, 1.0], [1.0, 1.0]], [[0.5, 0.5], [1.0, 3.0]]))  # (1.0 + 2.0) / 2
        1.5
    """

    short_name = "mae"
    known_constant = "median"
    advice = "where outliers are to weigh less; it aims at the median, and so loses what is rare"

    def elementwise(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Return ``|x − x̂|``."""
        return ops.abs(output - x)

    def gradients(self, x: tf.Tensor, output: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return −sign(x̂ − x) and sign(x̂ − x), times ``upstream``."""
        by_output = upstream * ops.sign(output - x)
        return -by_output, by_output
