"""Squared error."""

from __future__ import annotations

from typing import final

import keras
import tensorflow as tf

from tfae.losses.reconstruction_loss import Derivative, ReconstructionLoss
from tfae.losses.total import Total


@final
@keras.saving.register_keras_serializable(package="tfae")
class SquaredError(ReconstructionLoss):
    """Squared error, for real-valued data.

    per-sample loss = Σⱼ (xⱼ − x̂ⱼ)²; no ½. Up to a constant this is the negative log-likelihood of a Gaussian of
    variance ½, and its best constant is the mean. It punishes large errors most, so it averages over what
    it can not tell apart: blurred edges, lost high frequencies.

    Args:
        sample_reduction: ``"sum"`` over the elements of a sample, or ``"mean"``.
        reduction: How the samples of a batch become one number; as in :class:`keras.losses.Loss`.
        name: Name of the loss.
        dtype: Dtype of the computation; float16 and bfloat16 are widened to float32.

    Example:
        >>> loss = SquaredError()
        >>> float(loss([[0.0, 1.0], [1.0, 1.0]], [[0.5, 0.5], [1.0, 3.0]]))  # (0.5 + 4.0) / 2
        2.25
    """

    def _value_and_derivative(self, x: tf.Tensor, output: tf.Tensor, total: Total) -> tuple[tf.Tensor, Derivative]:
        def derivative(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            by_output = 2 * upstream * (output - x)
            return -by_output, by_output

        return total(tf.math.squared_difference(output, x)), derivative
