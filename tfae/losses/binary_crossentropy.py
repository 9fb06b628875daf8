"""Binary cross-entropy."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
import tensorflow as tf
from keras import ops

from tfae.losses.reconstruction_loss import ReconstructionLoss


@final
class BinaryCrossentropy(ReconstructionLoss):
    """Binary cross-entropy in nats, for data that is 0 or 1, or in [0, 1] and read as probabilities.

    per-sample loss = −Σⱼ [xⱼ log x̂ⱼ + (1 − xⱼ) log(1 − x̂ⱼ)], the negative log-likelihood of independent Bernoulli
    variables. The best constant is the mean. On data strictly between 0 and 1 the loss never reaches 0: its
    :meth:`floor` is the entropy of ``x``, 0.5 nats per element for uniform data.

    Prefer ``from_logits=True``, as ``tfae.losses.get("bce")`` does: a sigmoid in float32 rounds to exactly 1 above a
    logit of 17, and from there no loss on probabilities can send a gradient back. Unlike Keras's loss of the same name,
    this one ignores which layer made ``y_pred``: the argument alone decides how it is read. Probabilities are clipped
    at the smallest normal number, not at 1e-7, so that the gradient through a sigmoid is that of the logits form
    wherever the sigmoid still resolves it, and 87 nats is the largest loss of an element.

    Args:
        from_logits: Whether the model emits logits z, with x̂ = sigmoid(z), instead of probabilities.
        **options: As in :class:`ReconstructionLoss`.

    Example:
        >>> loss = BinaryCrossentropy(from_logits=True)
        >>> round(float(loss([[0.0, 1.0]], [[0.0, 0.0]])), 4)  # 2 log 2
        1.3863
        >>> round(float(loss.floor([[0.5, 1.0]])[0]), 4)  # log 2: x = 0.5 is uncertain, x = 1 is not
        0.6931
    """

    short_name = "bce"
    title = "binary cross-entropy"
    domain = (0.0, 1.0)
    unit = "nats"
    asymptotes = (0.0, 1.0)
    lower_bound = 0.0
    known_constant = "mean"
    bounding_activation = "sigmoid"
    config_by_name: ClassVar[dict[str, Any]] = {"from_logits": True}
    advice = "where values are read as probabilities; compare its excess over the floor, for it never reaches 0"

    def __init__(self, *, from_logits: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.from_logits = from_logits

    def elementwise(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Return −[x log x̂ + (1 − x) log(1 − x̂)]."""
        # The second term waits for the first one, or a graph would hold the arrays of both at once.
        if self.from_logits:
            # Of the stable forms this one keeps its digits for confident logits, where softplus(z) − z·x cancels.
            value = ops.relu(output) - output * x
            with tf.control_dependencies([value]):
                return value + ops.log1p(ops.exp(-ops.abs(output)))
        tiny = np.finfo(self._compute_dtype).tiny
        value = (x - 1) * ops.log(ops.maximum(1 - output, tiny))
        with tf.control_dependencies([value]):
            return value - x * ops.log(ops.maximum(output, tiny))

    def gradients(self, x: tf.Tensor, output: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return log((1 − x̂) / x̂) and (x̂ − x) / (x̂ (1 − x̂)), of logits −z and x̂ − x, times ``upstream``."""
        if self.from_logits:  # Automatic differentiation of the form above is wrong at z = 0.
            return -upstream * output, upstream * (ops.sigmoid(output) - x)
        tiny = np.finfo(self._compute_dtype).tiny
        q = ops.maximum(1 - output, tiny)
        # One quotient, not (1 − x)/q − x/p: that takes an array more, and cancels where p is near x.
        by_output = (output - x) / ops.maximum(output * q, tiny)
        return upstream * (ops.log(q) - ops.log(ops.maximum(output, tiny))), upstream * by_output

    def inverse_link(self, output: tf.Tensor) -> tf.Tensor:
        """Return the sigmoid."""
        return ops.sigmoid(output)
