"""Latents as points of a plane."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle

from tfae.models.structure import find_encoder
from tfae.plots.style import (
    COLORS,
    OTHERS,
    are_classes,
    are_names_of_samples,
    classes_of,
    prepare_axes,
    validate_labels,
)


def latents(
    autoencoder: keras.Model, dataset: tf.data.Dataset, *, labels: npt.ArrayLike | None = None, ax: Axes | None = None
) -> Axes:
    """Scatter the latents that the sub-model "encoder" gives the samples.

    Latents of two dimensions are drawn as they are, those of one along a line with a row per class, and those of more
    as their first two principal components, with the share of the variance that each explains. Both axes are on one
    scale unless the latents spread much further along one than along the other.

    Args:
        autoencoder: A built model that has a sub-model "encoder"; see :func:`tfae.models.structure.find_encoder`.
        dataset: Batches ``(x, x)`` in model space, in the order of ``labels``, such as ``data.test``.
        labels: ``(num_samples,)``, such as ``data.labels.test``. Up to ten classes get a colour each; of more
            names the ten most frequent do, or none where most samples have a name of their own. Fractions, and
            more than ten numbers, are on a continuous scale.
        ax: Axes to draw into, and to return. A new figure by default.

    Raises:
        ValueError: If there is no encoder, its latents are not finite, the data set is empty or has a single sample,
            or ``labels`` has another length.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from tfae.models import dense
        >>> dataset = tf.data.Dataset.from_tensors((np.eye(4), np.eye(4)))
        >>> ax = latents(dense((4,), latent_dim=2), dataset, labels=list("abba"), ax=Figure().subplots())
        >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
        ('latent 1', ['a', 'b'])
    """
    encoder = find_encoder(autoencoder, tuple(dataset.element_spec[0].shape[1:]))
    if isinstance(encoder, str):
        raise ValueError(
            f'autoencoder: expected a sub-model "encoder" that emits the latent; received none: {encoder}.'
        )
    parts = [encoder(inputs, training=False).numpy() for inputs, *_ in dataset]
    if sum(map(len, parts)) < 2:
        raise ValueError("dataset: expected two samples or more; received fewer.")
    latent = np.concatenate(parts)
    latent = latent.reshape(len(latent), -1)
    if not np.isfinite(latent).all():
        raise ValueError("autoencoder: expected finite latents; received NaN or infinite ones. Has training diverged?")
    labels = validate_labels(labels, len(latent))
    x, y, xlabel, ylabel = _plane(latent)
    strip = latent.shape[1] == 1
    classes: list[tuple[str, np.ndarray, str, str]] = []
    # Smaller and fainter, the more there are, so that points below others show.
    size, alpha = max(5, 36 * min(1, 300 / len(latent)) ** 0.5), max(0.5, min(1, 500 / len(latent)) ** 0.25)
    style: dict[str, Any] = {"linewidths": 0, "alpha": alpha, "rasterized": len(latent) > 5000}  # else a PDF holds all
    # In a shuffled order, the same each time: drawn class by class, the last class would hide the others.
    order = np.random.default_rng(0).permutation(len(latent))
    ax = prepare_axes(ax, (6, 5))
    if labels is None or (are_classes(labels) and are_names_of_samples(labels)):
        ax.scatter(x[order], y[order], size, COLORS[0], **style)
    elif are_classes(labels):
        classes = classes_of(labels)
        members = np.argmax([members for _, members, _, _ in classes], 0)
        if strip:
            y = y + members
        colors, markers = (np.array(column)[members[order]] for column in list(zip(*classes, strict=True))[2:])
        scatter = ax.scatter(x[order], y[order], size, colors, **style)
        shapes = {marker: MarkerStyle(marker) for marker in set(markers)}
        paths = {marker: shape.get_path().transformed(shape.get_transform()) for marker, shape in shapes.items()}
        scatter.set_paths([paths[marker] for marker in markers])  # scatter itself takes a single marker
    else:
        values = labels.astype("float64")[order]
        colors = colormaps["viridis"].with_extremes(bad=OTHERS)  # of missing ones
        scatter = ax.scatter(x[order], y[order], size, values, cmap=colors, plotnonfinite=True, **style)
        # Of opaque colours: the bar of the points themselves would be as faint as they are.
        ax.figure.colorbar(ScalarMappable(scatter.norm, scatter.cmap), ax=ax, label="label")
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if strip:
        ax.set_yticks(range(len(classes)), [name for name, *_ in classes])
        ax.spines["left"].set_visible(bool(classes))
    else:
        short, long = sorted((np.ptp(x), np.ptp(y)))
        if long <= 1.5 * short:  # else equal scales would leave much of the page empty
            ax.set_aspect("equal", adjustable="datalim")
        if classes:
            key = [
                Line2D([], [], color=color, marker=marker, linestyle="", markersize=6, markeredgewidth=0, label=name)
                for name, _, color, marker in classes
            ]
            ax.legend(handles=key, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return ax


def _plane(latent: np.ndarray) -> tuple[np.ndarray, np.ndarray, str, str]:
    """Return the coordinates in the plane that shows latents best, and the names of the axes."""
    if latent.shape[1] == 1:
        # Spread at random, the same each time, so that samples of one latent do not hide each other.
        return latent[:, 0], np.random.default_rng(0).uniform(-0.35, 0.35, len(latent)), "latent", ""
    if latent.shape[1] == 2:
        return latent[:, 0], latent[:, 1], "latent 1", "latent 2"
    from sklearn.decomposition import PCA  # It takes a second to import.

    pca = PCA(2, random_state=0)
    with np.errstate(invalid="ignore"):  # A constant latent has no variance to explain: 0 / 0.
        x, y = pca.fit_transform(latent.astype("float64")).T
    shares = enumerate(np.nan_to_num(pca.explained_variance_ratio_), 1)
    first, second = (f"principal component {i} ({share:.0%} of the variance)" for i, share in shares)
    return x, y, first, second
