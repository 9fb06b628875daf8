"""Losses, and what they are sums of, the reconstruction and the penalties of layers, as metrics of Keras."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Iterator
from typing import Any, final

import keras
import tensorflow as tf


class _Noted(threading.local):  # Each replica of a distribution strategy has a thread.
    def __init__(self) -> None:
        self.values: dict[str, tf.Tensor] = {}


_NOTED = _Noted()


def note(name: str, value: tf.Tensor) -> None:
    """Note a tensor of the pass under way, for what comes after it in the same graph; the next pass overwrites it."""
    _NOTED.values[name] = value


def noted(name: str) -> tf.Tensor:
    """Return what was noted under that name in the same graph; KeyError if nothing was."""
    value = _NOTED.values[name]
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    if getattr(value, "graph", None) is not graph:
        raise KeyError(name)
    return value


@final
class Switch:
    """What is on in the blocks ``with switch():`` of a thread, and off elsewhere."""

    def __init__(self, name: str) -> None:
        self._value = contextvars.ContextVar(name, default=False)

    def __bool__(self) -> bool:
        return self._value.get()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Turn it on in the block."""
        token = self._value.set(True)
        try:
            yield
        finally:
            self._value.reset(token)


@final
@keras.saving.register_keras_serializable(package="tfae")
class LossPart(keras.metrics.Mean):
    """Mean over an epoch of a part of the loss, for ``compile(metrics=[...])``: with all parts, it adds up to the loss.

    It is what the model and its loss computed for the batch, and is not computed again.

    Args:
        source: ``"reconstruction"`` for what a loss of :mod:`tfae.losses` returned, or the name of a
            bottleneck and one of its ``parts``, such as ``"gaussian/kl"``.
        name: Of the metric; the last component of ``source`` by default.
        **kwargs: As for every metric of Keras.

    Example:
        >>> import numpy as np, tfae
        >>> bottleneck = tfae.models.Gaussian()
        >>> autoencoder = tfae.models.dense((8,), latent_dim=2, bottleneck=bottleneck)
        >>> parts = [LossPart("reconstruction"), LossPart("gaussian/kl")]
        >>> autoencoder.compile("adam", tfae.losses.SquaredError(), metrics=parts)
        >>> logs = autoencoder.fit(np.ones((16, 8)), np.ones((16, 8)), verbose=0).history
        >>> abs(round(logs["loss"][0] - logs["reconstruction"][0] - logs["kl"][0], 4))  # Rounding may leave −0.0.
        0.0
    """

    def __init__(self, source: str, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name or source.rpartition("/")[2], **kwargs)
        self.source = source

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch, by its number of samples, as Keras does with the loss; weights are in the part already."""
        try:
            value = noted(self.source)
        except KeyError:
            raise ValueError(
                f'source: expected "reconstruction", of a model that is compiled with a loss of tfae.losses, or the '
                f"name of one of its bottlenecks and of a part of that; received {self.source!r}, which none noted."
            ) from None
        super().update_state(value, tf.shape(y_true)[0])

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal metric."""
        return {**super().get_config(), "source": self.source}


@final
@keras.saving.register_keras_serializable(package="tfae")
class LossMetric(keras.metrics.MeanMetricWrapper):
    """Mean of a reconstruction loss over all samples of an epoch, for ``compile(metrics=[...])``.

    Keras takes a loss for a metric too, and averages the means of the batches then, of which the last one, smaller than
    the others, weighs too much.

    Its name is that of the loss by default.

    Example:
        >>> from tfae.losses import AbsoluteError
        >>> metric = LossMetric(AbsoluteError())
        >>> metric.update_state([[1.0], [1.0], [1.0]], [[0.0], [0.0], [0.0]])
        >>> metric.update_state([[5.0]], [[0.0]])
        >>> float(metric.result())
        2.0
    """

    def __init__(self, fn: Any, name: str | None = None, **kwargs: Any) -> None:
        if not hasattr(fn, "per_sample"):
            raise ValueError(f"fn: expected a loss of tfae.losses; received {fn!r}.")
        super().__init__(fn, name or fn.name, **kwargs)
        self.loss = fn

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch: samples and outputs ``(batch, ...)``; masks are respected.

        Weights ``(batch,)`` make it the weighted mean, as in every metric of Keras; those of rank 2 or more weigh the
        losses of elements, of which samples weigh alike, as in the loss.
        """
        weight = None
        if sample_weight is not None and len(sample_weight.shape) > 1:
            weight, sample_weight = sample_weight, None
        values = self.loss.per_sample(y_true, y_pred, weight=weight)
        keras.metrics.Mean.update_state(self, values, sample_weight)
