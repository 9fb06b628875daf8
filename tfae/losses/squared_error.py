"""Squared error."""

from __future__ import annotations

from typing import final

import tensorflow as tf

from tfae.losses.reconstruction_loss import ReconstructionLoss


@final
class SquaredError(ReconstructionLoss):
    """Squared error, for real-valued data.

    per-sample loss = Σⱼ (xⱼ − x̂ⱼ)²; no ½. Up to a constant this is the negative log-likelihood of a Gaussian of
    variance ½. The best constant is the mean. Large errors count most, so that the model averages over what it can not
    tell apart: edges are blurred and high frequencies are lost.

    Example:
        >>> loss = SquaredError()
        >>> float(loss([[0.0, 1.0], [1.0, 1.0]], [[0.5, 0.5], [1.0, 3.0]]))  # (0.5 + 4.0) / 2
        2.25
    """

    short_name = "mse"
    known_constant = "mean"
    pca_is_optimal = True
    advice = "where single large errors matter most; of probabilities it is the Brier score"

    def elementwise(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Return (x − x̂)²."""
        return tf.math.squared_difference(output, x)

    def gradients(self, x: tf.Tensor, output: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return −2 (x̂ − x) and 2 (x̂ − x), times ``upstream``."""
        by_output = 2 * upstream * (output - x)
        return -by_output, by_output
