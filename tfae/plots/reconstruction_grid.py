"""Samples beside their reconstructions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfae.losses import loss_of
from tfae.plots.figures import BRIGHT, DARK

_ERRORS = "magma_r"  # perceptually uniform; no error is light, which spares ink
_SMALL = 8  # points, of titles and labels


def reconstructions(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    *,
    num_samples: int = 8,
    axes: npt.ArrayLike | None = None,
) -> np.ndarray:
    """Show samples beside their reconstructions, and where the two differ.

    Images, of rank 3 with channels last, get a column each: original, reconstruction, and |x − x̂| averaged over
    channels, on one scale for all. Originals and reconstructions are drawn on the scale of the originals: [0, 1] or
    [−1, 1] where the data is within, else what it spans, per channel. Images of 1, 3 or 4 channels are shown as
    gray, RGB and RGBA, others averaged over channels. Sequences, ``(time, channels)``, and tables get a line plot
    each, with the difference shaded. Every sample's title is its loss, under ``autoencoder.loss``.

    Args:
        autoencoder: Model compiled with a loss of :mod:`tfae.losses`.
        dataset: Batches ``(x, x)`` in model space, such as ``data.test``; the first samples are shown.
        num_samples: How many samples to show at most.
        axes: Axes to draw into, ``(3, num_samples)`` for images and ``num_samples`` in any shape for others;
            what the data set has no samples for is turned off. A new figure by default.

    Returns:
        Array of the Axes in use, ``(3, n)`` for images and ``(n,)`` for others, with n samples shown.

    Raises:
        ValueError: If the model's loss is not of :mod:`tfae.losses`, the data set is empty, or there are not
            as many Axes as there should be.

    Example:
        >>> from tfae.losses import SquaredError
        >>> halves = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(0.5)])
        >>> halves.compile(loss=SquaredError())
        >>> dataset = tf.data.Dataset.from_tensors(([[1.0, 1.0]], [[1.0, 1.0]]))
        >>> axes = reconstructions(halves, dataset, num_samples=1, axes=Figure().subplots())
        >>> axes[0].get_title(loc="left")
        'loss 0.5'
    """
    loss = loss_of(autoencoder)
    if num_samples < 1:
        raise ValueError(f"num_samples: expected 1 or more; received {num_samples}.")
    inputs, x = _first(dataset, num_samples)
    output = autoencoder(inputs, training=False)
    losses = loss.per_sample(x, output).numpy()
    reconstruction = loss.reconstruction(output).numpy()
    if axes is None:
        from matplotlib import pyplot as plt

        return _draw(x, reconstruction, losses, "loss", None, _grid(x, plt.figure))
    axes = np.asarray(axes, object)
    if x.ndim == 4:
        expected: tuple[int, ...] = (3, num_samples)
        if axes.shape == (3,) and num_samples == 1:  # what subplots(3, 1) returns
            axes = axes[:, None]
    else:
        expected = (num_samples,)
        axes = axes.ravel()
    if axes.shape != expected:
        raise ValueError(f"axes: expected shape {expected} for num_samples={num_samples}; received {axes.shape}.")
    for ax in axes[..., len(x) :].flat:
        ax.set_axis_off()
    return _draw(x, reconstruction, losses, "loss", None, axes[..., : len(x)])


def reconstruction_figure(
    x: npt.ArrayLike,
    reconstruction: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    value_range: tuple[float, float] | None = None,
    score_name: str = "score",
) -> Figure:
    """Show given samples, reconstructions and scores, as :func:`reconstructions` does, on a figure without pyplot.

    Args:
        x: Samples in data space or model space, ``(num_samples, ...)``.
        reconstruction: Their reconstructions in the same space, of the same shape.
        scores: ``(num_samples,)``, each in the title of its sample.
        value_range: ``(low, high)``, the values that are black and white in images, such as ``data.value_range`` in
            data space; by default (0, 255) for uint8, else what :func:`reconstructions` takes.
        score_name: What the titles call it.

    Returns:
        The figure, to be saved with ``savefig``.

    Raises:
        ValueError: If there are no samples, or the shapes differ.

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
    axes = _grid(x, Figure)
    if value_range is None and x.dtype == np.uint8:
        value_range = (0, 255)
    _draw(x, reconstruction, scores, score_name, value_range, axes)
    return axes.flat[0].figure


def _first(dataset: tf.data.Dataset, num_samples: int) -> tuple[tf.Tensor, np.ndarray]:
    """The first samples, as the model's input and as what its output is compared with."""
    if not isinstance(dataset.element_spec, tuple) or len(dataset.element_spec) != 2:
        raise ValueError(f"dataset: expected batches (x, x); received {dataset.element_spec}.")
    for inputs, x in dataset.rebatch(num_samples).take(1):
        return inputs, x.numpy()
    raise ValueError("dataset: expected at least one sample; received an empty data set.")


def _grid(x: np.ndarray, new_figure: Callable[..., Figure]) -> np.ndarray:
    """Axes for the samples on a new figure: ``(3, n)`` for images, else ``(n,)``."""
    n = len(x)
    if x.ndim == 4:
        width = 1.1 * max(1, x.shape[2] / x.shape[1])
        figure = new_figure(figsize=(width * n + 1.2, 4), layout="constrained")
        return figure.subplots(3, n, squeeze=False)
    rows, columns = math.ceil(n / 2), min(n, 2)
    figure = new_figure(figsize=(4 * columns, 1.6 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[n:]:
        ax.remove()
    return axes[:n]


def _draw(
    x: np.ndarray,
    reconstruction: np.ndarray,
    scores: np.ndarray,
    score_name: str,
    value_range: tuple[float, float] | None,
    axes: np.ndarray,
) -> Any:
    titles = [f"{score_name} {score:.4g}" for score in scores]
    x, reconstruction = x.astype("float64"), reconstruction.astype("float64")
    if x.ndim == 4:
        _draw_images(x, reconstruction, titles, value_range, axes)
    else:
        _draw_lines(x, reconstruction, titles, axes)
    return axes


def _draw_images(
    x: np.ndarray,
    reconstruction: np.ndarray,
    titles: list[str],
    value_range: tuple[float, float] | None,
    axes: np.ndarray,
) -> None:
    error = np.abs(x - reconstruction).mean(-1)
    if x.shape[-1] not in (1, 3, 4):
        x, reconstruction = x.mean(-1, keepdims=True), reconstruction.mean(-1, keepdims=True)
    low, high = value_range or (x.min((0, 1, 2)), x.max((0, 1, 2)))
    if np.min(low) >= -1 and np.max(high) <= 1:
        low, high = (0 if np.min(low) >= 0 else -1), 1
    span = np.where(np.equal(low, high), 1, np.subtract(high, low))
    scale = Normalize(0, error.max() or 1)
    for column, title in enumerate(titles):
        for row, images in enumerate((x, reconstruction)):
            axes[row, column].imshow(np.clip((images[column] - low) / span, 0, 1), cmap="gray", vmin=0, vmax=1)
        axes[2, column].imshow(error[column], cmap=_ERRORS, norm=scale)
        axes[0, column].set_title(title, fontsize=_SMALL)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="#999999", linewidth=0.5)
    for ax, name in zip(axes[:, 0], ("original", "reconstruction", "|x − x̂|"), strict=True):
        ax.set_ylabel(name, fontsize=_SMALL)
    # Inset: a colour bar that took its room from a row of Axes would shrink the images.
    bar = axes[2, -1].inset_axes((1.08, 0, 0.08, 1))
    axes[2, -1].figure.colorbar(ScalarMappable(scale, _ERRORS), cax=bar).outline.set_linewidth(0.5)
    bar.tick_params(labelsize=_SMALL)


def _draw_lines(x: np.ndarray, reconstruction: np.ndarray, titles: list[str], axes: np.ndarray) -> None:
    xlabel = {2: "feature", 3: "time step"}.get(x.ndim, "element")
    if x.ndim == 3:  # channels one below the other, on one scale, as recorders draw them
        x, reconstruction = (values - np.arange(x.shape[2]) * np.ptp(x) for values in (x, reconstruction))
    else:
        x, reconstruction = x.reshape(len(x), -1, 1), reconstruction.reshape(len(x), -1, 1)
    steps = np.arange(x.shape[1])
    for ax, original, reconstructed, title in zip(axes, x, reconstruction, titles, strict=True):
        for pair in zip(original.T, reconstructed.T, strict=True):
            ax.fill_between(steps, *pair, color=BRIGHT, alpha=0.3, linewidth=0)
            for values, color in zip(pair, (DARK, BRIGHT), strict=True):
                ax.plot(steps, values, color=color, linewidth=1, marker="." if len(steps) <= 40 else None)
        ax.set_title(title, fontsize=_SMALL, loc="left")
        ax.tick_params(labelsize=_SMALL)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.spines[["top", "right"]].set_visible(False)
        if x.shape[2] > 1:
            ax.set_yticks([])
        spec = ax.get_subplotspec()
        if spec is None or spec.is_last_row():
            ax.set_xlabel(xlabel, fontsize=_SMALL)
    key = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0, "ncols": 2, "fontsize": _SMALL}
    axes[0].legend(axes[0].lines[:2], ("original", "reconstruction"), frameon=False, **key)
