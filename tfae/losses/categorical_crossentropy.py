"""Categorical cross-entropy."""

from __future__ import annotations

from typing import Any, ClassVar, final

import numpy as np
import tensorflow as tf
from keras import ops

from tfae.losses.reconstruction_loss import ReconstructionLoss

#: How far sums may be from 1: rounding of many probabilities, and of float16.
_SUM_TOLERANCE = 1e-3


@final
class CategoricalCrossentropy(ReconstructionLoss):
    """Categorical cross-entropy in nats over the last axis, for one-hot data and for probabilities of categories.

    per-sample loss = −Σⱼ xⱼ log softmax(z)ⱼ, the softmax along the last axis: the negative log-likelihood of one
    category for each place of the axes before it, ``(batch, time, categories)`` for instance. The best constant is the
    mean. The floor is 0 for one-hot data, and the entropy of soft labels.

    Args:
        from_logits: Whether the model emits logits z instead of probabilities.
        **options: As in :class:`ReconstructionLoss`.

    Example:
        >>> loss = CategoricalCrossentropy(from_logits=True)
        >>> round(float(loss([[0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]])), 4)  # log 3
        1.0986
    """

    short_name = "cce"
    title = "categorical cross-entropy"
    domain = (0.0, 1.0)
    unit = "nats"
    asymptotes = (0.0, 1.0)
    lower_bound = 0.0
    known_constant = "mean"
    bounding_activation = "softmax"
    config_by_name: ClassVar[dict[str, Any]] = {"from_logits": True}
    advice = "where exactly one value along the last axis is 1"

    def __init__(self, *, from_logits: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.from_logits = from_logits

    def elementwise(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Return −x log softmax(z)."""
        return -x * self._log_probabilities(output)

    def gradients(self, x: tf.Tensor, output: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return −u log p and, with v = u x, pₖ Σⱼ vⱼ − vₖ or by probabilities Σⱼ vⱼ / Σⱼ pⱼ − vₖ / pₖ; u: upstream."""
        weighted = upstream * x
        total = ops.sum(weighted, axis=-1, keepdims=True)
        if self.from_logits:
            by_output = ops.softmax(output) * total - weighted
        else:
            by_output = total / self._positive(ops.sum(output, axis=-1, keepdims=True)) - weighted / self._positive(
                output
            )
        return -upstream * self._log_probabilities(output), by_output

    def inverse_link(self, output: tf.Tensor) -> tf.Tensor:
        """Return the softmax along the last axis."""
        return ops.softmax(output)

    def explain_undefined(self, x: np.ndarray) -> str | None:
        """Say so where samples do not sum to 1 along their last axis."""
        sums = x.sum(axis=-1)
        if np.abs(sums - 1).max(initial=0) <= _SUM_TOLERANCE:
            return None
        return (
            f"it expects sums of 1 along the last axis, of one-hot samples; received sums from {sums.min():.4g} to "
            f"{sums.max():.4g}. Encode categories as one-hot along that axis, or choose BinaryCrossentropy "
            '(loss="bce") for values that are yes or no each.'
        )

    def _log_probabilities(self, output: tf.Tensor) -> tf.Tensor:
        if self.from_logits:
            return tf.nn.log_softmax(output)
        # The linear baseline is clipped, so that its probabilities do not sum to 1.
        total = ops.sum(output, axis=-1, keepdims=True)
        return ops.log(self._positive(output)) - ops.log(self._positive(total))

    def _positive(self, values: tf.Tensor) -> tf.Tensor:
        return ops.maximum(values, np.finfo(self._compute_dtype).tiny)
