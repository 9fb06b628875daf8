"""Early stopping that lets the learning rate decay first."""

from __future__ import annotations

from typing import Any, final

import keras

from tfae.training.schedule import schedule_of

#: What changes in a training, and checkpoints keep beside the best weights.
STATE = ("wait", "stopped_epoch", "best", "best_epoch", "last_epoch")


@final
class EarlyDecay(keras.callbacks.EarlyStopping):
    """Starts the decay of the learning rate when the validation loss no longer improves, and ends the training with it.

    Much of what a training gains it gains in the decay, so stopping on the plateau gives a worse model. The decay takes
    3/7 of the epochs so far, as it would in a training that was meant to be that long. Patience that runs out during
    the decay has no effect. In the end the model has the weights of the epoch with the least validation loss.

    With an optimizer that has no :class:`WarmupStableDecay`, it stops like Keras's ``EarlyStopping``.

    Args:
        patience: Epochs without improvement after which the decay starts.

    Example:
        >>> import tfae
        >>> data = tfae.datasets.load("digits")
        >>> autoencoder = tfae.models.dense(data.shape, latent_dim=16)
        >>> tfae.training.compile(autoencoder, tfae.losses.SquaredError(), data, epochs=2)
        >>> options = {"epochs": 2, "verbose": 0, "shuffle": False}
        >>> history = autoencoder.fit(
        ...     data.train, validation_data=data.validation, callbacks=[EarlyDecay(patience=5)], **options
        ... )
    """

    def __init__(self, patience: int = 5) -> None:
        super().__init__("val_loss", patience=patience, restore_best_weights=True)
        self.last_epoch: int | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin anew."""
        super().on_train_begin(logs)
        self.last_epoch = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the best weights, and start the decay, or stop."""
        is_stopped = self.model.stop_training
        super().on_epoch_end(epoch, logs)
        schedule, step = schedule_of(self.model), int(self.model.optimizer.iterations)
        steps_per_epoch = self.params["steps"]
        if schedule is None or steps_per_epoch is None:
            return
        if self.model.stop_training and not is_stopped and step < schedule.end:  # Patience has run out.
            self.model.stop_training, self.stopped_epoch = False, 0
            if self.last_epoch is None:
                epochs = schedule.decay_early(step, steps_per_epoch)
                self.last_epoch = None if epochs is None else epoch + 1 + epochs
        if self.last_epoch is not None and epoch + 1 >= self.last_epoch:
            self.model.stop_training, self.stopped_epoch = True, epoch
