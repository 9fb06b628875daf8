"""Adam with learning rates that warm up, stay high, and fall to zero by the end."""

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
_WARMUP, _DECAY = 0.2, 0.3
# Stands for no early decay: far behind the last step of any training, and finite, so that it divides.
_NEVER = 1e30


@final
@keras.saving.register_keras_serializable(package="tfae")
class WarmupStableDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rates that rise to a peak in a fifth of the steps, stay there, and fall to zero in the last 30 %.

    A cosine of the same peak spends much of a training on learning rates at which little happens: where steps are
    few, the loss is up to a third higher.

    Args:
        peak: The greatest learning rate.
        num_steps: Steps of the training; the learning rate is 0 after them.
        first_step: The optimizer's step at which the training begins.
        early_end: Steps of the training after :meth:`decay_early`, or None without.

    Example:
        >>> rates = WarmupStableDecay(0.01, 100)
        >>> [round(float(rates(step)), 4) for step in (0, 9, 19, 50, 70, 85, 100)]
        [0.0005, 0.005, 0.01, 0.01, 0.01, 0.005, 0.0]

    Reference:
        Hägele et al., Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations, 2024; Goyal et al.,
        Accurate, Large Minibatch SGD, 2017 (the warm-up).
    """

    def __init__(self, peak: float, num_steps: int, first_step: int = 0, early_end: int | None = None) -> None:
        self.peak = peak
        self.num_steps = num_steps
        self.first_step = first_step
        # A variable, which a compiled training step reads anew.
        self.variable = keras.Variable(
            _NEVER if early_end is None else early_end,
            trainable=False,
            dtype="float32",
            autocast=False,
            name="early_end",
        )

    def __call__(self, step: Any) -> tf.Tensor:
        """Return the learning rate, a float scalar, of a step counted from 0."""
        step = ops.cast(step, "float32") - self.first_step
        up = (step + 1) / max(1.0, _WARMUP * self.num_steps)
        down = (self.num_steps - step) / max(1.0, _DECAY * self.num_steps)
        early = (self.variable - step) / (_DECAY * self.variable)
        return self.peak * ops.clip(ops.minimum(ops.minimum(up, down), early), 0.0, 1.0)

    @property
    def end(self) -> int:
        """The optimizer's step from which on the learning rate is 0."""
        return self.first_step + min(self.num_steps, int(self.variable))

    def decay_early(self, step: int, steps_per_epoch: int) -> int | None:
        """Start the decay at a step on the plateau, as if the training had been meant to be that much shorter.

        Args:
            step: The optimizer's, at the end of an epoch.
            steps_per_epoch: The decay ends with an epoch.

        Returns:
            Epochs that the decay takes, or None where it has started already.
        """
        num_done = step - self.first_step
        if num_done >= (1 - _DECAY) * (self.end - self.first_step):
            return None
        epochs = math.ceil(round(num_done * _DECAY / (1 - _DECAY) / steps_per_epoch, 6))  # 6.000000000000001 are 6.
        self.variable.assign(num_done + epochs * steps_per_epoch)
        return epochs

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal schedule."""
        early_end = int(self.variable)
        return {
            "peak": self.peak,
            "num_steps": self.num_steps,
            "first_step": self.first_step,
            "early_end": early_end if early_end < _NEVER / 2 else None,
        }


def adam(num_steps: int, learning_rate: float) -> keras.optimizers.Adam:
    """Return Adam with the learning rates that suit a training of so many steps, batches times epochs."""
    return keras.optimizers.Adam(WarmupStableDecay(learning_rate, max(1, num_steps)), beta_2=_BETA_2)


def schedule_of(autoencoder: keras.Model) -> WarmupStableDecay | None:
    """Return the schedule that a compiled model is trained by, or None where its learning rates are of another kind."""
    optimizer = getattr(autoencoder.optimizer, "inner_optimizer", autoencoder.optimizer)
    schedule = getattr(optimizer, "_learning_rate", None)  # Its property gives the present value.
    return schedule if isinstance(schedule, WarmupStableDecay) else None


def cover(autoencoder: keras.Model, num_steps: int) -> bool:
    """Make the schedule of a model, if it has one, last for a training of so many steps from now on.

    One that is used up starts anew, and one that is too short becomes longer. Fewer steps leave it as it is: a
    training may take several calls of ``fit``.

    Returns:
        Whether there is another schedule now, for which ``train_step`` has to be traced anew.
    """
    schedule, step = schedule_of(autoencoder), int(autoencoder.optimizer.iterations)
    if schedule is None or num_steps <= schedule.end - step:
        return False
    first_step = step if step >= schedule.end else schedule.first_step
    autoencoder.optimizer.learning_rate = WarmupStableDecay(
        schedule.peak, step - first_step + num_steps, first_step=first_step
    )
    return True


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
