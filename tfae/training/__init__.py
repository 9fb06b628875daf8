"""A fast ``fit``, with a learning rate that suits its length and checkpoints to resume from.

Nothing here needs a run directory; :mod:`tfae.runs` makes one.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Collection
from typing import Any

import keras

from tfae import schedule
from tfae.checks import check
from tfae.datasets import Data
from tfae.losses import LossPart, ReconstructionLoss, explain_invalid
from tfae.losses.domain import checked_domain
from tfae.models import Denoiser, bottlenecks_of, structure
from tfae.models.gaussian import tell_length
from tfae.schedule import EarlyDecay, WarmupStableDecay
from tfae.training.checkpoint_callback import CheckpointCallback, Interrupted
from tfae.training.execution import Execution, choose_execution, has_convolutions, prepare
from tfae.training.strategies import LostWorkerError, make_strategy

__all__ = [
    "CheckpointCallback",
    "EarlyDecay",
    "Interrupted",
    "LostWorkerError",
    "WarmupStableDecay",
    "compile",
    "default_learning_rate",
    "make_strategy",
]


def default_learning_rate(autoencoder: keras.Model) -> float:
    """Peak of the learning rate for a model that was given none.

    0.008 for one with convolutions, 0.001 for a denoiser, else 0.005.

    Chosen by ``benchmarks/schedule.py``, on validation data of large and small data sets.
    """
    if isinstance(autoencoder, Denoiser):
        return schedule.DENOISER
    return schedule.CONVOLUTIONAL if has_convolutions(autoencoder) else schedule.DENSE


def compile(
    autoencoder: keras.Model,
    loss: ReconstructionLoss,
    data: Data,
    *,
    epochs: int,
    learning_rate: float | None = None,
    ignore: Collection[str] = (),
) -> None:
    """Compile a model so that Keras's ``fit`` trains it as fast as the machine allows.

    The optimizer is Adam with a :class:`WarmupStableDecay`. ``fit`` runs many steps per call, compiled by XLA where the
    training is long enough to repay it.

    The schedule may span several calls of ``fit``. A ``fit`` of more steps than are left lengthens it, and one that
    finds it used up starts it anew. To stop early, pass an :class:`EarlyDecay`; Keras's ``EarlyStopping`` stops before
    the learning rate has decayed. ``fit`` raises a ValueError for ``LearningRateScheduler`` and ``ReduceLROnPlateau``.

    After ``fit``, ``autoencoder.loss`` knows what scores need to know of the training data, such as the noise of
    :class:`tfae.losses.GaussianNLL`. Where a loss has such a thing to find, it is a copy of the one given.

    Args:
        autoencoder: Model to compile.
        loss: What to minimise.
        data: What it will be trained on; the number of its batches sets the length of the schedule.
        epochs: How many will be trained; the learning rate is 0 after them.
        learning_rate: Its peak; None for that of :func:`default_learning_rate`.
        ignore: Names of checks of :func:`tfae.checks.check` to leave out.

    Raises:
        ValueError: If an argument is not as above, or data, loss and model do not fit together.

    Example:
        >>> import tfae
        >>> data = tfae.datasets.load("digits")
        >>> autoencoder = tfae.models.dense(data.shape, latent_dim=16)
        >>> compile(autoencoder, tfae.losses.SquaredError(), data, epochs=2)
        >>> options = {"validation_data": data.validation, "callbacks": [EarlyDecay(patience=5)], "shuffle": False}
        >>> history = autoencoder.fit(data.train, epochs=2, verbose=0, **options)
    """
    if not isinstance(data, Data):
        raise ValueError(
            f"data: expected what tfae.datasets.load returns; received {type(data).__name__}. Give "
            "tfae.datasets.load(x), which splits and scales an array."
        )
    structure.build(autoencoder, data.shape)
    peak = default_learning_rate(autoencoder) if learning_rate is None else learning_rate
    if not isinstance(loss, ReconstructionLoss):
        raise ValueError(f"loss: {explain_invalid(loss)}")
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs: expected an integer of at least 1; received {epochs!r}.")
    if not 0 < peak < math.inf:
        raise ValueError(f"learning_rate: expected a positive number; received {learning_rate!r}.")
    num_steps = epochs * int(data.train.cardinality())
    tell_length(autoencoder, num_steps)
    check(data, loss, autoencoder, ignore=ignore)
    with autoencoder.distribute_strategy.scope():
        parts = _loss_parts(autoencoder)
        autoencoder.compile(optimizer=schedule.adam(num_steps, peak), loss=loss.for_model(), metrics=parts)
    prepare(autoencoder, data)
    execution = Execution(autoencoder, **choose_execution(autoencoder, data, epochs=epochs))
    execution.install()
    _adapt_fit(autoencoder, execution, data)


def _loss_parts(autoencoder: keras.Model) -> list[LossPart]:
    """The reconstruction and what bottlenecks note, as metrics; none where there is no penalty beside the loss."""
    bottlenecks = bottlenecks_of(autoencoder)
    parts = [(bottleneck.name, part) for bottleneck in bottlenecks for part in bottleneck.parts]
    names = [part if len(bottlenecks) == 1 else f"{name}_{part}" for name, part in parts]
    return [LossPart("reconstruction")] * bool(parts) + [
        LossPart(f"{layer}/{part}", name) for (layer, part), name in zip(parts, names, strict=True)
    ]


def _adapt_fit(autoencoder: keras.Model, execution: Execution, data: Data) -> None:
    """Have ``fit`` adapt schedule and execution to its arguments, and the loss to its result, until compiled anew.

    The schedule lasts for all epochs that are asked for. With ``steps_per_epoch`` or ``validation_steps``, the steps
    per call divide it, so that exactly so many batches are taken.
    """
    keras_fit = functools.partial(type(autoencoder).fit, autoencoder)

    @functools.wraps(keras_fit.func)
    def fit(*args: Any, **kwargs: Any) -> Any:
        if autoencoder.train_function is not execution:
            return keras_fit(*args, **kwargs)
        arguments = dict(inspect.signature(keras_fit).bind(*args, **kwargs).arguments)
        given = keras.tree.flatten(arguments.pop("callbacks", None) or [])
        callbacks = [callback for each in given for callback in getattr(each, "callbacks", [each])]  # Of CallbackLists.
        for callback in callbacks:
            if isinstance(callback, keras.callbacks.LearningRateScheduler | keras.callbacks.ReduceLROnPlateau):
                raise ValueError(
                    "callbacks: expected none that sets the learning rate, which has a schedule after "
                    f"tfae.training.compile; received {type(callback).__name__}. Leave it out, or compile the model "
                    "with autoencoder.compile(optimizer, loss)."
                )
        for name in ("epochs", "initial_epoch"):
            if not hasattr(arguments.get(name, 1), "__index__"):
                raise ValueError(f"{name}: expected an integer; received {arguments[name]!r}.")
        num_epochs = arguments.get("epochs", 1) - arguments.get("initial_epoch", 0)
        covering: keras.callbacks.Callback = keras.callbacks.LambdaCallback(
            on_train_begin=lambda _: schedule.cover(autoencoder, num_epochs * (covering.params["steps"] or 0))
        )
        num_steps = math.gcd(*(arguments.get(name) or 0 for name in ("steps_per_epoch", "validation_steps")))
        if num_steps % execution.steps:
            divisor = max(number for number in range(1, execution.steps) if num_steps % number == 0)
            Execution(autoencoder, execution.program, divisor).install()
        try:
            with checked_domain(), execution.fitting():
                history = keras_fit(**arguments, callbacks=[covering, *callbacks])
        finally:
            if autoencoder.train_function is not execution:
                execution.install()
        autoencoder.loss.adapt(autoencoder, data.train_from(0))
        return history

    autoencoder.fit = fit
