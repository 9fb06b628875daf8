"""Images above their reconstructions and errors."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tfae.plots.figures import SMALL

_ERRORS = "magma_r"  # perceptually uniform; no error is light, which spares ink
_COLUMNS = 10  # square images side by side at most, and fewer that are wider


def image_axes(num_samples: int, shape: tuple[int, ...], new_figure: Callable[..., Figure]) -> tuple[np.ndarray, int]:
    """Axes ``(3, num_samples)`` on a new figure, and after how many columns they go on in a block of rows below."""
    aspect = max(1, shape[1] / shape[0])
    num_blocks = math.ceil(num_samples / max(1, int(_COLUMNS / aspect)))
    columns = math.ceil(num_samples / num_blocks)  # blocks of like size, not a last one with a single image
    figure = new_figure(figsize=(1.1 * aspect * columns + 1.4, 3.8 * num_blocks), layout="constrained")
    heights = [1, 1, 1, 0.05] * num_blocks  # a gap below each block
    cells = figure.add_gridspec(len(heights), columns, height_ratios=heights)
    axes = np.empty((3, num_samples), object)
    for row, k in np.ndindex(*axes.shape):
        axes[row, k] = figure.add_subplot(cells[4 * (k // columns) + row, k % columns])
    return axes, columns


def draw_images(
    x: np.ndarray,
    reconstruction: np.ndarray,
    titles: list[str],
    axes: np.ndarray,
    *,
    space: str,
    value_range: tuple[float, float] | None,
    columns: int,
) -> None:
    """Draw into Axes ``(3, n)``, of which each ``columns`` make a block."""
    scale = _draw_rows(x, {"reconstruction": reconstruction}, axes, value_range=value_range)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=SMALL)
    for first in range(0, len(x), columns):
        for ax, name in zip(axes[:, first], ("original", "reconstruction", "error"), strict=True):
            ax.set_ylabel(name, fontsize=SMALL)
    _draw_color_bar(axes[2, min(columns, len(x)) - 1], scale, x.shape[1:], space=space)


def draw_variants(
    x: np.ndarray, variants: Mapping[str, np.ndarray], axes: np.ndarray, *, value_range: tuple[float, float] | None
) -> None:
    """Draw into Axes ``(1 + 2 * num_variants, n)``: originals, and of each variant reconstructions and errors."""
    scale = _draw_rows(x, variants, axes, value_range=value_range)
    names = ["original"]
    for name in variants:
        names += [textwrap.fill(name.replace("_", " "), 14), "error"]
    for ax, name in zip(axes[:, 0], names, strict=True):
        ax.set_ylabel(name, fontsize=SMALL)
    for row in range(2, len(axes), 2):
        _draw_color_bar(axes[row, -1], scale, x.shape[1:], space="data")


def _draw_rows(
    x: np.ndarray, variants: Mapping[str, np.ndarray], axes: np.ndarray, *, value_range: tuple[float, float] | None
) -> Normalize:
    """Draw originals, and of each variant reconstructions and errors, which are on the one scale that is returned."""
    errors = [np.abs(x - reconstruction).mean(-1) for reconstruction in variants.values()]
    scale = Normalize(0, max(error.max() for error in errors) or 1)
    shown = [x, *variants.values()]
    if x.shape[-1] not in (1, 3, 4):
        shown = [images.mean(-1, keepdims=True) for images in shown]
    low, high = value_range or (shown[0].min((0, 1, 2)), shown[0].max((0, 1, 2)))
    if np.min(low) >= -1 and np.max(high) <= 1:
        low, high = (0 if np.min(low) >= 0 else -1), 1
    span = np.where(np.equal(low, high), 1, np.subtract(high, low))
    for row, images in zip((0, *range(1, len(axes), 2)), shown, strict=True):
        for ax, image in zip(axes[row], images, strict=True):
            ax.imshow(np.clip((image - low) / span, 0, 1), cmap="gray", vmin=0, vmax=1)
    for row, error in zip(range(2, len(axes), 2), errors, strict=True):
        for ax, image in zip(axes[row], error, strict=True):
            ax.imshow(image, cmap=_ERRORS, norm=scale)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="#999999", linewidth=0.5)
    return scale


def _draw_color_bar(ax: Axes, scale: Normalize, shape: tuple[int, ...], *, space: str) -> None:
    """Draw the scale of the errors beside the last of their Axes."""
    # Inset: a colour bar that took its room from a row of Axes would shrink the images.
    aspect = min(1, shape[0] / shape[1])
    bar = ax.inset_axes((1 + 0.08 * aspect, 0, 0.08 * aspect, 1))
    ax.figure.colorbar(ScalarMappable(scale, _ERRORS), cax=bar).outline.set_linewidth(0.5)
    bar.tick_params(labelsize=SMALL)
    error_name = "|x − x̂|" if shape[-1] == 1 else "mean |x − x̂|"
    bar.set_ylabel(f"{error_name},\n{'model space' if space == 'model' else 'units of the data'}", fontsize=SMALL)
