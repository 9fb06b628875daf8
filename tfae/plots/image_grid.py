"""Images above their reconstructions and errors."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tfae.plots.figures import SMALL

_ERRORS = "magma_r"  # perceptually uniform; no error is light, which spares ink
_COLUMNS = 10  # square images side by side at most, and fewer that are wider


def image_axes(
    num_samples: int, num_variants: int, shape: tuple[int, ...], new_figure: Callable[..., Figure]
) -> tuple[np.ndarray, int]:
    """Return Axes ``(1 + 2 * num_variants, num_samples)`` on a new figure, and the columns of a block of rows."""
    aspect, num_rows = max(1, shape[1] / shape[0]), 1 + 2 * num_variants
    num_blocks = math.ceil(num_samples / max(1, int(_COLUMNS / aspect)))
    columns = math.ceil(num_samples / num_blocks)  # blocks of like size, not a last one with a single image
    size = (1.1 * aspect * columns + 1.4, (1.15 * num_rows + 0.35) * num_blocks)
    figure = new_figure(figsize=size, layout="constrained")
    heights = [*[1] * num_rows, 0.05] * num_blocks  # a gap below each block
    cells = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    axes = np.empty((num_rows, num_samples), object)
    for row, k in np.ndindex(*axes.shape):
        axes[row, k] = figure.add_subplot(cells[(num_rows + 1) * (k // columns) + row, k % columns])
    return axes, columns


def draw_images(
    x: np.ndarray,
    variants: Mapping[str, np.ndarray],
    axes: np.ndarray,
    titles: Sequence[str],
    *,
    space: str,
    value_range: tuple[float, float] | None,
    columns: int,
) -> None:
    """Draw originals, and of each variant the reconstructions and their errors, all errors on one scale.

    Args:
        x: Originals, ``(n, height, width, channels)``.
        variants: Reconstructions of the same shape, by name.
        axes: Axes ``(1 + 2 * num_variants, n)``, of which each ``columns`` make a block.
        titles: Of the samples.
        space: "model" or "data", of the values.
        value_range: What is black and white; None for [0, 1], [−1, 1] or what the originals span.
        columns: Columns of a block.
    """
    shown = np.stack([x, *variants.values()])
    errors = np.abs(shown[1:] - x).mean(-1)
    scale = Normalize(0, errors.max() or 1)
    if x.shape[-1] not in (1, 3, 4):
        shown = shown.mean(-1, keepdims=True)
    low, high = value_range or (shown[0].min((0, 1, 2)), shown[0].max((0, 1, 2)))
    if np.min(low) >= -1 and np.max(high) <= 1:
        low, high = (0 if np.min(low) >= 0 else -1), 1
    shown = np.clip((shown - low) / np.where(np.equal(low, high), 1, np.subtract(high, low)), 0, 1)
    for (row, k), ax in np.ndenumerate(axes):
        if row % 2 or row == 0:
            ax.imshow(shown[(row + 1) // 2, k], cmap="gray", vmin=0, vmax=1)
        else:
            ax.imshow(errors[row // 2 - 1, k], cmap=_ERRORS, norm=scale)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="#999999", linewidth=0.5)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=SMALL)
    names = ["original"]
    for name in variants:
        names += [textwrap.fill(name.replace("_", " "), 14), "error"]
    for first in range(0, len(x), columns):
        for ax, name in zip(axes[:, first], names, strict=True):
            ax.set_ylabel(name, fontsize=SMALL)
    for ax in axes[2::2, min(columns, len(x)) - 1]:
        # Inset: a colour bar that took its room from a row of Axes would shrink the images.
        aspect = min(1, x.shape[1] / x.shape[2])
        bar = ax.inset_axes((1 + 0.08 * aspect, 0, 0.08 * aspect, 1))
        ax.figure.colorbar(ScalarMappable(scale, _ERRORS), cax=bar).outline.set_linewidth(0.5)
        bar.tick_params(labelsize=SMALL)
        unit = "model space" if space == "model" else "units of the data"
        bar.set_ylabel(f"{'' if x.shape[-1] == 1 else 'mean '}|x − x̂|,\n{unit}", fontsize=SMALL)
