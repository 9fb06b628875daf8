"""What a model's code holds: how many of its units vary, and in how many directions."""

from __future__ import annotations

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from tfae.moments import Moments

#: Least deviation of an active unit, relative to that of the unit that varies most. A decoder can amplify what is
#: small, and units of unlike scales are as good as any, so that only what all but stands still is called dead. Burda et
#: al. (2016) ask for a variance of 10⁻² where a prior sets the scale to 1; the code of an autoencoder has none.
ACTIVE_DEVIATION = 1e-3

#: Units up to which their covariance is held, 128 MiB in float64.
MAX_UNITS = 4096

#: Deviation that rounding in float32 may cause, relative to the values of a unit.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class Code:
    """Measures of the code over all samples; None where they do not exist, and then why."""

    num_active_units: int | None
    effective_dimension: float | None
    reason: str | None


def encoder_of(autoencoder: keras.Model) -> tuple[keras.Model | None, str | None]:
    """The sub-model "encoder", or None and why there is no code to measure."""
    encoder = next((layer for layer in autoencoder.layers if layer.name == "encoder"), None)
    if not isinstance(encoder, keras.Model):
        return None, 'the model has no sub-model named "encoder"'
    shape = encoder.output_shape
    if not isinstance(shape, tuple) or not shape or not all(isinstance(side, int) for side in shape[1:]):
        return None, f"the encoder has several outputs, or one of unknown shape: {shape}"
    if not tf.TensorShape(encoder.input_shape).is_compatible_with(autoencoder.input_shape):
        return None, f"the encoder takes {encoder.input_shape}, not the model's {autoencoder.input_shape}"
    return encoder, None


def width_of(encoder: keras.Model) -> int:
    """Number of units of the code."""
    return math.prod(encoder.output_shape[1:])


def measure_code(moments: Moments) -> Code:
    """Active units and effective dimension of codes whose moments have been accumulated.

    effective dimension = (Σ λ)² / Σ λ², the participation ratio of the eigenvalues λ of the covariance: the number
    of directions if all vary alike, 1 if a single one varies. With the trace of C for Σ λ and that of C² for
    Σ λ², it needs no decomposition.
    """
    if not np.isfinite(moments.mean).all():
        return Code(None, None, "the code is not finite")
    if moments.count < 2:
        return Code(None, None, "one sample has no variance")
    if moments.scatter is None:
        return Code(None, None, f"more than {MAX_UNITS:,} units")
    covariance = moments.scatter / moments.count
    variance = np.diag(covariance)
    largest = np.maximum(np.abs(moments.low), np.abs(moments.high))
    varies = variance > (_ROUNDING * largest) ** 2
    if not varies.any():
        return Code(0, None, "the code is the same for all samples")
    is_active = varies & (variance > ACTIVE_DEVIATION**2 * variance.max())
    scaled = covariance / variance.max()  # Or the squares might leave float64's range.
    return Code(int(is_active.sum()), float(np.trace(scaled) ** 2 / (scaled**2).sum()), None)
