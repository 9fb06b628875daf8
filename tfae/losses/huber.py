"""Huber's loss."""

from __future__ import annotations

import math
from typing import Any, final

import tensorflow as tf
from keras import ops

from tfae.losses.reconstruction_loss import ReconstructionLoss


@final
class Huber(ReconstructionLoss):
    """Squared error of small errors and absolute error of large ones, for real-valued data with outliers.

    per-sample loss = Σⱼ e²/2 where ``e = |xⱼ − x̂ⱼ|`` ≤ δ, and δ (e − δ/2) beyond. The best constant lies between mean
    and median. Where all errors are below δ it is half of squared error: δ is in the unit of model space, and of use
    where that has one scale, as after preprocessing "standard".

    Args:
        delta: Error from which on an element pulls no harder.
        **options: As in :class:`ReconstructionLoss`.

    Raises:
        ValueError: If ``delta`` is not positive and finite.

    Example:
        >>> float(Huber(delta=1.0)([[0.0, 1.0]], [[0.5, 4.0]]))  # 0.5²/2 + 1 (3 − 1/2)
        2.625

    Reference:
        Huber, "Robust estimation of a location parameter", 1964.
    """

    title = "Huber loss"
    in_comparison = False
    advice = "where outliers are to weigh less, and small errors as they do under squared error"

    def __init__(self, *, delta: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 < delta < math.inf:
            raise ValueError(f"delta: expected a positive number; received {delta!r}.")
        self.delta = float(delta)

    def elementwise(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Return q (e − q/2) of q = min(e, δ), which is either of the two."""
        error = ops.abs(output - x)
        quadratic = ops.minimum(error, self.delta)
        return quadratic * (error - quadratic / 2)

    def gradients(self, x: tf.Tensor, output: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the error x̂ − x, clipped to [−δ, δ], and its negative, times ``upstream``."""
        by_output = upstream * ops.clip(output - x, -self.delta, self.delta)
        return -by_output, by_output

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal loss."""
        return {**super().get_config(), "delta": self.delta}
