"""A loss as a metric of Keras."""

from __future__ import annotations

from typing import Any, final

import keras

from tfae.losses.reconstruction_loss import ReconstructionLoss


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

    def __init__(self, fn: ReconstructionLoss, name: str | None = None, **kwargs: Any) -> None:
        if not isinstance(fn, ReconstructionLoss):
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
