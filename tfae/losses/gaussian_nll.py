"""The negative log-likelihood of normal noise."""

from __future__ import annotations

import math
from typing import Any, final

import tensorflow as tf
from keras import ops

from tfae.losses.reconstruction_loss import ReconstructionLoss
from tfae.losses.shapes import mask_of
from tfae.losses.squared_error import SquaredError

#: Least standard deviation that is fitted: rounding of float32 in values of size 1 to 10, which preprocessing makes.
#: Errors below it are not the model's, and the logarithm of 0 is not finite.
_LEAST_SIGMA = 1e-6


@final
class GaussianNLL(ReconstructionLoss):
    """Negative log-likelihood of normal noise in nats, for real-valued data.

    per-sample loss = Σⱼ (xⱼ − x̂ⱼ)² / (2σ²) + log σ + ½ log 2π. With σ² = ½ its gradient is that of
    :class:`SquaredError`; a smaller σ weighs the reconstruction more, against a KL divergence for instance.

    Without ``sigma`` it is the one that is optimal. In training, the loss of a batch takes the root mean squared error
    of that batch, 10⁻⁶ at least, so that nothing has to be tuned: what is minimised is the logarithm of the error. A
    gradient through σ would be 0, as σ is optimal. A score must not depend on what else is in its batch:
    :meth:`per_sample`, evaluation and export take the error of a whole data set, which :meth:`adapt` finds. A model
    that is trained by :func:`tfae.training.compile` or :func:`tfae.runs.train` has it, as ``autoencoder.loss``.

    Args:
        sigma: Standard deviation of the noise, in the unit of model space; None for the optimal one.
        fitted_sigma: What :meth:`adapt` found.
        **options: As in :class:`ReconstructionLoss`.

    Raises:
        ValueError: If ``sigma`` is not positive and finite.

    Example:
        >>> round(float(GaussianNLL(sigma=1.0)([[0.0, 0.0]], [[0.0, 2.0]])), 4)  # 4/2 + log 2π
        3.8379
        >>> round(float(GaussianNLL()([[0.0, 0.0]], [[0.0, 2.0]])), 4)  # σ² = 2: 1 + log 2 + log 2π
        3.531

    Reference:
        Rybkin, Daniilidis, Levine, "Simple and effective VAE training with calibrated decoders", 2021.
    """

    short_name = "gaussian"
    title = "Gaussian negative log-likelihood"
    unit = "nats"
    known_constant = "mean"
    pca_is_optimal = True
    in_comparison = False
    advice = "as squared error, in nats and with the noise that the data has, as beside a KL divergence"

    def __init__(self, *, sigma: float | None = None, fitted_sigma: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        if sigma is not None and not 0 < sigma < math.inf:
            raise ValueError(f"sigma: expected a positive number, or None for the optimal one; received {sigma!r}.")
        self.sigma = sigma
        self.fitted_sigma = fitted_sigma
        self.depends_on_batch = sigma is None
        self._squares = SquaredError(sample_reduction=self.sample_reduction, dtype=self._compute_dtype)

    def elementwise(self, x: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Return (x − x̂)² / (2σ²) + log σ + ½ log 2π."""
        sigma = self._known_sigma()
        return tf.math.squared_difference(output, x) / (2 * sigma**2) + 0.5 * math.log(2 * math.pi * sigma**2)

    def gradients(self, x: tf.Tensor, output: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return (x − x̂) / σ² and its negative, times ``upstream``."""
        by_output = upstream * (output - x) / self._known_sigma() ** 2
        return -by_output, by_output

    def per_sample_in_batch(self, x: Any, output: Any, *, mask: Any, weight: Any, sample_weight: Any) -> tf.Tensor:
        """Return the losses under ``sigma`` or, without it, under the σ that is optimal for the batch as it weighs."""
        if self.sigma is not None:
            return self.per_sample(x, output, mask=mask, weight=weight)
        squares, counts = self._measure(x, output, mask, weight)
        total, count = squares, counts * ops.ones_like(squares)
        if sample_weight is not None:
            total, count = total * sample_weight, count * sample_weight
        variance = ops.divide_no_nan(ops.sum(total), ops.sum(count))
        variance = ops.stop_gradient(ops.maximum(variance, _LEAST_SIGMA**2))
        return squares / (2 * variance) + counts * 0.5 * ops.log(2 * math.pi * variance)

    def adapt(self, autoencoder: Any, dataset: tf.data.Dataset) -> None:
        """Without ``sigma``, find that of scores: the root mean squared error of a model on a data set.

        Args:
            autoencoder: Trained model, run in inference mode.
            dataset: Batches ``(x, x)`` in model space, such as ``data.train_from(0)``.
        """
        if self.sigma is not None:
            return

        @tf.function(autograph=False, reduce_retracing=True)
        def measure(inputs: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
            output = autoencoder(inputs, training=False)
            squares, counts = self._measure(x, output, mask_of(output), None)
            return ops.stack([ops.sum(squares), ops.sum(counts * ops.ones_like(squares))])

        total, count = sum(measure(inputs, x).numpy().astype("float64") for inputs, x, *_ in dataset)
        self.fitted_sigma = max(math.sqrt(total / count), _LEAST_SIGMA)

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal loss."""
        return {**super().get_config(), "sigma": self.sigma, "fitted_sigma": self.fitted_sigma}

    def _measure(self, x: tf.Tensor, output: tf.Tensor, mask: Any, weight: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """Squared errors of samples, and what their elements sum to, by the rules of masks and weights: one."""
        squares = self._squares.per_sample(x, output, mask=mask, weight=weight)
        if mask is None and weight is None:
            count = tf.reduce_prod(tf.shape(x)[1:]) if self.sample_reduction == "sum" else 1
            return squares, tf.cast(count, squares.dtype)
        ones = tf.ones(tf.shape(x), squares.dtype)
        return squares, self._squares.per_sample(ones, 0 * ones, mask=mask, weight=weight)

    def _known_sigma(self) -> float:
        sigma = self.sigma or self.fitted_sigma
        if sigma is None:
            raise ValueError(
                f"loss: expected the sigma by which samples are scored; received {self!r}, which has none before it is "
                "fitted. Call autoencoder.loss.adapt(autoencoder, data.train) after training, or give "
                "GaussianNLL(sigma=...)."
            )
        return sigma
