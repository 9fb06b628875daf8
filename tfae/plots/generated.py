"""What a variational autoencoder makes up, in model space: a grid of small pictures on one Axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from tfae.models import generation
from tfae.plots.style import DARK, SMALL, prepare_axes

#: Share of a cell that is left free around lines and points.
_MARGIN = 0.1


def samples(vae: keras.Model, num_samples: int = 40, *, seed: int = 0, ax: Axes | None = None) -> Axes:
    """Draw samples from the prior, as :func:`tfae.models.sample` does.

    Args:
        vae: Variational autoencoder, compiled with a loss of :mod:`tfae.losses`.
        num_samples: How many.
        seed: Of the latents.
        ax: Axes to draw into, and to return. A new figure by default.

    Example:
        >>> import tfae
        >>> from matplotlib.figure import Figure
        >>> vae = tfae.models.dense((8, 8, 1), latent_dim=2, bottleneck=tfae.models.Gaussian())
        >>> vae.compile("adam", loss=tfae.losses.SquaredError())
        >>> samples(vae, 6, ax=Figure().subplots()).images[0].get_array().shape
        (8, 53)
    """
    drawn = generation.sample(vae, num_samples, seed=seed)
    columns = min(num_samples, 10 if drawn.ndim == 4 else 5)
    ax, _ = _draw_tiles(drawn, columns, ax)
    ax.set(xticks=[], yticks=[], title=f"{num_samples} samples from the prior")
    return ax


def latent_grid(
    vae: keras.Model, *, units: tuple[int, int] = (0, 1), num_steps: int = 15, ax: Axes | None = None
) -> Axes:
    """Draw what a plane of the latent is decoded to, at quantiles of the prior from 2.5 % to 97.5 %.

    Args:
        vae: As of :func:`samples`, with two units or more.
        units: The unit along the horizontal, and that along the vertical, counted from 0; all others are 0.
        num_steps: Steps along both.
        ax: As of :func:`samples`.

    Raises:
        ValueError: If the latent has a single unit.
    """
    latent_dim = generation.latent_dim_of_prior(vae)
    if max(units) >= latent_dim or units[0] == units[1]:
        raise ValueError(
            f"units: expected two different ones of the {latent_dim} of the latent, counted from 0; received {units}."
        )
    from scipy.stats import norm  # It takes a second to import.

    values = norm.ppf(np.linspace(0.025, 0.975, num_steps))
    latents = np.zeros((num_steps, num_steps, latent_dim))
    latents[..., units[0]] = values
    latents[..., units[1]] = values[::-1, None]  # Upwards.
    decoded = generation.decode(vae, latents)
    ax, (across, down) = _draw_tiles(decoded.reshape(num_steps**2, *decoded.shape[2:]), num_steps, ax)
    shown = np.unique(np.linspace(0, num_steps - 1, min(num_steps, 5)).round().astype(int))
    labels = [f"{values[k]:.1f}" for k in shown]
    ax.set_xticks(across[shown], labels)
    ax.set_yticks(down[shown[::-1]], labels)
    ax.set(xlabel=f"unit {units[0]} of the latent", ylabel=f"unit {units[1]} of the latent")
    return ax


def traversals(
    vae: keras.Model,
    x: npt.ArrayLike,
    *,
    units: Sequence[int] | None = None,
    values: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
    ax: Axes | None = None,
) -> Axes:
    """Draw a sample with one unit of its latent after the other set to other values, a row for each unit.

    Args:
        vae: As of :func:`samples`.
        x: Sample in model space, ``(*sample_shape)``.
        units, values: As of :func:`tfae.models.traverse`.
        ax: As of :func:`samples`.
    """
    tiles, units = generation.traverse(vae, x, units=units, values=values)
    ax, (across, down) = _draw_tiles(tiles.reshape(-1, *tiles.shape[2:]), len(values), ax)
    ax.set_xticks(across, [f"{value:g}" for value in values])
    ax.set_yticks(down, [f"unit {unit}" for unit in units])
    ax.set_xlabel("what the unit is set to")
    return ax


def _draw_tiles(tiles: np.ndarray, columns: int, ax: Axes | None) -> tuple[Axes, tuple[np.ndarray, np.ndarray]]:
    """Draw samples ``(n, *shape)`` in rows; return the Axes, and the centres of its columns and rows."""
    rows, is_image = math.ceil(len(tiles) / columns), tiles.ndim == 4
    height, width = tiles.shape[1:3] if is_image else (1.0, 2.0)
    gap = 1 if is_image else 0
    side = 8 / max(columns, 8)
    ax = prepare_axes(
        ax, (side * columns * min(1.5, width / height) + 0.8, side * rows * max(1.0, height / width) + 0.8)
    )
    ax.tick_params(labelsize=SMALL, length=0)
    lefts, tops = (np.arange(number) * (size + gap) for number, size in ((columns, width), (rows, height)))
    low, high = np.nanmin(tiles), np.nanmax(tiles)
    if is_image:
        low, high = (min(0.0, low), 1.0) if low >= -1 and high <= 1 else (low, high)
        shown = tiles if tiles.shape[-1] in (1, 3, 4) else tiles.mean(-1, keepdims=True)
        page = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, shown.shape[-1]))
        for index, tile in enumerate(shown):
            row, column = divmod(index, columns)
            top, left = row * (height + gap), column * (width + gap)
            page[top : top + height, left : left + width] = np.clip((tile - low) / ((high - low) or 1), 0, 1)
        ax.imshow(page[..., 0] if page.shape[-1] == 1 else page, cmap="gray", vmin=0, vmax=1)
        ax.spines[:].set_visible(False)
        return ax, (lefts + (width - 1) / 2, tops + (height - 1) / 2)
    is_table = tiles.ndim == 2
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        lines = tile.reshape(len(tile), -1)
        across = lefts[column] + width * np.linspace(_MARGIN / 2, 1 - _MARGIN / 2, len(lines))
        down = tops[row] + 1 - _MARGIN - (1 - 2 * _MARGIN) * (lines - low) / ((high - low) or 1)
        ax.plot(
            across, down, color=DARK, linewidth=0 if is_table else 0.8, marker="." if is_table else None, markersize=3
        )
    ax.set(xlim=(0, columns * width), ylim=(rows, 0))
    ax.hlines(range(1, rows), 0, columns * width, "#dddddd", linewidth=0.5)
    ax.vlines(lefts[1:], 0, rows, "#dddddd", linewidth=0.5)
    return ax, (lefts + width / 2, tops + 0.5)
