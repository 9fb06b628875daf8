"""Images above their reconstructions and errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
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
    error = np.abs(x - reconstruction).mean(-1)
    error_name = "|x − x̂|" if x.shape[-1] == 1 else "mean |x − x̂|"
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
        axes[0, column].set_title(title, fontsize=SMALL)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color="#999999", linewidth=0.5)
    for first in range(0, len(x), columns):
        for ax, name in zip(axes[:, first], ("original", "reconstruction", "error"), strict=True):
            ax.set_ylabel(name, fontsize=SMALL)
    last = axes[2, min(columns, len(x)) - 1]
    # Inset: a colour bar that took its room from a row of Axes would shrink the images.
    aspect = min(1, x.shape[1] / x.shape[2])
    bar = last.inset_axes((1 + 0.08 * aspect, 0, 0.08 * aspect, 1))
    last.figure.colorbar(ScalarMappable(scale, _ERRORS), cax=bar).outline.set_linewidth(0.5)
    bar.tick_params(labelsize=SMALL)
    bar.set_ylabel(f"{error_name},\n{'model space' if space == 'model' else 'units of the data'}", fontsize=SMALL)
