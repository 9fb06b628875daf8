"""A network that restores samples from noise and gaps, in linear coordinates of theirs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

#: Deviations of the noise that is trained on, log-uniform, where elements have deviation 1.
_NOISE = (0.1, 2.0)
#: The largest share of elements that is hidden in training; each row draws its own.
_MOST_HIDDEN = 0.5
#: Between these quantiles of the training samples, widened by the noise, networks need not extrapolate.
_QUANTILES = (0.005, 0.995)
#: Eigenvalues of the covariance are at least this share of the largest one.
_LEAST_EIGENVALUE = 1e-3
#: Least deviation, of elements and of scores, that is divided by.
LEAST_DEVIATION = 1e-6


@final
@keras.saving.register_keras_serializable(package="tfae")
class DenoisingView(layers.Layer):
    """A denoising network on linear coordinates u of samples x, ``(batch, num_elements)``, with its score.

    Args:
        widths: Units of the hidden layers, of which the one in the middle is linear.
        levels: Deviations of the noise that the score is taken at.
        is_whitened: Whether the coordinates are those of PCA whitening, else those of standardised elements.
        **options: As for every Keras layer.
    """

    def __init__(self, widths: Sequence[int], levels: Sequence[float], is_whitened: bool, **options: Any) -> None:
        super().__init__(**options)
        self.widths, self.levels, self.is_whitened = list(widths), list(levels), is_whitened
        self._hidden = [
            layers.Dense(width, None if i == len(widths) // 2 else "gelu", dtype=self.dtype_policy, name=f"hidden_{i}")
            for i, width in enumerate(widths)
        ]
        self._seeds = keras.random.SeedGenerator()

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create the weights, of which training moves those of the network alone."""
        size = shape[-1] or 0

        def constant(name: str, sides: tuple[int, ...], value: Any) -> Any:
            return self.add_weight(sides, value, trainable=False, name=name)

        self.offset, self.scale = constant("offset", (size,), "zeros"), constant("scale", (size,), "ones")
        if self.is_whitened:
            self.axes = constant("axes", (size, size), "identity")
            self.deviations = constant("deviations", (size,), "ones")
        largest = keras.initializers.Constant(np.finfo("float32").max / 4)
        self.low, self.high = constant("low", (size,), largest), constant("high", (size,), largest)
        self.weight = constant("weight", (len(self.levels), size), "ones")
        self.log_mean, self.log_deviation = constant("log_mean", (), "zeros"), constant("log_deviation", (), "ones")
        half = np.random.RandomState(0).normal(size=(2, size))
        self.noise = constant("noise", (4, size), "zeros")
        self.noise.assign(np.concatenate([half, -half]))
        self._last = layers.Dense(size, dtype=self.dtype_policy, name="elements")
        width = size + 3
        for layer in (*self._hidden, self._last):
            layer.build((None, width))
            width = layer.units

    def adapt(self, x: np.ndarray) -> None:
        """Set the coordinates by training samples without gaps, float64 ``(n, num_elements)``."""
        scale = x.std(axis=0)
        self.offset.assign(x.mean(axis=0))
        self.scale.assign(np.where(scale > LEAST_DEVIATION, scale, 1))
        if self.is_whitened:
            standard = (x - self.offset.numpy()) / self.scale.numpy()
            variances, axes = np.linalg.eigh(standard.T @ standard / len(x))
            self.axes.assign(axes)
            self.deviations.assign(np.sqrt(np.maximum(variances, max(_LEAST_EIGENVALUE * variances[-1], 1e-12))))
        u = self.project(ops.convert_to_tensor(x, "float32")).numpy()
        low, high = np.quantile(u, _QUANTILES, axis=0)
        self.low.assign(low)
        self.high.assign(high)

    def project(self, x: tf.Tensor) -> tf.Tensor:
        """Return the coordinates u of samples without gaps."""
        u = (x - self.offset) / self.scale
        return ops.matmul(u, self.axes) / self.deviations if self.is_whitened else u

    def unproject(self, u: tf.Tensor) -> tf.Tensor:
        """Return samples for standardised elements."""
        return u * self.scale + self.offset

    def restore(self, u: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
        """Return what the network makes of coordinates with noise of deviation ``level``, ``(batch, 1)``."""
        log = ops.log(level)
        h = ops.concatenate([u / ops.sqrt(1 + level**2), log, ops.sin(2 * log), ops.cos(2 * log)], axis=-1)
        for layer in (*self._hidden, self._last):
            h = layer(h)
        return h

    def restore_corrupted(self, u: tf.Tensor) -> tf.Tensor:
        """Return what the network makes of coordinates with noise, some of them hidden, as in training."""
        rows = (ops.shape(u)[0], 1)
        low, high = map(math.log, _NOISE)
        level = ops.exp(keras.random.uniform(rows, low, high, u.dtype, self._seeds))
        share = keras.random.uniform(rows, 0, _MOST_HIDDEN, u.dtype, self._seeds)
        is_kept = keras.random.uniform(ops.shape(u), 0, 1, u.dtype, self._seeds) >= share
        noisy = u + level * keras.random.normal(ops.shape(u), 0, 1, u.dtype, self._seeds)
        return self.restore(ops.where(is_kept, noisy, ops.zeros_like(noisy)), level)

    def restore_levels(self, u: tf.Tensor) -> tf.Tensor:
        """Return what the network makes of fixed noise: ``(num_levels * num_noises * batch, num_elements)``."""
        size = u.shape[-1]
        level = ops.reshape(ops.convert_to_tensor(self.levels, u.dtype), (-1, 1, 1, 1))
        # Beyond what was trained on, networks extrapolate.
        noisy = ops.clip(
            u + level * ops.expand_dims(ops.cast(self.noise, u.dtype), 1), self.low - level, self.high + level
        )
        of_rows = ops.broadcast_to(level, (*ops.shape(noisy)[:-1], 1))
        return self.restore(ops.reshape(noisy, (-1, size)), ops.reshape(of_rows, (-1, 1)))

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal layer."""
        options = {"widths": self.widths, "levels": self.levels, "is_whitened": self.is_whitened}
        return {**super().get_config(), **options}
