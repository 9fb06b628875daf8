"""Samples beside their reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from matplotlib.figure import Figure

from tfae.losses import get_loss
from tfae.plots.images import draw_images, image_axes
from tfae.plots.panels import draw_feature, draw_lines, draw_points, panel_axes


def reconstructions(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    *,
    num_samples: int = 8,
    axes: npt.ArrayLike | None = None,
    feature_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Show samples beside their reconstructions, and where the two differ.

    Images, of rank 3 with channels last, get a column each: original, reconstruction, and |x − x̂| averaged over
    channels, on one scale for all. Originals and reconstructions are drawn on the scale of the originals: [0, 1] or
    [−1, 1] where the data is within, else what it spans, per channel. Images of 1, 3 or 4 channels are shown as
    gray, RGB and RGBA, others averaged over channels. Sequences, ``(time, channels)``, get a line plot each, with
    the difference shaded. Rows of a table get a panel each, with a dot for the original and a ring for the
    reconstruction of every feature; a table of one feature is a single panel over the samples. All is in model
    space, and every sample's title is its loss, under ``autoencoder.loss``.

    Args:
        autoencoder: Model compiled with a loss of :mod:`tfae.losses`.
        dataset: Batches ``(x, x)`` in model space, such as ``data.test``; the first samples are shown.
        num_samples: How many samples to show at most.
        axes: Axes to draw into, ``(3, num_samples)`` for images and ``num_samples`` in any shape for others; a
            single one is enough for a table of one feature. What is not needed is turned off. A new figure by
            default, on which more than ten images go on in three rows below.
        feature_names: Names of the columns of a table, such as ``data.feature_names``; up to twenty are written.

    Returns:
        Array of the Axes in use, with n samples shown: ``(3, n)`` for images, in whatever rows the figure has them,
        ``(1,)`` for a table of one feature, and ``(n,)`` for others.

    Raises:
        ValueError: If the model's loss is not of :mod:`tfae.losses`, the data set is empty, or there are not
            as many Axes or feature names as there should be.

    Example:
        >>> from tfae.losses import SquaredError
        >>> halves = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(0.5)])
        >>> halves.compile(loss=SquaredError())
        >>> dataset = tf.data.Dataset.from_tensors(([[1.0, 1.0]], [[1.0, 1.0]]))
        >>> axes = reconstructions(halves, dataset, num_samples=1, axes=Figure().subplots())
        >>> axes[0].get_title(loc="left")
        'loss 0.5'
    """
    loss = get_loss(autoencoder)
    if num_samples < 1:
        raise ValueError(f"num_samples: expected 1 or more; received {num_samples}.")
    inputs, x = _first(dataset, num_samples)
    output = autoencoder(inputs, training=False)
    losses = loss.per_sample(x, output).numpy()
    reconstruction = loss.reconstruction(output).numpy()
    names = _checked_names(feature_names, x)
    columns = len(x)
    if axes is None:
        from matplotlib import pyplot as plt

        used, columns = _new_axes(x, plt.figure, names)
    else:
        used = _given_axes(np.asarray(axes, object), x, num_samples)
    return _draw(
        x,
        reconstruction,
        losses,
        used,
        space="model",
        score_name="loss",
        value_range=None,
        columns=columns,
        feature_names=names,
    )


def reconstruction_figure(
    x: npt.ArrayLike,
    reconstruction: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    value_range: tuple[float, float] | None = None,
    score_name: str = "score",
    feature_names: Sequence[str] | None = None,
) -> Figure:
    """Show given samples, reconstructions and scores, as :func:`reconstructions` does, on a figure without pyplot.

    All is in data space. As the features of a table may be of unlike size there, each is on its own scale, from the
    lowest to the highest of the originals shown; an arrow stands for a reconstruction more than half that range
    outside. Where the originals are all the same, differences are relative to their magnitude, if that is not 0.

    Args:
        x: Samples in data space, ``(num_samples, ...)``.
        reconstruction: Their reconstructions in the same space, of the same shape.
        scores: ``(num_samples,)``, each in the title of its sample, such as their losses (in model space).
        value_range: ``(low, high)``, the values that are black and white in images, such as ``data.value_range`` in
            data space; by default (0, 255) for uint8, else what :func:`reconstructions` takes.
        score_name: What the titles call it, such as "loss, nats".
        feature_names: Names of the columns of a table, such as ``data.feature_names``; up to twenty are written.

    Returns:
        The figure, to be saved with ``savefig``.

    Raises:
        ValueError: If there are no samples, the shapes differ, or there are not as many names as features.

    Example:
        >>> figure = reconstruction_figure([[1, 2, 3]], [[1, 2, 2]], [1.0])
        >>> figure.axes[0].get_title(loc="left")
        'score 1'
    """
    x, reconstruction, scores = np.asarray(x), np.asarray(reconstruction), np.asarray(scores)
    if not len(x) or x.shape != reconstruction.shape or scores.shape != x.shape[:1]:
        raise ValueError(
            "x: expected at least one sample, reconstructions of the same shape and a score for each; received x of "
            f"shape {x.shape}, reconstruction of shape {reconstruction.shape}, scores of shape {scores.shape}."
        )
    names = _checked_names(feature_names, x)
    axes, columns = _new_axes(x, Figure, names)
    if value_range is None and x.dtype == np.uint8:
        value_range = (0, 255)
    _draw(
        x,
        reconstruction,
        scores,
        axes,
        space="data",
        score_name=score_name,
        value_range=value_range,
        columns=columns,
        feature_names=names,
    )
    return axes.flat[0].figure


def _first(dataset: tf.data.Dataset, num_samples: int) -> tuple[tf.Tensor, np.ndarray]:
    """The first samples, as the model's input and as what its output is compared with."""
    if not isinstance(dataset.element_spec, tuple) or len(dataset.element_spec) != 2:
        raise ValueError(f"dataset: expected batches (x, x); received {dataset.element_spec}.")
    for inputs, x in dataset.rebatch(num_samples).take(1):
        return inputs, x.numpy()
    raise ValueError("dataset: expected at least one sample; received an empty data set.")


def _given_axes(axes: np.ndarray, x: np.ndarray, num_samples: int) -> np.ndarray:
    """The Axes in use of those given; the others are turned off."""
    if x.ndim == 4:
        expected: tuple[int, ...] = (3, num_samples)
        if axes.shape == (3,) and num_samples == 1:  # what subplots(3, 1) returns
            axes = axes[:, None]
    else:
        axes = axes.ravel()
        expected = (1,) if x.shape[1:] == (1,) and axes.size == 1 else (num_samples,)
    if axes.shape != expected:
        raise ValueError(f"axes: expected shape {expected} for num_samples={num_samples}; received {axes.shape}.")
    used = 1 if x.shape[1:] == (1,) else len(x)
    for ax in axes[..., used:].flat:
        ax.set_axis_off()
    return axes[..., :used]


def _new_axes(x: np.ndarray, new_figure: Callable[..., Figure], names: Sequence[str] | None) -> tuple[np.ndarray, int]:
    """Axes on a new figure, and how many columns of images go side by side."""
    if x.ndim == 4:
        return image_axes(len(x), x.shape[1:], new_figure)
    return panel_axes(len(x), x.shape[1:], new_figure, names), len(x)


def _checked_names(feature_names: Sequence[str] | None, x: np.ndarray) -> list[str] | None:
    if feature_names is None or x.ndim != 2:
        return None
    if len(feature_names) != x.shape[1]:
        raise ValueError(
            f"feature_names: expected {x.shape[1]}, one per feature; received {len(feature_names)}. "
            "Pass data.feature_names or None."
        )
    return [str(name) for name in feature_names]


def _draw(
    x: np.ndarray,
    reconstruction: np.ndarray,
    scores: np.ndarray,
    axes: np.ndarray,
    *,
    space: str,
    score_name: str,
    value_range: tuple[float, float] | None,
    columns: int,
    feature_names: Sequence[str] | None,
) -> np.ndarray:
    titles = [f"{score_name} {score:.4g}" for score in scores]
    x, reconstruction = x.astype("float64"), reconstruction.astype("float64")
    if x.ndim == 4:
        draw_images(x, reconstruction, titles, axes, space=space, value_range=value_range, columns=columns)
    elif x.shape[1:] == (1,):
        title = titles[0] if len(x) == 1 else f"{score_name} {scores.min():.4g} to {scores.max():.4g}"
        draw_feature(x, reconstruction, title, axes[0], space=space, feature_names=feature_names)
    elif x.ndim == 2:
        draw_points(x, reconstruction, titles, axes, space=space, feature_names=feature_names)
    else:
        draw_lines(x, reconstruction, titles, axes)
    return axes
