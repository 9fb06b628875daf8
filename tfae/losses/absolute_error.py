"""Absolute error."""

from __future__ import annotations

from typing import Any, final

import keras
import tensorflow as tf
from keras import ops

from tfae.losses.reconstruction_loss import Derivative, ReconstructionLoss
from tfae.losses.total import Total


@final
@keras.saving.register_keras_serializable(package="tfae")
class AbsoluteError(ReconstructionLoss):
    """Absolute error, for real-valued data with outliers.

    per-sample loss = Σⱼ |xⱼ − x̂ⱼ|. Up to a constant this is the negative log-likelihood of a Laplace distribution
    of scale 1, and its best constant is the median, which outliers move less than the mean. The gradient is
    the sign of the error, and 0 where the error is 0.

    Args:
        sample_reduction: ``"sum"`` over the elements of a sample, or ``"mean"``.
        reduction: How the samples of a batch become one number; as in :class:`keras.losses.Loss`.
        name: Name of the loss.
        dtype: Dtype of the computation; float16 and bfloat16 are widened to float32.

    Example:
        >>> loss = AbsoluteError()
        >>> float(loss([[0.0, 1.0], [1.0, 1.0]], [[0.5, 0.5], [1.0, 3.0]]))  # (1.0 + 2.0) / 2
        1.5
    """

    def _value_and_derivative(self, x: tf.Tensor, output: tf.Tensor, total: Total) -> tuple[tf.Tensor, Derivative]:
        def derivative(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            by_output = upstream * ops.sign(output - x)
            return -by_output, by_output

        return total(ops.abs(output - x)), derivative

    def best_constant(self, x: Any) -> tf.Tensor:
        """The median over the samples; see :meth:`ReconstructionLoss.best_constant`."""
        return ops.median(ops.convert_to_tensor(x, self._compute_dtype), axis=0)
