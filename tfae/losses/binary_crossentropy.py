"""Binary cross-entropy."""

from __future__ import annotations

from typing import Any, final

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfae.losses.reconstruction_loss import Derivative, ReconstructionLoss
from tfae.losses.total import Total, sum_per_sample


@final
@keras.saving.register_keras_serializable(package="tfae")
class BinaryCrossentropy(ReconstructionLoss):
    """Binary cross-entropy in nats, for data that is 0 or 1, or in [0, 1] and read as probabilities.

    per-sample loss = −Σⱼ [xⱼ log x̂ⱼ + (1 − xⱼ) log(1 − x̂ⱼ)], the negative log-likelihood of independent Bernoulli
    variables. Its best constant is the mean. On data strictly between 0 and 1 it never reaches 0: its
    :meth:`floor` is the entropy of ``x``, 0.5 nats per element for uniform data.

    Prefer ``from_logits=True``: a sigmoid in float32 rounds to exactly 1 above a logit of 17, and from there
    no loss on probabilities can send a gradient back. Unlike Keras's loss of the same name, this one never
    looks at the layer that made ``y_pred``: the argument alone decides how it is read. Probabilities are
    clipped at the smallest normal number, not at 1e-7, so that the gradient through a sigmoid is that of the
    logits form wherever the sigmoid still resolves it, and 87 nats is the largest loss of an element.

    Args:
        from_logits: Whether the model emits logits z, with x̂ = sigmoid(z), instead of probabilities.
        sample_reduction: ``"sum"`` over the elements of a sample, or ``"mean"``.
        reduction: How the samples of a batch become one number; as in :class:`keras.losses.Loss`.
        name: Name of the loss.
        dtype: Dtype of the computation; float16 and bfloat16 are widened to float32.

    Example:
        >>> loss = BinaryCrossentropy(from_logits=True)
        >>> round(float(loss([[0.0, 1.0]], [[0.0, 0.0]])), 4)  # 2 log 2
        1.3863
        >>> round(float(loss.floor([[0.5, 1.0]])[0]), 4)  # log 2: x = 0.5 is uncertain, x = 1 is not
        0.6931
    """

    domain = (0.0, 1.0)
    unit = "nats"
    is_crossentropy = True

    def __init__(
        self,
        *,
        from_logits: bool = False,
        sample_reduction: str = "sum",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sample_reduction=sample_reduction, reduction=reduction, name=name, dtype=dtype)
        self.from_logits = from_logits

    def output_activation(self, output_range: tuple[float, float] | None = None) -> str:
        """Activation of the last layer: ``"linear"`` for logits, ``"sigmoid"`` for probabilities."""
        return "linear" if self.from_logits else "sigmoid"

    def _value_and_derivative(self, x: tf.Tensor, output: tf.Tensor, total: Total) -> tuple[tf.Tensor, Derivative]:
        return self._on_logits(x, output, total) if self.from_logits else self._on_probabilities(x, output, total)

    def _on_logits(self, x: tf.Tensor, logits: tf.Tensor, total: Total) -> tuple[tf.Tensor, Derivative]:
        # Of the stable forms this one keeps its digits for confident logits, where softplus(z) − z·x cancels.
        # Automatic differentiation gets it wrong at z = 0; the derivative below does not.
        value = ops.relu(logits) - logits * x
        with tf.control_dependencies([value]):  # By then there is one array less.
            value += ops.log1p(ops.exp(-ops.abs(logits)))
        return total(value), lambda upstream: (-upstream * logits, upstream * (ops.sigmoid(logits) - x))

    def _on_probabilities(self, x: tf.Tensor, p: tf.Tensor, total: Total) -> tuple[tf.Tensor, Derivative]:
        tiny = np.finfo(self._compute_dtype).tiny
        q = ops.maximum(1 - p, tiny)

        def derivative(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # One quotient, not (1 − x)/q − x/p: that takes an array more, and cancels where p is near x.
            by_output = (p - x) / ops.maximum(p * q, tiny)
            return upstream * (ops.log(q) - ops.log(ops.maximum(p, tiny))), upstream * by_output

        # One array after the other, and but one of them kept for the derivative: an operation overwrites an operand
        # that nothing else needs. The order is for graphs, which would start on all of them at once.
        value = total(tf.math.xlogy(x, ops.maximum(p, tiny)))
        with tf.control_dependencies([value]):
            value += total(tf.math.xlogy(1 - x, q))
        return -value, derivative

    def _floor(self, x: tf.Tensor) -> tf.Tensor:
        value, _ = self._on_probabilities(x, x, sum_per_sample)
        return value

    def reconstruction(self, output: Any) -> tf.Tensor:
        """Probabilities x̂ in [0, 1]: ``output`` itself, or its sigmoid if it is logits."""
        output = super().reconstruction(output)
        return ops.sigmoid(output) if self.from_logits else output

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal loss."""
        return {**super().get_config(), "from_logits": self.from_logits}
