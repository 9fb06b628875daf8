"""Adam as it trains autoencoders fastest: a high learning rate, warmed up to, and taken to zero at the end."""

from __future__ import annotations

import math
from typing import Any, final

import keras
import tensorflow as tf
from keras import ops

from tfae.losses import ReconstructionLoss

#: Peaks of the learning rate, of models with convolutions and without.
CONVOLUTIONAL, DENSE = 8e-3, 5e-3
_BETA_2 = 0.99


@final
@keras.saving.register_keras_serializable(package="tfae")
class Trapezoid(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rates that rise to a peak in a fifth of the steps, stay there, and fall to zero in the last 30 %.

    A cosine of the same peak spends much of a training on learning rates at which little happens: where steps are
    few, the loss is up to a third higher.

    Args:
        peak: The greatest learning rate.
        num_steps: Steps of the training; the learning rate is 0 after them.

    Example:
        >>> rates = Trapezoid(0.01, 100)
        >>> [round(float(rates(step)), 4) for step in (0, 9, 19, 50, 70, 85, 100)]
        [0.0005, 0.005, 0.01, 0.01, 0.01, 0.005, 0.0]

    Reference:
        Hägele et al., Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations, 2024; Goyal et al.,
        Accurate, Large Minibatch SGD, 2017 (the warm-up).
    """

    def __init__(self, peak: float, num_steps: int) -> None:
        self.peak = peak
        self.num_steps = num_steps

    def __call__(self, step: Any) -> tf.Tensor:
        """Return the learning rate, a float scalar, of a step counted from 0."""
        step = ops.cast(step, "float32")
        up = (step + 1) / max(1.0, 0.2 * self.num_steps)
        down = (self.num_steps - step) / max(1.0, 0.3 * self.num_steps)
        return self.peak * ops.clip(ops.minimum(up, down), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal schedule."""
        return {"peak": self.peak, "num_steps": self.num_steps}


def adam(num_steps: int, learning_rate: float) -> keras.optimizers.Adam:
    """Return Adam with the learning rates that suit a training of so many steps, batches times epochs."""
    return keras.optimizers.Adam(Trapezoid(learning_rate, max(1, num_steps)), beta_2=_BETA_2)


def scale_loss(autoencoder: keras.Model) -> None:
    """Let the loss scaling of ``mixed_float16`` start where a sum over elements does not overflow float16.

    Keras multiplies the loss by 2¹⁵ and halves that at every step whose gradients overflow, none of which moves a
    weight. A sum over n elements is n times the mean that 2¹⁵ was made for, and starts n times lower here.

    Args:
        autoencoder: Compiled with a loss of :mod:`tfae.losses`, and not trained yet.
    """
    optimizer, loss = autoencoder.optimizer, autoencoder.loss
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or not isinstance(loss, ReconstructionLoss):
        return
    if loss.sample_reduction == "mean":
        return
    if not optimizer.built:  # It would make its variables anew.
        optimizer.build(autoencoder.trainable_variables)
    if int(optimizer.inner_optimizer.iterations) == 0:
        num_elements = math.prod(autoencoder.output_shape[1:])
        # A power of 2 loses no digits.
        optimizer.dynamic_scale.assign(2.0 ** (15 - math.ceil(math.log2(num_elements))))
