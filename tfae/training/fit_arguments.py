"""Arguments of Keras's ``fit`` that ``compile`` was not told, and what follows from them."""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any, final

import keras

from tfae.training.execution import Execution
from tfae.training.schedule import cover

_SET_THE_LEARNING_RATE = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def adapt_fit(autoencoder: keras.Model, execution: Execution) -> None:
    """Have ``fit`` adapt schedule and execution to its arguments, until the model is compiled anew.

    The schedule lasts for all epochs that are asked for, and starts anew where it is used up. With ``steps_per_epoch``
    or ``validation_steps``, the steps per call divide it, so that exactly so many batches are taken.

    ``fit`` raises a ValueError for callbacks that set the learning rate.
    """
    keras_fit = functools.partial(type(autoencoder).fit, autoencoder)

    @functools.wraps(keras_fit.func)
    def fit(*args: Any, **kwargs: Any) -> Any:
        if autoencoder.train_function is not execution:
            return keras_fit(*args, **kwargs)
        arguments = dict(inspect.signature(keras_fit).bind(*args, **kwargs).arguments)
        callbacks = keras.tree.flatten(arguments.pop("callbacks", None) or [])
        for callback in callbacks:
            if isinstance(callback, _SET_THE_LEARNING_RATE):
                raise ValueError(
                    "callbacks: expected none that sets the learning rate, which has a schedule after "
                    f"tfae.training.compile; received {type(callback).__name__}. Leave it out, or compile the model "
                    "with autoencoder.compile(optimizer, loss)."
                )
        steps = math.gcd(*(arguments.get(name) or 0 for name in ("steps_per_epoch", "validation_steps")))
        adapted = execution
        if steps % execution.steps:
            divisor = max(number for number in range(1, execution.steps) if steps % number == 0)
            adapted = Execution(autoencoder, execution.program, divisor)
            adapted.install()
        try:
            return keras_fit(**arguments, callbacks=[_CoverEpochs(adapted), *callbacks])
        finally:
            if adapted is not execution:
                execution.install()

    autoencoder.fit = fit


@final
class _CoverEpochs(keras.callbacks.Callback):
    """Makes the schedule last for a call of ``fit``, before its first step."""

    def __init__(self, execution: Execution) -> None:
        super().__init__()
        self._execution: Execution | None = execution

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        execution, self._execution = self._execution, None
        num_batches = self.params["steps"]
        if execution is None or num_batches is None:
            return
        if cover(self.model, (self.params["epochs"] - epoch) * num_batches):
            execution.install()
