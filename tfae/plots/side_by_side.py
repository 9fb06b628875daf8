"""The same samples as several models reconstruct them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from tfae.plots import images, panels


def side_by_side(
    x: npt.ArrayLike,
    reconstructions: Mapping[str, npt.ArrayLike],
    *,
    value_range: tuple[float, float] | None = None,
    feature_names: Sequence[str] | None = None,
) -> Figure:
    """Show what several models make of the same samples, on a figure without pyplot.

    Images, of rank 3 with channels last, get a column each: the original, and for each model the reconstruction and
    below it |x − x̂| averaged over channels, all on one scale. Other samples get a panel each, with the original and
    the reconstructions in a colour for each model. All is in data space, and drawn as
    :func:`tfae.plots.reconstruction_figure` does.

    Args:
        x: Samples in data space, ``(num_samples, ...)``.
        reconstructions: By name, such as that of the loss, reconstructions of the same shape.
        value_range: ``(low, high)``, the values that are black and white in images, such as ``data.value_range``; by
            default (0, 255) for uint8, else what the originals span.
        feature_names: Names of the columns of a table, such as ``data.feature_names``; up to twenty are written.

    Returns:
        The figure, to be saved with ``savefig``.

    Raises:
        ValueError: If there are no samples, there is no reconstruction, or the shapes differ.

    Example:
        >>> x = np.zeros((2, 4, 4, 1))
        >>> figure = side_by_side(x, {"squared_error": x + 0.5, "absolute_error": x})
        >>> [ax.get_ylabel() for ax in figure.axes[::2]]
        ['original', 'squared error', 'error', 'absolute error', 'error']
    """
    x = np.asarray(x)
    arrays = {name: np.asarray(array) for name, array in reconstructions.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if not x.size or not arrays or set(shapes.values()) != {x.shape}:
        raise ValueError(
            f"reconstructions: expected one or more, of the shape of x, which has a sample or more; "
            f"received {shapes} for x of shape {x.shape}."
        )
    if value_range is None and x.dtype == np.uint8:
        value_range = (0, 255)
    x, arrays = x.astype("float64"), {name: array.astype("float64") for name, array in arrays.items()}
    if x.ndim == 4:
        rows, aspect = 1 + 2 * len(arrays), max(1, x.shape[2] / x.shape[1])
        figure = Figure(figsize=(1.1 * aspect * len(x) + 1.4, 1.15 * rows), layout="constrained")
        axes = figure.subplots(rows, len(x), squeeze=False)
        images.draw_variants(x, arrays, axes, value_range=value_range)
        return figure
    if x.shape[1:] == (1,):  # One panel over the samples.
        axes = panels.panel_axes(len(x), (1,), Figure, None)
        x, arrays = x[None, :, :, None], {name: array[None, :, :, None] for name, array in arrays.items()}
        panels.draw_variants(x, arrays, axes, feature_names=None)
        axes[0].set(xlabel="sample", ylabel="feature" if feature_names is None else feature_names[0])
        axes[0].set_title("", loc="left")
        return axes[0].figure
    axes = panels.panel_axes(len(x), x.shape[1:], Figure, feature_names if x.ndim == 2 else None)
    panels.draw_variants(x, arrays, axes, feature_names=feature_names if x.ndim == 2 else None)
    return axes[0].figure
