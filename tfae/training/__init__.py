"""A fast ``fit``, with a learning rate that suits its length and checkpoints to resume from.

    compile             a model, for Keras's ``fit``
    EarlyDecay          early stopping that lets the learning rate decay first
    CheckpointCallback  checkpoints, from which a training goes on with the same bits

Nothing here needs a run directory; :mod:`tfae.runs` makes one.
"""

from __future__ import annotations

import keras

from tfae.datasets import Data
from tfae.losses import ReconstructionLoss
from tfae.training import schedule
from tfae.training.checkpoint_callback import CheckpointCallback, Interrupted
from tfae.training.early_decay import EarlyDecay
from tfae.training.execution import execution_of, has_convolutions
from tfae.training.fit_arguments import adapt_fit
from tfae.training.schedule import WarmupStableDecay

__all__ = [
    "CheckpointCallback",
    "EarlyDecay",
    "Interrupted",
    "WarmupStableDecay",
    "compile",
    "default_learning_rate",
]


def default_learning_rate(autoencoder: keras.Model) -> float:
    """Peak of the learning rate for a model that was given none: 0.008 for one with convolutions, else 0.005.

    Chosen by ``benchmarks/schedule.py``, on validation data of large and small data sets.
    """
    return schedule.CONVOLUTIONAL if has_convolutions(autoencoder) else schedule.DENSE


def compile(
    autoencoder: keras.Model,
    loss: ReconstructionLoss,
    data: Data,
    *,
    epochs: int,
    learning_rate: float | None = None,
) -> None:
    """Compile a model so that Keras's ``fit`` trains it as fast as the machine allows.

    The optimizer is Adam with a :class:`WarmupStableDecay`. ``fit`` runs many steps per call, compiled by XLA where the
    training is long enough to repay it.

    The schedule may span several calls of ``fit``. A ``fit`` of more steps than are left lengthens it, and one that
    finds it used up starts it anew. To stop early, pass an :class:`EarlyDecay`; Keras's ``EarlyStopping`` stops before
    the learning rate has decayed. ``fit`` raises a ValueError for ``LearningRateScheduler`` and ``ReduceLROnPlateau``.

    Args:
        autoencoder: Model to compile.
        loss: What to minimise.
        data: What it will be trained on; the number of its batches sets the length of the schedule.
        epochs: How many will be trained; the learning rate is 0 after them.
        learning_rate: Its peak; None for that of :func:`default_learning_rate`.

    Example:
        >>> import tfae
        >>> data = tfae.datasets.load("digits")
        >>> autoencoder = tfae.models.dense(data.shape, latent_dim=16)
        >>> compile(autoencoder, tfae.losses.SquaredError(), data, epochs=2)
        >>> history = autoencoder.fit(data.train, epochs=2, verbose=0, shuffle=False)
    """
    if learning_rate is None:
        learning_rate = default_learning_rate(autoencoder)
    num_steps = epochs * int(data.train.cardinality())
    autoencoder.compile(optimizer=schedule.adam(num_steps, learning_rate), loss=loss)
    schedule.scale_loss(autoencoder)
    execution = execution_of(autoencoder, data, epochs=epochs)
    execution.install()
    adapt_fit(autoencoder, execution)
