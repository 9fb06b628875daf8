"""Measures of images: structural similarity, and how much of the fine detail is left."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfae.measurement import Measure

#: Radius in cycles per pixel beyond which a spatial frequency is in the upper half: half of Nyquist's 1/2.
HALF_OF_NYQUIST = 0.25

#: Share of the upper half in the energy of the originals below which it is rounding of the transform in float32.
_ROUNDING = 1e-10


def are_images(shape: tuple[int, ...]) -> bool:
    """Whether samples of that shape are images of one to four channels and of at least 7 × 7 pixels."""
    return len(shape) == 3 and shape[2] <= 4 and min(shape[:2]) >= 7


def ssim(shape: tuple[int, ...], low: float, high: float) -> Measure:
    """Structural similarity of images of that shape, with values in [low, high]."""
    side = min(11, *shape[:2])
    size = side - 1 + side % 2  # the largest odd number that fits

    def measure(x: tf.Tensor, reconstruction: tf.Tensor, *, mask: tf.Tensor | None) -> tf.Tensor:
        # Shifted to begin at 0: SSIM compares local means as ratios, so that the same pictures in [0, 1] and in
        # [-1, 1] would otherwise differ.
        x, reconstruction = (tf.cast(tensor - low, "float32") for tensor in (x, reconstruction))
        return tf.image.ssim(x, reconstruction, max_val=high - low, filter_size=size)

    return measure


def energies(shape: tuple[int, ...]) -> dict[str, Measure]:
    """Spectral energies that :func:`sharpness` needs: of originals and reconstructions in the upper half, and of all.

    The energy of a sample is Σ |X(f)|² over channels and those spatial frequencies f = (f_y, f_x) of the discrete
    Fourier transform whose radius √(f_y² + f_x²) exceeds ``HALF_OF_NYQUIST``, corners included.
    """
    height, width, _ = shape
    f_y, f_x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    # Of real images the transform holds one half; all its columns but f_x = 0 and f_x = 1/2 stand for two.
    copies = np.where((f_x == 0) | (f_x == 0.5), 1, 2)
    weights = np.float32(np.where(np.hypot(f_y, f_x) > HALF_OF_NYQUIST, copies, 0))

    def energy(images: tf.Tensor) -> tf.Tensor:
        planes = tf.transpose(tf.cast(images, "float32"), (0, 3, 1, 2))
        spectrum = tf.signal.rfft2d(planes)
        return tf.reduce_sum(weights * (tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2), (1, 2, 3))

    return {
        "energy": lambda x, _, mask: energy(x),
        "reconstructed_energy": lambda _, reconstruction, mask: energy(reconstruction),
        "whole_energy": lambda x, _, mask: height * width * tf.reduce_sum(tf.cast(x, "float32") ** 2, (1, 2, 3)),
    }


def sharpness(means: dict[str, float]) -> float | None:
    """Energy of the reconstructions over that of the originals; None where these have none but rounding."""
    if means["energy"] <= _ROUNDING * means["whole_energy"]:
        return None
    return means["reconstructed_energy"] / means["energy"]
