"""Adam with learning rates that warm up, stay high, and fall to zero by the end, and early stopping that agrees."""

from __future__ import annotations

import math
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf
from keras import ops

#: Peaks of the learning rate, of models with convolutions, without, and of `tfae.models.Denoiser`.
CONVOLUTIONAL, DENSE, DENOISER = 8e-3, 5e-3, 1e-3
_BETA_2 = 0.99
_WARMUP, _DECAY = 0.2, 0.3


@final
@keras.saving.register_keras_serializable(package="tfae")
class WarmupStableDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rates that rise to a peak in a fifth of the steps, stay there, and fall to zero in the last 30 %.

    Under a cosine of the same peak, the loss of a training of few steps ends up to a third higher.

    Args:
        peak: The greatest learning rate.
        num_steps: Steps of the training; the learning rate is 0 after them.
        first_step: The optimizer's step at which the training begins.
        rise: By how much of the peak a step of the warm-up raises the learning rate; None for a fifth of the steps.

    Example:
        >>> rates = WarmupStableDecay(0.01, 100)
        >>> [round(float(rates(step)), 4) for step in (0, 9, 19, 50, 70, 85, 100)]
        [0.0005, 0.005, 0.01, 0.01, 0.01, 0.005, 0.0]

    Reference:
        Hägele et al., Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations, 2024; Goyal et al.,
        Accurate, Large Minibatch SGD, 2017 (the warm-up).
    """

    def __init__(self, peak: float, num_steps: int, first_step: int = 0, rise: float | None = None) -> None:
        self.peak = peak
        # A variable, which a compiled training step reads anew.
        self.variable = keras.Variable(
            _phases(num_steps, first_step, rise), trainable=False, dtype="float32", autocast=False, name="phases"
        )

    def __call__(self, step: Any) -> tf.Tensor:
        """Return the learning rate, a float scalar, of a step counted from 0."""
        num_steps, first_step, rise, fall = ops.unstack(self.variable)
        step = ops.cast(step, "float32") - first_step
        up = (step + 1) * rise
        down = (num_steps - step) * fall
        return self.peak * ops.clip(ops.minimum(up, down), 0.0, 1.0)

    @property
    def end(self) -> int:
        """The optimizer's step from which on the learning rate is 0."""
        config = self.get_config()
        return config["first_step"] + config["num_steps"]

    @property
    def decays_early(self) -> bool:
        """Whether ``decay_early`` has made it shorter than its warm-up was made for."""
        config = self.get_config()
        return config["rise"] != _phases(config["num_steps"], 0)[2]

    def decay_early(self, step: int, steps_per_epoch: int) -> None:
        """Start the decay at the end of an epoch, unless it has started, and let it end with one.

        The learning rates are those of a training that was meant to be that much shorter.
        """
        config = self.get_config()
        num_done = step - config["first_step"]
        if num_done < (1 - _DECAY) * config["num_steps"]:
            # 6.000000000000001 are 6.
            num_epochs = math.ceil(round(num_done * _DECAY / (1 - _DECAY) / steps_per_epoch, 6))
            num_steps = num_done + num_epochs * steps_per_epoch
            self.variable.assign(_phases(num_steps, config["first_step"], config["rise"]))

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal schedule."""
        num_steps, first_step, rise, _ = map(float, ops.convert_to_numpy(self.variable))
        return {"peak": self.peak, "num_steps": int(num_steps), "first_step": int(first_step), "rise": rise}


def _phases(num_steps: int, first_step: int, rise: float | None = None) -> list[float]:
    # As TensorFlow rounds a division by a constant.
    rise = rise or float(np.reciprocal(np.float32(max(1.0, _WARMUP * num_steps))))
    return [num_steps, first_step, rise, float(np.reciprocal(np.float32(max(1.0, _DECAY * num_steps))))]


def adam(num_steps: int, learning_rate: float) -> keras.optimizers.Adam:
    """Return Adam with the learning rates that suit a training of so many steps, batches times epochs."""
    return keras.optimizers.Adam(WarmupStableDecay(learning_rate, max(1, num_steps)), beta_2=_BETA_2)


def schedule_of(autoencoder: keras.Model) -> WarmupStableDecay | None:
    """Return the schedule that a compiled model is trained by, or None where its learning rates are of another kind."""
    optimizer = getattr(autoencoder.optimizer, "inner_optimizer", autoencoder.optimizer)
    schedule = getattr(optimizer, "_learning_rate", None)  # Its property gives the present value.
    return schedule if isinstance(schedule, WarmupStableDecay) else None


def cover(autoencoder: keras.Model, num_steps: int) -> None:
    """Make the schedule of a model, if it has one, last for a training of so many steps from now on.

    One that is used up starts anew, and one that is too short becomes longer. Fewer steps leave it as it is: a
    training may take several calls of ``fit``.
    """
    schedule, step = schedule_of(autoencoder), int(autoencoder.optimizer.iterations.numpy())
    if schedule is not None and num_steps > max(0, schedule.end - step):
        first_step = step if step >= schedule.end else schedule.get_config()["first_step"]
        schedule.variable.assign(_phases(step - first_step + num_steps, first_step))


@final
class EarlyDecay(keras.callbacks.EarlyStopping):
    """Starts the decay of the learning rate when the validation loss no longer improves, and ends the training with it.

    Much of what a training gains it gains in the decay, so stopping on the plateau gives a worse model. The decay takes
    3/7 of the epochs so far, as it would in a training that was meant to be that long. Patience that runs out during
    the decay has no effect. In the end the model has the weights of the epoch with the least validation loss.

    With an optimizer that has no :class:`WarmupStableDecay`, it stops like Keras's ``EarlyStopping``.

    Args:
        patience: Epochs without improvement after which the decay starts.
    """

    def __init__(self, patience: int = 5) -> None:
        if patience < 0:
            raise ValueError(f"patience: expected an integer of at least 0; received {patience!r}.")
        super().__init__("val_loss", patience=patience, restore_best_weights=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the best weights, and start the decay, or stop."""
        was_stopped = self.model.stop_training
        super().on_epoch_end(epoch, logs)
        schedule, steps_per_epoch = schedule_of(self.model), self.params["steps"]
        if schedule is None or steps_per_epoch is None:
            return
        step = int(self.model.optimizer.iterations.numpy())
        if self.model.stop_training and not was_stopped and step < schedule.end:  # Patience has run out.
            self.model.stop_training = False
            schedule.decay_early(step, steps_per_epoch)
        # The loss scaling of mixed_float16 leaves out some steps, so the end may not quite be reached.
        if step > schedule.end - steps_per_epoch:
            self.model.stop_training = True


def scale_loss(autoencoder: keras.Model, shape: tuple[int, ...]) -> None:
    """Let the loss scaling of ``mixed_float16`` start where a sum over elements does not overflow float16.

    Keras multiplies the loss by 2¹⁵ and halves that at every step whose gradients overflow, none of which moves a
    weight. A sum over n elements is n times the mean that 2¹⁵ was made for, and starts n times lower here. Models that
    are trained already, and other losses, stay as they are. ``shape`` is that of a sample.
    """
    optimizer, loss = autoencoder.optimizer, autoencoder.loss
    sums = getattr(loss, "sample_reduction", "mean") != "mean"
    if not sums or not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return
    if not optimizer.built:  # It would make its variables anew.
        with autoencoder.distribute_strategy.scope():
            optimizer.build(autoencoder.trainable_variables)
    if int(optimizer.inner_optimizer.iterations.numpy()) == 0:
        # A power of 2 loses no digits.
        optimizer.dynamic_scale.assign(2.0 ** (15 - math.ceil(math.log2(math.prod(shape)))))
