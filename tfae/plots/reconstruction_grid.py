"""Samples beside their reconstructions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tfae.losses import get_loss
from tfae.plots.panels import draw_panels
from tfae.plots.style import SMALL, shorten, titles_of

_ERRORS = "magma_r"  # perceptually uniform; no error is light, which spares ink
_COLUMNS = 10  # square images side by side at most, and fewer that are wider


def reconstructions(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    *,
    num_samples: int = 8,
    feature_names: Sequence[str] | None = None,
) -> np.ndarray:
    """Draw samples beside their reconstructions, and where the two differ, in model space, on a new figure.

    They are drawn as :func:`side_by_side` does, except that all features of a table are on one scale. The title of a
    sample is its loss, under ``autoencoder.loss``.

    Args:
        autoencoder: Model compiled with a loss of :mod:`tfae.losses`.
        dataset: Batches ``(x, x)`` in model space, such as ``data.test``; the first samples are drawn.
        num_samples: How many samples to draw at most.
        feature_names: Names of the columns of a table, such as ``data.feature_names``; up to twenty are written.

    Returns:
        Array of the Axes, with n samples drawn: ``(3, n)`` for images, in whatever rows the figure has them, and
        ``(n,)`` for others.

    Raises:
        ValueError: If the model's loss is not of :mod:`tfae.losses`, the data set is empty, or there are not
            as many feature names as features.

    Example:
        >>> from tfae.losses import SquaredError
        >>> halves = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(0.5)])
        >>> halves.compile(loss=SquaredError())
        >>> dataset = tf.data.Dataset.from_tensors(([[1.0, 1.0]], [[1.0, 1.0]]))
        >>> axes = reconstructions(halves, dataset, num_samples=1)
        >>> axes[0].get_title(loc="left")
        'loss 0.5'
        >>> from matplotlib import pyplot as plt
        >>> plt.close(axes[0].figure)
    """
    loss = get_loss(autoencoder)
    if num_samples < 1:
        raise ValueError(f"num_samples: expected 1 or more; received {num_samples}.")
    inputs, x = _first(dataset, num_samples)
    output = autoencoder(inputs, training=False)
    variants = {"reconstruction": loss.reconstruction(output).numpy()}
    titles = titles_of(x, loss.per_sample(x, output).numpy(), "loss")
    return _draw(x, variants, titles, space="model", feature_names=feature_names)


def side_by_side(
    x: npt.ArrayLike,
    reconstructions: Mapping[str, npt.ArrayLike],
    *,
    scores: npt.ArrayLike | None = None,
    score_name: str = "score",
    names: Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
    feature_names: Sequence[str] | None = None,
    moments: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    drawn: slice = slice(None),
) -> Figure:
    """Draw samples beside what one or several models make of them, in data space, on a figure without pyplot.

    Images, of rank 3 with channels last, get a column each: the original, and for each model the reconstruction and
    ``|x − x̂|`` averaged over channels, all errors on one scale. Originals and reconstructions are on the scale of the
    originals: [0, 1] or [−1, 1] where these are within, else what they span, per channel. Images of 1, 3 or 4 channels
    are drawn as gray, RGB and RGBA, others averaged over channels; more than ten go on in rows below. Other samples get
    a panel each: sequences, ``(time, channels)``, are lines; rows of a table have, for every feature, a dot for the
    original and a hollow marker for each model. The error of a single model is shaded.

    As the features of a table may be of unlike size, each is drawn in its standard deviations from its mean; an arrow
    stands for a reconstruction that is far outside of the originals' range. Where a feature does not vary, differences
    are relative to its magnitude, if that is not 0. Above each sample is the feature that is reconstructed worst in
    these terms, in the table's own values: original → reconstruction. All panels are on one scale.

    Args:
        x: Samples in data space, ``(num_samples, ...)``.
        reconstructions: By name, such as that of the loss, reconstructions of the same shape.
        scores: ``(num_samples,)``, for the titles of the samples, such as their losses.
        score_name: What the titles call it, such as "loss, nats".
        names: Of each sample, for its title, in one or several lines.
        value_range: ``(low, high)``, the values that are black and white in images, such as ``data.value_range``; by
            default (0, 255) for uint8, else what the originals span.
        feature_names: Names of the columns of a table, such as ``data.feature_names``; up to twenty are written.
        moments: Of a table, mean and standard deviation of each feature in the training split, ``(features,)`` each;
            by default those of the originals drawn, among which a nearly constant feature looks far off.
        drawn: Which of the samples to draw, by default all. The scales are of all, for pictures that are compared.

    Returns:
        The figure, to be saved with ``savefig``.

    Raises:
        ValueError: If there are no samples, there is no reconstruction, the shapes differ, or there are not as many
            names as features.

    Example:
        >>> x = np.zeros((2, 4, 4, 1))
        >>> figure = side_by_side(x, {"squared_error": x + 0.5, "absolute_error": x})
        >>> [ax.get_ylabel() for ax in figure.axes[::2]]
        ['original', 'squared error', 'error', 'absolute error', 'error']
    """
    x = np.asarray(x)
    variants = {name: np.asarray(array) for name, array in reconstructions.items()}
    shapes = {name: array.shape for name, array in variants.items()}
    if not x.size or set(shapes.values()) != {x.shape}:
        raise ValueError(
            f"reconstructions: expected one or more, of the shape of x, which has a sample or more; "
            f"received {shapes} for x of shape {x.shape}."
        )
    if scores is not None and np.shape(scores) != x.shape[:1]:
        raise ValueError(f"scores: expected shape {x.shape[:1]}, one per sample; received {np.shape(scores)}.")
    titles = titles_of(x, None if scores is None else np.asarray(scores), score_name)
    if names is not None:
        lines = [
            [*name.split("\n"), *([title] if scores is not None else [])]
            for name, title in zip(names, titles, strict=True)
        ]
        titles = ["\n".join(shorten(each, 17) for each in of) if x.ndim == 4 else ", ".join(of) for of in lines]
    if moments is not None:
        moments = np.asarray(moments[0], "float64"), np.asarray(moments[1], "float64")
    if value_range is None and x.dtype == np.uint8:
        value_range = (0, 255)
    axes = _draw(
        x,
        variants,
        titles[drawn],
        space="data",
        value_range=value_range,
        feature_names=feature_names,
        moments=moments,
        drawn=drawn,
    )
    return axes.flat[0].figure


def _first(dataset: tf.data.Dataset, num_samples: int) -> tuple[tf.Tensor, np.ndarray]:
    """Return the first samples, as the model's input and as what its output is compared with."""
    if not isinstance(dataset.element_spec, tuple) or len(dataset.element_spec) != 2:
        raise ValueError(f"dataset: expected batches (x, x); received {dataset.element_spec}.")
    for inputs, x in dataset.rebatch(num_samples).take(1):
        return inputs, x.numpy()
    raise ValueError("dataset: expected at least one sample; received an empty data set.")


def _draw(
    x: np.ndarray,
    variants: Mapping[str, np.ndarray],
    titles: list[str],
    *,
    space: str,
    value_range: tuple[float, float] | None = None,
    feature_names: Sequence[str] | None = None,
    moments: tuple[np.ndarray, np.ndarray] | None = None,
    drawn: slice = slice(None),
) -> np.ndarray:
    """Draw on a new figure: of pyplot in model space, without it in data space."""
    names = None if feature_names is None or x.ndim != 2 else [str(name) for name in feature_names]
    if names is not None and len(names) != x.shape[1]:
        raise ValueError(
            f"feature_names: expected {x.shape[1]}, one per feature; received {len(names)}. Pass data.feature_names or "
            "None."
        )
    new_figure: Callable[..., Figure] = Figure
    if space == "model":
        from matplotlib import pyplot as plt

        new_figure = plt.figure
    x, variants = x.astype("float64"), {name: values.astype("float64") for name, values in variants.items()}
    options: dict[str, Any] = {"space": space, "drawn": drawn}
    if x.ndim == 4:
        return _draw_images(x, variants, titles, new_figure, value_range=value_range, **options)
    return draw_panels(x, variants, titles, new_figure, feature_names=names, moments=moments, **options)


def _add_image_axes(
    new_figure: Callable[..., Figure], num_rows: int, titles: list[str], aspect: float
) -> tuple[np.ndarray, int]:
    """Return Axes ``(num_rows, len(titles))`` on a new figure, and how many columns of them make a block."""
    num_samples = len(titles)
    num_blocks = math.ceil(num_samples / max(1, int(_COLUMNS / aspect)))
    columns = math.ceil(num_samples / num_blocks)  # blocks of like size, not a last one with a single image
    # In inches, and without a layout engine, which would measure every one of the many Axes several times.
    above = 0.06 + 0.15 * max(title.count("\n") + 1 for title in titles)
    width, height = 1.1 * aspect * columns + 1.6, (1.15 * num_rows + above) * num_blocks + 0.1
    figure = new_figure(figsize=(width, height))
    heights = [above, *[1.15] * num_rows] * num_blocks
    cells = figure.add_gridspec(
        len(heights),
        columns,
        height_ratios=heights,
        left=0.65 / width,
        right=1 - 0.9 / width,
        bottom=0.1 / height,
        top=1,
        wspace=0.08,
        hspace=0.05,
    )
    axes = np.empty((num_rows, num_samples), object)
    for row, k in np.ndindex(*axes.shape):
        axes[row, k] = figure.add_subplot(cells[(num_rows + 1) * (k // columns) + row + 1, k % columns])
    return axes, columns


def _draw_images(
    x: np.ndarray,
    variants: Mapping[str, np.ndarray],
    titles: list[str],
    new_figure: Callable[..., Figure],
    *,
    space: str,
    value_range: tuple[float, float] | None,
    drawn: slice,
) -> np.ndarray:
    """Draw originals, and of each variant the reconstructions and their errors; return the Axes."""
    axes, columns = _add_image_axes(new_figure, 1 + 2 * len(variants), titles, max(1, x.shape[2] / x.shape[1]))
    shown = np.stack([x, *variants.values()])
    errors = np.abs(shown[1:] - x).mean(-1)
    scale = Normalize(0, errors.max() or 1)
    if x.shape[-1] not in (1, 3, 4):
        shown = shown.mean(-1, keepdims=True)
    low, high = value_range or (shown[0].min((0, 1, 2)), shown[0].max((0, 1, 2)))
    if np.min(low) >= -1 and np.max(high) <= 1:
        low, high = (0 if np.min(low) >= 0 else -1), 1
    shown = np.clip((shown[:, drawn] - low) / np.where(np.equal(low, high), 1, np.subtract(high, low)), 0, 1)
    for (row, k), ax in np.ndenumerate(axes):
        if row % 2 or row == 0:
            ax.imshow(shown[(row + 1) // 2, k], cmap="gray", vmin=0, vmax=1)
        else:
            ax.imshow(errors[:, drawn][row // 2 - 1, k], cmap=_ERRORS, norm=scale)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="#999999", linewidth=0.5)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=SMALL)
    names = ["original"]
    for name in variants:
        names += [textwrap.fill(name.replace("_", " "), 14), "error"]
    for first in range(0, axes.shape[1], columns):
        for ax, name in zip(axes[:, first], names, strict=True):
            ax.set_ylabel(name, fontsize=SMALL)
    for ax in axes[2::2, min(columns, axes.shape[1]) - 1]:
        # Inset: a colour bar that took its room from a row of Axes would shrink the images.
        aspect = min(1, x.shape[1] / x.shape[2])
        bar = ax.inset_axes((1 + 0.08 * aspect, 0, 0.08 * aspect, 1))
        ax.figure.colorbar(ScalarMappable(scale, _ERRORS), cax=bar).outline.set_linewidth(0.5)
        bar.tick_params(labelsize=SMALL)
        unit = "model space" if space == "model" else "units of the data"
        bar.set_ylabel(f"{'' if x.shape[-1] == 1 else 'mean '}|x − x̂|,\n{unit}", fontsize=SMALL)
    return axes
