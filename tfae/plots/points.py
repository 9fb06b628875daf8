"""Codes as points of a plane."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from matplotlib.axes import Axes
from sklearn.decomposition import PCA

from tfae.plots.figures import new_axes
from tfae.plots.labels import COLORS, are_classes, checked_labels, classes_of


def embedding(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    *,
    labels: npt.ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Scatter the codes that the sub-model "encoder" gives the samples.

    Codes of two dimensions are drawn as they are, those of one along a line with a row per class, and those
    of more as their first two principal components, with the share of the variance that each explains.

    Args:
        autoencoder: Model with a layer "encoder" that is a model itself.
        dataset: Batches ``(x, x)`` in model space, in the order of ``labels``, such as ``data.test``.
        labels: ``(num_samples,)``, such as ``data.labels.test``. Up to ten classes get a colour each; of more
            names the ten most frequent do. Fractions, and more than ten numbers, are on a continuous scale.
        ax: Axes to draw into. A new figure by default.

    Returns:
        The Axes.

    Raises:
        ValueError: If there is no encoder, its codes are not finite, the data set is empty or has a single sample,
            or ``labels`` has another length.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from tfae.models import dense
        >>> dataset = tf.data.Dataset.from_tensors((np.eye(4), np.eye(4)))
        >>> ax = embedding(dense((4,), latent_dim=2), dataset, labels=list("abba"), ax=Figure().subplots())
        >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
        ('embedding 1', ['a', 'b'])
    """
    names = [layer.name for layer in autoencoder.layers]
    if "encoder" not in names:
        raise ValueError(f'autoencoder: expected a sub-model named "encoder"; received layers {names}.')
    encoder = autoencoder.get_layer("encoder")
    codes = [encoder(inputs, training=False).numpy() for inputs, _ in dataset]
    if sum(map(len, codes)) < 2:
        raise ValueError("dataset: expected two samples or more; received fewer.")
    code = np.concatenate(codes).reshape(sum(map(len, codes)), -1)
    if not np.isfinite(code).all():
        raise ValueError("autoencoder: expected finite codes; received NaN or infinite ones. Has training diverged?")
    labels = checked_labels(labels, len(code))
    x, y, xlabel, ylabel = _plane(code)
    strip = code.shape[1] == 1
    classes: list[tuple[str, np.ndarray, str, str]] = []
    style: dict[str, Any] = {"linewidths": 0, "rasterized": len(code) > 5000}  # else a PDF holds every point
    ax = new_axes((6, 5)) if ax is None else ax
    if labels is None:
        ax.scatter(x, y, 16, COLORS[0], **style)
    elif are_classes(labels):
        classes = classes_of(labels)
        for row, (name, members, color, marker) in enumerate(classes):
            ax.scatter(x[members], y[members] + row * strip, 16, color, marker=marker, label=name, **style)
    else:
        scatter = ax.scatter(x, y, 16, labels.astype("float64"), cmap="viridis", **style)
        ax.figure.colorbar(scatter, ax=ax, label="label")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    if strip:
        ax.set_yticks(range(len(classes)), [name for name, *_ in classes])
        ax.spines["left"].set_visible(bool(classes))
    else:
        ax.set_aspect("equal", adjustable="datalim")
        if classes:
            ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, markerscale=1.5)
    return ax


def _plane(code: np.ndarray) -> tuple[np.ndarray, np.ndarray, str, str]:
    """Coordinates in the plane that shows a code best, and the names of the axes."""
    if code.shape[1] == 1:
        # Spread at random, the same each time, so that samples of one code do not hide each other.
        return code[:, 0], np.random.default_rng(0).uniform(-0.35, 0.35, len(code)), "embedding", ""
    if code.shape[1] == 2:
        return code[:, 0], code[:, 1], "embedding 1", "embedding 2"
    with np.errstate(invalid="ignore"):  # a constant code has no variance to explain: 0 / 0
        pca = PCA(2, random_state=0).fit(code.astype("float64"))
    x, y = pca.transform(code).T
    shares = np.nan_to_num(pca.explained_variance_ratio_)
    first, second = (f"principal component {i} ({share:.0%} of the variance)" for i, share in enumerate(shares, 1))
    return x, y, first, second
