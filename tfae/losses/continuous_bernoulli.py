"""The negative log-likelihood of gray values."""

from __future__ import annotations

import math
from typing import Any, ClassVar, final

import tensorflow as tf
from keras import ops

from tfae.losses.reconstruction_loss import ReconstructionLoss

#: Half of one of the 255 steps of eight-bit data: how near to 0 and 1 means come, and the logit of that mean. The
#: density at 0 and at 1 grows without bound with |z|, and with it what is gained from black that is blacker still.
_MARGIN = 0.5 / 255
_BOUND = 1 / _MARGIN
#: Of log(sinh(z/2) / (z/2)) in powers of z²: B₂ₖ / (2k (2k)!), with Bernoulli's numbers.
_LOG_SINH = tuple(
    bernoulli / (2 * k * math.factorial(2 * k))
    for k, bernoulli in enumerate((1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510), 1)
)
#: |z| below which differences of nearly equal numbers give way to their series.
_SMALL = 1.0


@final
class ContinuousBernoulli(ReconstructionLoss):
    """Negative log-likelihood of the continuous Bernoulli distribution in nats, for values in [0, 1].

    per-sample loss = Σⱼ log((exp(zⱼ) − 1) / zⱼ) − xⱼ zⱼ, binary cross-entropy with the normalizing constant that makes
    it a density on [0, 1]. The reconstruction is the mean of the distribution, 1 / (1 − exp(−z)) − 1/z, which is nearer
    to ½ than sigmoid(z). The best constant is the mean. A density may exceed 1, and the loss be negative.

    The density at 0 and at 1 has no bound. Logits count as ±510 beyond these, where the mean is half a gray level of
    eight bits from the end, so that the loss of a black pixel is at least −log 510. The gradient lets go there, and
    still leads back from the wrong end.

    Args:
        from_logits: Whether the model emits logits z instead of means, whose logits are found by Newton's method.
        **options: As in :class:`ReconstructionLoss`.

    Example:
        >>> loss = ContinuousBernoulli(from_logits=True)
        >>> float(loss([[0.2, 0.9]], [[0.0, 0.0]]))  # The uniform distribution has density 1.
        0.0
        >>> round(float(loss.reconstruction([[4.0]])[0, 0]), 4)  # 1 / (1 − exp(−4)) − 1/4
        0.7687

    Reference:
        Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error in variational autoencoders",
        2019. Cohen, "A Padé approximant to the inverse Langevin function", 1991, is where Newton's method begins.
    """

    short_name = "cb"
    title = "continuous Bernoulli negative log-likelihood"
    domain = (0.0, 1.0)
    unit = "nats"
    asymptotes = (0.0, 1.0)
    lower_bound = -math.log(_BOUND)
    known_constant = "mean"
    bounding_activation = "sigmoid"
    in_comparison = False
    config_by_name: ClassVar[dict[str, Any]] = {"from_logits": True}
    advice = "where gray values are to have a likelihood, as beside a KL divergence"

    def __init__(self, *, from_logits: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.from_logits = from_logits

    def elementwise(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Return log((exp(z) − 1) / z) − x z."""
        z = self._logits(output)
        # log((exp(z) − 1) / z) = z/2 + log(sinh(z/2) / (z/2)): near ½ the terms of order z would cancel otherwise.
        large, square = ops.maximum(ops.abs(z), _SMALL), z * z
        series = ops.zeros_like(square)
        for coefficient in reversed(_LOG_SINH):
            series = square * (coefficient + series)
        even = ops.where(ops.abs(z) < _SMALL, series, large / 2 + ops.log(-ops.expm1(-large) / large))
        return z * (0.5 - x) + even

    def gradients(self, x: tf.Tensor, output: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return −z and mean − x, of means (mean − x) / variance, times ``upstream``."""
        z = self._logits(output)
        by_output = _mean(z) - x
        end = _BOUND * (1 - 1e-6)  # Means are inverted to the last digits but one.
        lets_go = ((z >= end) & (by_output < 0)) | ((z <= -end) & (by_output > 0))
        by_output = ops.where(lets_go, ops.zeros_like(x), by_output)
        return -upstream * z, upstream * (by_output if self.from_logits else by_output / _variance(ops.abs(z)))

    def inverse_link(self, output: tf.Tensor) -> tf.Tensor:
        """Return the means."""
        return _mean(output)

    def _logits(self, output: tf.Tensor) -> tf.Tensor:
        """The logits, kept where means are half a gray level from the ends."""
        if self.from_logits:
            return ops.clip(output, -_BOUND, _BOUND)
        tail = ops.clip(ops.minimum(output, 1 - output), _MARGIN, 0.5)  # Where 1 − mean has its digits.
        y = 1 - 2 * tail
        size = 2 * y * (3 - y * y) / (4 * tail * (1 - tail))
        for _ in range(3):  # From within 5 %, and twice the digits with each step.
            size = ops.maximum(size + (_tail(size) - tail) / _variance(size), 0)
        return ops.where(output < 0.5, -size, size)


def _mean(z: tf.Tensor) -> tf.Tensor:
    """1 / (1 − exp(−z)) − 1/z, and ½ at 0."""
    tail = _tail(ops.abs(z))
    return ops.where(z < 0, tail, 1 - tail)


def _tail(size: tf.Tensor) -> tf.Tensor:
    """The mean for z = −size: 1/size − 1 / (exp(size) − 1)."""
    large, square = ops.maximum(size, _SMALL), size * size
    series = 0.5 - size * (
        1 / 12 - square * (1 / 720 - square * (1 / 30240 - square * (1 / 1209600 - square / 47900160)))
    )
    # exp(−s) / (1 − exp(−s)) has no overflow.
    return ops.where(size < _SMALL, series, 1 / large + ops.exp(-large) / ops.expm1(-large))


def _variance(size: tf.Tensor) -> tf.Tensor:
    """The variance for z = ±size, the derivative of the mean: 1/size² − exp(−size) / (1 − exp(−size))²."""
    large, square = ops.maximum(size, _SMALL), size * size
    series = 1 / 12 - square * (1 / 240 - square * (1 / 6048 - square * (1 / 172800 - square / 5322240)))
    return ops.where(size < _SMALL, series, 1 / large**2 - ops.exp(-large) / ops.expm1(-large) ** 2)
