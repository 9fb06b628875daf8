"""The negative log-likelihood of counts."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
import tensorflow as tf
from keras import ops

from tfae.losses.reconstruction_loss import ReconstructionLoss

#: Rates are kept below e⁴⁴ ≈ 1.3·10¹⁹, the greatest power of e whose square float32 holds: Adam squares.
_BOUND = 44.0
#: Counts from which on Stirling's series is exact to float32, and beyond.
_MANY = 16.0


@final
class Poisson(ReconstructionLoss):
    """Negative log-likelihood of Poisson's distribution in nats, for counts.

    per-sample loss = Σⱼ exp(zⱼ) − xⱼ zⱼ + log xⱼ!, where the model emits the logarithms z of rates; the reconstruction
    is the rate exp(z). The variance of a count is its rate: an error of 10 is much where 5 are expected, and little
    where 1000 are. The best constant is the mean, and the floor what a rate of x itself costs.

    Counts are to stay as they are, preprocessing "none". Above z = 44 the rate stays what it is there, 1.3·10¹⁹, lest
    exp(z) leave float32; the gradient leads back.

    Args:
        from_log_rates: Whether the model emits logarithms of rates instead of rates.
        **options: As in :class:`ReconstructionLoss`.

    Example:
        >>> loss = Poisson()
        >>> round(float(loss([[0.0, 2.0]], [[0.0, 0.0]])), 4)  # 1 + (1 + log 2)
        2.6931
    """

    title = "Poisson negative log-likelihood"
    domain = (0.0, math.inf)
    unit = "nats"
    asymptotes = (0.0, math.inf)
    lower_bound = 0.0
    known_constant = "mean"
    link = "log_rates"
    bounding_activation = "softplus"
    advice = "where values are counts, whose noise grows with their mean"

    def __init__(self, *, from_log_rates: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.from_log_rates = from_log_rates

    def elementwise(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Return exp(z) − x z + log x!."""
        z = self._log_rates(output)
        few = ops.exp(z) - x * z + tf.math.lgamma(ops.minimum(x, _MANY) + 1)
        # Of many, terms of 10⁷ would cancel to a loss of 10. With r = z − log x the loss is that of rate x, and
        # x (exp(r) − 1 − r); log x! − x log x + x by Stirling's series.
        many = ops.maximum(x, _MANY)
        r, inverse = z - ops.log(many), 1 / many
        series = inverse * (1 / 12 - inverse**2 * (1 / 360 - inverse**2 * (1 / 1260 - inverse**2 / 1680)))
        stirling = 0.5 * ops.log(2 * math.pi * many) + series
        return ops.where(x < _MANY, few, many * (ops.expm1(r) - r) + stirling)

    def gradients(self, x: tf.Tensor, output: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return ψ(x + 1) − z and exp(z) − x, of rates 1 − x / rate, times ``upstream``."""
        z = self._log_rates(output)
        rate = ops.exp(z)
        by_output = rate - x if self.from_log_rates else (rate - x) / rate
        return upstream * (tf.math.digamma(x + 1) - z), upstream * by_output

    def inverse_link(self, output: tf.Tensor) -> tf.Tensor:
        """Return the rates."""
        return ops.exp(self._log_rates(output))

    def explain_undefined(self, x: np.ndarray) -> str | None:
        """Say so where samples are no whole numbers."""
        fractions = x[x != np.floor(x)]
        if not fractions.size:
            return None
        return f'it expects whole numbers; received {fractions[0]:.4g}. Leave counts as they are: preprocessing="none".'

    def _log_rates(self, output: tf.Tensor) -> tf.Tensor:
        if self.from_log_rates:
            return ops.minimum(output, _BOUND)
        return ops.log(ops.clip(output, math.exp(-_BOUND), math.exp(_BOUND)))
