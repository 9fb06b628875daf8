"""Metrics of images: structural similarity, and how much of the fine detail is left."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfae.evaluation.batches import Batch, Quantity
from tfae.evaluation.metrics import COMPARED, Split, UnavailableError, per_sample, per_split

#: Radius in cycles per pixel beyond which a spatial frequency is in the upper half: half of Nyquist's 1/2.
HALF_OF_NYQUIST = 0.25

#: Share of the upper half in the energy of the originals below which it is rounding of the transform in float32.
_ROUNDING = 1e-10


def are_images(shape: tuple[int, ...]) -> bool:
    """Whether samples of that shape are images of one to four channels and of at least 7 × 7 pixels."""
    return len(shape) == 3 and shape[2] <= 4 and min(shape[:2]) >= 7


@per_sample("SSIM", **COMPARED, better="higher", note="structural similarity, at most 1")
def ssim(split: Split) -> Quantity:
    """Mean structural similarity, at most 1; none where samples are not images of at least 7 × 7 pixels."""
    low, high = _interval_of_images(split)
    if not low < high:
        raise UnavailableError("the data is constant")
    side = min(11, *split.shape[:2])
    size = side - 1 + side % 2  # the largest odd number that fits

    def measure(batch: Batch) -> tf.Tensor:
        # Shifted to begin at 0: SSIM compares local means as ratios, so that the same pictures in [0, 1] and in
        # [-1, 1] would otherwise differ.
        x, reconstruction = (tf.cast(tensor - low, "float32") for tensor in (batch.x, batch.reconstruction))
        return tf.image.ssim(x, reconstruction, max_val=high - low, filter_size=size)

    return measure


def _energies(split: Split) -> dict[str, Quantity]:
    """Spectral energies of originals and reconstructions in the upper half of the frequencies, and of all.

    The energy of a sample is Σ |X(f)|² over channels and those spatial frequencies f = (f_y, f_x) of the discrete
    Fourier transform whose radius √(f_y² + f_x²) exceeds ``HALF_OF_NYQUIST``, corners included.
    """
    _interval_of_images(split)
    height, width, _ = split.shape
    f_y, f_x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    # Of real images the transform holds one half; all its columns but f_x = 0 and f_x = 1/2 stand for two.
    copies = np.where((f_x == 0) | (f_x == 0.5), 1, 2)
    weights = np.float32(np.where(np.hypot(f_y, f_x) > HALF_OF_NYQUIST, copies, 0))

    def energy(images: tf.Tensor) -> tf.Tensor:
        planes = tf.transpose(tf.cast(images, "float32"), (0, 3, 1, 2))
        spectrum = tf.signal.rfft2d(planes)
        return tf.reduce_sum(weights * (tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2), (1, 2, 3))

    return {
        "energy": lambda batch: energy(batch.x),
        "reconstructed_energy": lambda batch: energy(batch.reconstruction),
        "whole_energy": lambda batch: height * width * tf.reduce_sum(tf.cast(batch.x, "float32") ** 2, (1, 2, 3)),
    }


@per_split(
    "sharpness",
    **COMPARED,
    better="near 1",
    note="energy in the upper half of the frequencies; 1 is as sharp as the data",
    quantities=_energies,
)
def sharpness(split: Split) -> float:
    """Spectral energy of the reconstructions over that of the samples in the upper half of the spatial frequencies.

    1 is as sharp as the data, less is blurred, more is noisy. None where samples are not images, or are flat.
    """
    if split.mean("energy") <= _ROUNDING * split.mean("whole_energy"):
        raise UnavailableError("the images are flat")
    return split.mean("reconstructed_energy") / split.mean("energy")


def _interval_of_images(split: Split) -> tuple[float, float]:
    if not are_images(split.shape) or split.given_interval is None:
        raise UnavailableError("samples are not images")
    return split.given_interval
