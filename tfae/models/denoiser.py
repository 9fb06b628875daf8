"""A model for anomaly detection: it restores samples from noise and gaps, and scores how badly that goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfae.losses.reconstruction_loss import ReconstructionLoss
from tfae.losses.squared_error import SquaredError
from tfae.models.denoising_view import LEAST_DEVIATION, DenoisingView

#: Training samples that the coordinates, and the scale of scores, are taken from.
_NUM_ADAPTED, _NUM_SCORED = 50_000, 2000
#: Elements of a sample beyond which the covariance is not looked at.
_MOST_WHITENED = 1000
#: Logarithm of the largest score, which float32 holds.
_LARGEST = 80.0
#: Deviations from the mean beyond which elements are no further out: float32 holds their squares, and sums of those.
_FURTHEST = 1e9
_LEAST_LOSS, _TINY = 1e-4, 1e-30


@final
@keras.saving.register_keras_serializable(package="tfae")
class Denoiser(keras.Model):
    """Restores samples from noise and gaps, and scores how badly that goes: a detector of anomalies in tables.

    Two networks r(y, σ) restore u from y = m ⊙ (u + σε), with a mask m that hides up to half of the elements and noise
    of a deviation σ in [0.1, 2]; in one, u are the standardised elements of x, in the other the coordinates of PCA
    whitening, where anomalies in directions of small variance show. The first has the loss that the model is compiled
    with, of reconstructions of x; the second adds its squared error.

    The score of a view is the sum over σ and elements of w · mean over fixed ε of the loss of r(u + σε, σ), with
    w = 1/√(training mean of that loss). The score is that of the first view, or what is as far above normal
    samples as that of the second, if that is further, in deviations of logarithms, of samples held out of training.
    Noise and masks force the networks to use how elements depend on each other; without, they copy anomalies.

    As a model it returns what samples are expected to be, taken as noisy ones of the first of ``levels``.

    Args:
        shape: ``(num_elements,)``, of a sample in model space; of a table.
        width: Units of the hidden layers.
        levels: Deviations of the noise that the score is taken at.
        **options: As for every Keras model.

    Raises:
        ValueError: If the shape is not that of a row of a table.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(64, 1)) * np.ones(3)  # Three equal columns.
        >>> denoiser = Denoiser((3,))
        >>> denoiser.adapt(x)
        >>> denoiser.compile("adam", SquaredError())
        >>> history = denoiser.fit(x, x, verbose=0)
        >>> denoiser.adapt_score(x)
        >>> denoiser.score_elements(x).shape
        TensorShape([64, 3])

    Reference:
        Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders, ICML 2008. Livernoche et
        al., On Diffusion Modeling for Anomaly Detection, ICLR 2024, whose protocol it was chosen by.
    """

    def __init__(
        self, shape: Sequence[int], *, width: int = 128, levels: Sequence[float] = (0.5, 1.0, 2.0), **options: Any
    ) -> None:
        if len(shape) != 1:
            raise ValueError(
                f"shape: expected (num_elements,), that of a row of a table; received {tuple(shape)}. Of images and "
                "windows, take tfae.models.convolutional, whose loss is the score."
            )
        super().__init__(**{"dtype": "float32", **options})  # Small, and full of squares that float16 does not hold.
        self.width, self.levels = width, list(levels)
        (self.num_elements,) = shape
        widths = [width, width, 2 * self.num_elements, width, width]
        self.views = [DenoisingView(widths, levels, is_whitened=False, name="standardised", dtype="float32")]
        if 1 < self.num_elements <= _MOST_WHITENED:
            self.views.append(DenoisingView(widths, levels, is_whitened=True, name="whitened", dtype="float32"))
        self.build((None, self.num_elements))

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create the weights."""
        for view in self.views:
            if not view.built:
                view.build(shape)
                view.built = True
        super().build(shape)

    def call(self, x: tf.Tensor, training: bool = False, as_scores: bool = False) -> tf.Tensor:
        """Return reconstructions, in training those of corrupted samples; or what each element adds to the score."""
        if as_scores:
            return self._score(x)
        first, *others = self.views
        x = self._fill(x)
        u = first.project(x)
        if not training:
            return first.unproject(first.restore(u, ops.full_like(u[:, :1], self.levels[0])))
        for view in others:
            coordinates = view.project(x)
            squares = (coordinates - view.restore_corrupted(coordinates)) ** 2
            self.add_loss(ops.mean(ops.sum(squares, axis=-1)))
        return first.unproject(first.restore_corrupted(u))

    def score_elements(self, x: Any) -> tf.Tensor:
        """Return what each element adds to the score of samples, float32 ``(batch, num_elements)``.

        Args:
            x: Samples in model space, ``(batch, num_elements)``. Gaps, NaN, add nothing, and the others more; a sample
                with some is scored by the first view alone.
        """
        return self(x, training=False, as_scores=True)

    def adapt(self, data: Any) -> None:
        """Set offsets, scales and axes by training samples, before training.

        Args:
            data: Samples in model space, ``(n, num_elements)``, or batches ``(x, x)`` of them, such as ``data.train``.
                Gaps, NaN, count for nothing.
        """
        x = _gather(data)
        x = np.where(np.isnan(x), np.nanmean(x, axis=0), x)
        for view in self.views:
            view.adapt(x)

    def adapt_score(self, data: Any, held_out: Any = None) -> None:
        """Set what scores are relative to, after training.

        Args:
            data: Training samples, as of ``adapt``, that elements are weighed by.
            held_out: Others, likewise, that say how the scores of each view are distributed: those of training samples
                are lower, the more a view has learned by heart. By default the training samples.
        """
        x = _draw(data)
        for view in self.views:
            parts = _split(x)
            losses = np.concatenate([self._level_losses(view, part) for part in parts], axis=1).astype("float64")
            present = ~np.isnan(x)
            means = losses.sum(axis=1) / np.maximum(present.sum(axis=0), 1)
            view.weight.assign(1 / np.sqrt(means + _LEAST_LOSS))
            parts = parts if held_out is None else _split(_draw(held_out))
            logs = np.log(np.concatenate([np.sum(self._weigh(view, part), axis=1) for part in parts]) + _TINY)
            view.log_mean.assign(logs.mean())
            view.log_deviation.assign(max(logs.std(), LEAST_DEVIATION))

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal model."""
        return {"name": self.name, "shape": [self.num_elements], "width": self.width, "levels": self.levels}

    def _fill(self, x: tf.Tensor) -> tf.Tensor:
        """``x`` with means in its gaps."""
        return ops.where(ops.isnan(x), self.views[0].offset, x)

    def _level_losses(self, view: DenoisingView, x: tf.Tensor, weight: Any = None) -> tf.Tensor:
        """Mean loss over fixed noise of each level and coordinate: ``(num_levels, batch, num_elements)``; 0 in gaps.

        With weights of these, ``(num_levels, num_elements)``, it is the weighted losses of elements.
        """
        u = view.project(self._fill(x))
        restored = view.restore_levels(u)
        shape = (len(self.levels), view.noise.shape[0], -1, self.num_elements)
        if view.is_whitened:
            errors = ops.expand_dims(u, (0, 1)) - ops.reshape(restored, shape)
            if weight is not None:  # The error is a vector, and as long in the axes of the elements.
                errors = ops.matmul(errors * ops.sqrt(ops.expand_dims(weight, (1, 2))), ops.transpose(view.axes))
            return ops.mean(errors**2, axis=1)
        loss = getattr(self, "loss", None)
        loss = loss if isinstance(loss, ReconstructionLoss) else SquaredError()
        losses = loss.per_element(ops.tile(x, (shape[0] * shape[1], 1)), view.unproject(restored))
        losses = ops.mean(ops.reshape(ops.cast(losses, x.dtype), shape), axis=1)
        return losses if weight is None else losses * ops.expand_dims(weight, 1)

    def _weigh(self, view: DenoisingView, x: tf.Tensor) -> tf.Tensor:
        """Weighted losses of the elements of x, ``(batch, num_elements)``, in which those of gaps are made up for."""
        elements = ops.sum(self._level_losses(view, x, view.weight), axis=0)
        expected = ops.sum(1 / view.weight - _LEAST_LOSS * view.weight, axis=0)
        present = ops.sum(ops.where(ops.isnan(x), ops.zeros_like(x), expected), axis=-1, keepdims=True)
        return elements * ops.sum(expected) / ops.maximum(present, _TINY)

    def _score(self, x: tf.Tensor) -> tf.Tensor:
        first, *others = self.views
        x = ops.clip(x, first.offset - _FURTHEST * first.scale, first.offset + _FURTHEST * first.scale)
        distance, elements = self._distance(first, x)
        has_gaps = ops.any(ops.isnan(x), axis=-1, keepdims=True)
        for view in others:
            other_distance, other_elements = self._distance(view, x)
            is_further = ops.logical_and(other_distance > distance, ops.logical_not(has_gaps))
            distance = ops.where(is_further, other_distance, distance)
            elements = ops.where(is_further, other_elements, elements)
        score = ops.exp(ops.minimum(first.log_mean + first.log_deviation * distance, _LARGEST))
        return score * (elements / ops.maximum(ops.sum(elements, axis=-1, keepdims=True), _TINY))

    def _distance(self, view: DenoisingView, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """How far the score of a view is above the training samples, in deviations of logarithms; and its elements."""
        elements = self._weigh(view, x)
        logs = ops.log(ops.sum(elements, axis=-1, keepdims=True) + _TINY)
        return (logs - view.log_mean) / view.log_deviation, elements


def denoiser(data: Any, **options: Any) -> Denoiser:
    """Return a :class:`Denoiser` of the rows of a table, adapted to its training split.

    Args:
        data: What ``tfae.datasets.load`` returns.
        **options: As of :class:`Denoiser`.
    """
    model = Denoiser(data.shape, **options)
    model.adapt(data.train_from(0))
    return model


def _draw(data: Any) -> np.ndarray:
    """Some samples, float32 ``(n, num_elements)``."""
    x = _gather(data).astype("float32")
    return x[np.random.RandomState(0).permutation(len(x))[:_NUM_SCORED]]


def _split(x: np.ndarray) -> list[tf.Tensor]:
    return [ops.convert_to_tensor(part) for part in np.array_split(x, -(-len(x) // 256))]


def _gather(data: Any) -> np.ndarray:
    """Samples in model space, float64 ``(n, num_elements)``: the first ones of many."""
    if isinstance(data, tf.data.Dataset):
        data = next(iter(data.rebatch(_NUM_ADAPTED)))[1]
    return np.asarray(data, "float64")[:_NUM_ADAPTED]
