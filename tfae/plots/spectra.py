"""Power of images by spatial frequency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from tfae.plots.figures import DARK, SMALL, prepare_axes
from tfae.plots.labels import COLORS

#: Share of the originals' highest power below which power is rounding error, or too low to be seen.
_LEAST_SHARE = 1e-8


def radial_power(images: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the power of images by spatial frequency, averaged over directions.

    power(r) = mean of |X(f)|² / (H·W) over the frequencies f of ring r, the channels and the images, where X is the
    discrete Fourier transform. White noise of variance σ² has the power σ² at all frequencies.

    Args:
        images: ``(num_images, height, width, channels)``, with sides of two pixels or more.

    Returns:
        Spatial frequencies in cycles per pixel, from that of one cycle over the shorter side to √½ in the corners,
        and the power of each, in the squared unit of the images; both float64 ``(num_rings,)``. The mean of the
        images, at frequency 0, is left out.

    Example:
        >>> stripes = np.tile([0.0, 1.0], (1, 8, 4))[..., None]
        >>> frequency, power = radial_power(stripes)
        >>> round(float(frequency[power.argmax()]), 2)
        0.5
    """
    images = np.asarray(images, "float64")
    if images.ndim != 4 or not images.size or min(images.shape[1:3]) < 2:
        raise ValueError(
            "images: expected shape (num_images, height, width, channels), with sides of two pixels or more; received "
            f"{images.shape}."
        )
    height, width = images.shape[1:3]
    energy = np.zeros((height, width))
    for image in images:  # One at a time: the transform of all would take a multiple of their memory.
        energy += (np.abs(np.fft.fft2(image, axes=(0, 1))) ** 2).mean(-1)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    ring = np.rint(radius * min(height, width)).astype(int)
    counts = np.bincount(ring.ravel())
    kept = np.flatnonzero(counts)[1:]
    frequency, power = (
        np.bincount(ring.ravel(), values.ravel())[kept] / counts[kept]
        for values in (radius, energy / (len(images) * height * width))
    )
    return frequency, power


def spectra(x: npt.ArrayLike, reconstructions: Mapping[str, npt.ArrayLike], *, ax: Axes | None = None) -> Axes:
    """Draw the power of images and of their reconstructions by spatial frequency; blur lacks power at high ones.

    The upper half of the frequencies, of which ``Evaluation.sharpness`` is the ratio, is shaded. Power below 10⁻⁸ of
    the originals' strongest is not drawn.

    Args:
        x: Images, ``(num_images, height, width, channels)``.
        reconstructions: By name, such as that of the loss, reconstructions of the same shape.
        ax: Axes to draw into, and to return. A new figure by default.

    Raises:
        ValueError: As :func:`radial_power`, or if the shapes differ.

    Example:
        >>> from matplotlib.figure import Figure
        >>> x = np.random.default_rng(0).random((4, 8, 8, 1))
        >>> ax = spectra(x, {"squared_error": x / 2}, ax=Figure().subplots())
        >>> [line.get_label() for line in ax.lines]
        ['original', 'squared error']
    """
    x = np.asarray(x)
    shapes = {name: np.shape(array) for name, array in reconstructions.items()}
    if set(shapes.values()) - {x.shape}:
        raise ValueError(f"reconstructions: expected the shape of x, {x.shape}; received {shapes}.")
    frequency, power = radial_power(x)
    powers = {"original": power, **{name: radial_power(array)[1] for name, array in reconstructions.items()}}
    ax = prepare_axes(ax, (6, 3.6))
    ax.axvspan(0.5 / 2, frequency[-1], color="#f2f2f2", linewidth=0)  # Nyquist's frequency is 0.5.
    colors = (DARK, *(color for color in COLORS if color != COLORS[3]))  # without the grey one
    for index, (name, power) in enumerate(powers.items()):
        visible = np.where(power > _LEAST_SHARE * powers["original"].max(), power, np.nan)
        style: dict[str, Any] = {
            "linestyle": ("-", "--", "-.", ":")[index % 4],
            "marker": "." if len(frequency) <= 8 else None,
        }
        ax.plot(
            frequency, visible, color=colors[index % len(colors)], label=name.replace("_", " "), linewidth=1.4, **style
        )
    if powers["original"].max() > 0:  # Flat images have no power to take the logarithm of.
        ax.set_yscale("log")
    ax.text(
        frequency[-1], 0.98, "upper half ", transform=ax.get_xaxis_transform(), ha="right", va="top", fontsize=SMALL
    )
    ax.set(xlabel="spatial frequency, cycles per pixel", ylabel="power", xlim=(0, frequency[-1]))
    ax.legend(frameon=False, loc="lower left")
    return ax
