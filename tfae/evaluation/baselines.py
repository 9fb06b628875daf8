"""What trivial models reconstruct: a constant, and the projection on principal components."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg
import tensorflow as tf

from tfae.losses import ReconstructionLoss
from tfae.losses.constants import moments_of
from tfae.moments import Moments

#: How far from 0 and 1 the linear baseline may be kept under cross-entropy, as from asymptotes of other losses, and how
#: many samples of the training split choose that one number.
_MARGINS, _NUM_CHOOSING = (0.0, 1e-4, 1e-3, 1e-2, 1e-1), 10_000

#: Share of a loss that may be rounding of float32, in sums over elements and in products with the components.
ROUNDING = 1e-5

#: Elements up to which the covariance is formed and decomposed, 8 MiB in float64: exact, and in one pass.
MAX_WIDTH = 1024

#: Directions that are iterated beyond those asked for; passes over the data at most; and the share of what the
#: components leave, by which a pass has to improve on the one before for another one to follow.
_NUM_MORE, _MAX_PASSES, _LEAST_GAIN = 32, 30, 1e-4


@dataclasses.dataclass(frozen=True)
class Baselines:
    """Trivial models, fitted on a training split."""

    #: Mean of the samples, float32 of the shape of one.
    mean: np.ndarray
    #: The reconstruction that, given to all samples, has the least loss; float32 of the shape of one sample.
    constant: np.ndarray
    #: float32 ``(latent_dim, num_elements)``, or why there is no linear baseline.
    components: np.ndarray | str
    #: What the linear baseline is clipped to: two numbers, or arrays of the shape of one sample.
    interval: tuple[Any, Any]

    def linear(self, x: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
        """What PCA reconstructs of samples ``(batch, ...)``, with means for what a mask leaves out; float32 alike."""
        centred = tf.cast(x, "float32") - self.mean
        if mask is not None:
            centred = tf.where(mask, centred, 0.0)
        centred = tf.reshape(centred, (-1, self.mean.size))
        projected = tf.matmul(tf.matmul(centred, self.components, transpose_b=True), self.components)
        return tf.clip_by_value(self.mean + tf.reshape(projected, tf.shape(x)), *self.interval)


def fit(
    train: tf.data.Dataset,
    loss: ReconstructionLoss,
    shape: tuple[int, ...],
    *,
    latent_dim: int | None,
    interval: tuple[float, float] | None,
) -> Baselines:
    """Fit the constant and PCA, in passes over the training split and in bounded memory.

    Under cross-entropy, PCA's reconstruction is read as probabilities. Clipped to exactly 0 and 1, it would lose 87
    nats wherever it is out of range and the sample is not at that end, and every model would win against it:
    its distance from 0 and 1 is the one, of five between 0 and 0.1, that has the least loss on the training split. So
    it is with the ``asymptotes`` of other losses, such as a rate of 0. Otherwise it is clipped into ``interval``, by
    default what the training split spans.
    """
    num_elements = math.prod(shape)
    moments = moments_of(train)
    components: np.ndarray | str
    if latent_dim is None:
        components = 'latent_dim is unknown without a sub-model "encoder"'
    elif latent_dim >= num_elements:
        components = f"{latent_dim:,} components of {num_elements:,} elements reconstruct everything"
    elif latent_dim >= moments.count:
        components = (
            f"the {moments.count:,} samples of the training split span at most {moments.count - 1:,} directions, fewer "
            f"than {latent_dim:,} components"
        )
    else:
        components = principal_components(train, moments, latent_dim).astype("float32")
    low, high = interval or (float(moments.low.min()), float(moments.high.max()))
    if loss.domain:
        low, high = max(low, loss.domain[0]), min(high, loss.domain[1])
    baselines = Baselines(
        mean=moments.mean.astype("float32").reshape(shape),
        constant=loss.best_constant(train, moments=moments).astype("float32"),
        components=components,
        interval=(low, high),
    )
    can_be_clipped_wrongly = np.isfinite(loss.asymptotes).any() and not isinstance(components, str)
    return _with_best_margin(baselines, train, loss) if can_be_clipped_wrongly else baselines


def _with_best_margin(baselines: Baselines, train: tf.data.Dataset, loss: ReconstructionLoss) -> Baselines:
    readable = loss.on_reconstructions()
    low, high = baselines.interval
    bottom, top = loss.asymptotes
    intervals = [(np.maximum(low, bottom + margin), np.minimum(high, top - margin)) for margin in _MARGINS]
    totals, num_samples = np.zeros(len(intervals)), 0
    for _, x in train:
        reconstruction = baselines.linear(x, tf.logical_not(tf.math.is_nan(x)))
        clipped = [tf.clip_by_value(reconstruction, *interval) for interval in intervals]
        totals += [float(tf.reduce_sum(readable.per_sample(x, one))) for one in clipped]
        num_samples += len(x)
        if num_samples >= _NUM_CHOOSING:
            break
    return dataclasses.replace(baselines, interval=intervals[int(totals.argmin())])


def principal_components(dataset: tf.data.Dataset, moments: Moments, num_components: int) -> np.ndarray:
    """The directions of largest variance: exact up to ``MAX_WIDTH`` elements, and by subspace iteration beyond.

    Each pass of the iteration multiplies a random basis Q by the scatter matrix, Σ (x − mean)(x − mean)ᵀ Q, without
    forming it, so that the leading directions outgrow the others; the basis is then made orthonormal again. It ends
    when a pass no longer takes away 10⁻⁴ of what the components leave.
    Returns float64 ``(num_components, num_elements)``, orthonormal rows, the direction of largest variance first.

    Reference:
        Halko, Martinsson, Tropp, "Finding structure with randomness: probabilistic algorithms for constructing
        approximate matrix decompositions" (2011), algorithm 4.4.
    """
    width = len(moments.mean)
    if width <= MAX_WIDTH:
        scatter = np.zeros((width, width))
        for rows in _centred(dataset, moments):
            scatter += rows.T @ rows
        return _leading(scatter, num_components)[1]
    basis = np.random.default_rng(0).normal(size=(width, min(width, num_components + _NUM_MORE)))
    captured = 0.0
    for _ in range(_MAX_PASSES):
        basis, _ = np.linalg.qr(basis)
        basis_float32 = basis.astype("float32")
        product, total = np.zeros_like(basis), 0.0
        for rows in _centred(dataset, moments):
            product += rows.T @ (rows @ basis_float32)
            total += float(np.square(rows).sum(dtype="float64"))
        # Within the span of the basis, the directions of largest variance.
        variances, within = _leading(basis.T @ product, num_components)
        components = within @ basis.T
        before, captured = captured, float(variances.sum())
        if captured - before <= _LEAST_GAIN * (total - captured):
            break
        basis = product
    return components


def _centred(dataset: tf.data.Dataset, moments: Moments) -> Iterator[np.ndarray]:
    """Rows less their mean, float32 ``(n, num_elements)``, scaled so that their squares are at most 1."""
    largest = float(np.maximum(moments.high - moments.mean, moments.mean - moments.low).max()) or 1.0
    for _, x in dataset:
        rows = x.numpy().reshape(-1, len(moments.mean)) - moments.mean
        rows[np.isnan(rows)] = 0  # Gaps are at the mean.
        yield (rows / largest).astype("float32")


def _leading(symmetric: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues, descending, and as many eigenvectors as rows."""
    width = len(symmetric)
    values, vectors = scipy.linalg.eigh((symmetric + symmetric.T) / 2, subset_by_index=(width - num, width - 1))
    return values[::-1], vectors[:, ::-1].T
