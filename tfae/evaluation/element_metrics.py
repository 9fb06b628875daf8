"""Metrics in model space, which compare models whatever their loss: errors per element, and of images their looks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfae.evaluation.batches import Batch, Quantity
from tfae.evaluation.metrics import COMPARED, Metric, Split, UnavailableError, enter, per_sample, per_split
from tfae.losses import AbsoluteError, BinaryCrossentropy, SquaredError, is_within

#: Radius in cycles per pixel beyond which a spatial frequency is in the upper half: half of Nyquist's 1/2.
HALF_OF_NYQUIST = 0.25

#: Share of the upper half in the energy of the originals below which it is rounding of the transform in float32.
_ROUNDING = 1e-10

#: How far from 0 and 1 reconstructions are kept when their cross-entropy is measured: half of one of the 255 steps of
#: eight-bit data. A linear output leaves [0, 1] now and then, and at exactly 0 or 1 it would lose 87 nats for that.
MARGIN = 0.5 / 255


@per_sample("MSE", **COMPARED, better="lower", note="mean squared error")
def mse(split: Split) -> Quantity:
    """Mean squared error per element, in the squared unit of model space."""
    error = SquaredError(sample_reduction="mean", dtype="float64")  # Which holds the square of every float32.
    return lambda batch: error.per_sample(batch.x, batch.reconstruction, mask=batch.mask)


@per_sample("MAE", **COMPARED, better="lower", note="mean absolute error")
def mae(split: Split) -> Quantity:
    """Mean absolute error per element, in the unit of model space."""
    error = AbsoluteError(sample_reduction="mean", dtype=split.loss.dtype)
    return lambda batch: error.per_sample(batch.x, batch.reconstruction, mask=batch.mask)


def _clipped_crossentropy(split: Split) -> dict[str, Quantity]:
    # A model that returned logits would lose the digits of confident ones by way of their sigmoid.
    if isinstance(split.loss, BinaryCrossentropy):
        return {}
    entropy = BinaryCrossentropy(sample_reduction="mean", dtype=split.loss.dtype)

    def measure(batch: Batch) -> tf.Tensor:
        # It will count for nothing if a sample is outside; till then it has to stay finite.
        x, reconstruction = tf.clip_by_value(batch.x, 0, 1), tf.clip_by_value(batch.reconstruction, MARGIN, 1 - MARGIN)
        return entropy.per_sample(x, reconstruction, mask=batch.mask)

    return {"clipped_crossentropy": measure}


def _beside_nats(evaluation: Any) -> str:
    margin = evaluation.crossentropy_margin
    clipped = f"; of reconstructions kept {margin:.2g} from 0 and 1" if margin else ""
    return f"nats per element; {evaluation.crossentropy / math.log(2):.5g} bits{clipped}"


@per_split(
    "cross-entropy", **COMPARED, unit="nats", better="lower", note=_beside_nats, quantities=_clipped_crossentropy
)
def crossentropy(split: Split) -> float:
    """Mean cross-entropy per element, in nats; none unless all samples are in [0, 1]."""
    if not is_within(split.totals.samples, (0, 1)):
        raise UnavailableError("a sample is not in [0, 1]")
    if not isinstance(split.loss, BinaryCrossentropy):
        return split.mean("clipped_crossentropy")
    if not is_within(split.totals.reconstructions, (0, 1)):
        raise UnavailableError("a reconstruction is not in [0, 1]")
    return split.value("loss_per_element")


@per_split("cross-entropy", unit="bits", better="lower", in_comparison=True)
def bits(split: Split) -> float:
    """Mean cross-entropy per element, in bits."""
    return split.value("crossentropy") / math.log(2)


def _decades(_: Split) -> dict[str, Quantity]:
    def decades(batch: Batch) -> tf.Tensor:
        error = batch.measured["mse"]
        return tf.math.log(tf.where(error > 0, error, 1.0)) / math.log(10)

    return {"log10_mse": decades, "is_exact": lambda batch: tf.cast(batch.measured["mse"] == 0, "float64")}


def _beside_decibels(evaluation: Any) -> str:
    left_out = f", {evaluation.num_exact:,} exact left out" if evaluation.num_exact else ""
    return f"dB, data range {evaluation.data_range or 0:.4g}{left_out}"


@per_split("PSNR", **COMPARED, unit="dB", better="higher", note=_beside_decibels, quantities=_decades)
def psnr(split: Split) -> float:
    """Mean over samples of the peak signal-to-noise ratio 10 log₁₀(data_range² / mseᵢ), in decibels.

    Exact reconstructions have an infinite one and are left out; it is infinite if all are exact.
    """
    if split.value("data_range") == 0:
        raise UnavailableError("the data is constant")
    if split.value("num_exact") == split.totals.num_samples:
        return math.inf
    mean_log10_mse = split.mean("log10_mse") / (1 - split.mean("is_exact"))
    return 20 * math.log10(split.value("data_range")) - 10 * mean_log10_mse


enter(
    Metric(
        "data_range",
        "data range",
        "Difference between the largest and the smallest value that the data can take, in model space.",
        lambda split: split.interval[1] - split.interval[0],
    ),
    Metric(
        "num_exact",
        "exact reconstructions",
        "Number of samples that are reconstructed exactly, and therefore are left out of ``psnr``.",
        lambda split: round(split.mean("is_exact") * split.totals.num_samples),
    ),
    Metric(
        "crossentropy_margin",
        "margin of the cross-entropy",
        "How far from 0 and 1 reconstructions are kept for it; 0 where it is the model's own loss.",
        lambda split: 0.0 if isinstance(split.loss, BinaryCrossentropy) else MARGIN,
    ),
)


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
