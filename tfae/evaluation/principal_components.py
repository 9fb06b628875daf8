"""Principal components of a data set that stays out of memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg
import tensorflow as tf

from tfae.moments import Moments

#: Elements up to which the covariance is formed and decomposed, 8 MiB in float64: exact, and in one pass.
MAX_WIDTH = 1024

#: Directions that are iterated beyond those asked for; passes over the data at most; and the share of what the
#: components leave, by which a pass has to improve on the one before for another one to follow.
_NUM_MORE, _MAX_PASSES, _LEAST_GAIN = 32, 30, 1e-4


def principal_components(dataset: tf.data.Dataset, moments: Moments, num_components: int) -> np.ndarray:
    """The directions of largest variance: exact up to ``MAX_WIDTH`` elements, and by subspace iteration beyond.

    Each pass of the iteration multiplies a random basis Q by the scatter matrix, Σ (x − mean)(x − mean)ᵀ Q, without
    forming it, so that the leading directions outgrow the others; the basis is then made orthonormal again. Memory is
    that of a few times Q, and the time of a pass grows with the number of elements, not with its square. It ends when
    a pass no longer takes away 10⁻⁴ of what the components leave.

    Args:
        dataset: Batches ``(x, x)``, float ``(batch, ...)``.
        moments: Of all its samples.
        num_components: At most the number of elements.

    Returns:
        float64 ``(num_components, num_elements)``, orthonormal rows, the direction of largest variance first.

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
        yield (rows / largest).astype("float32")


def _leading(symmetric: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues, descending, and as many eigenvectors as rows."""
    width = len(symmetric)
    values, vectors = scipy.linalg.eigh((symmetric + symmetric.T) / 2, subset_by_index=(width - num, width - 1))
    return values[::-1], vectors[:, ::-1].T
