"""What the latent holds, how many of its units vary and in how many directions; and whether the score is trivial."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfae.evaluation.batches import Quantity
from tfae.evaluation.metrics import LATENT, Split, UnavailableError, available, per_split
from tfae.evaluation.totals import MAX_LATENT_DIM
from tfae.losses import SquaredError

#: Least deviation of an active unit, relative to that of the unit that varies most. A decoder can amplify what is
#: small, and units of unlike scales are as good as any, so that only what all but stands still is called dead.
ACTIVE_DEVIATION = 1e-3

#: Of an active unit where a prior sets the scale to 1 (Burda et al.).
ACTIVE_VARIANCE = ACTIVE_NATS = 1e-2

#: Deviation that rounding in float32 may cause, relative to the values of a unit.
_ROUNDING = 1e-6

_COMPARED: dict[str, Any] = {"group": LATENT, "in_comparison": True}


@per_split("latent units")
def latent_dim(split: Split) -> int:
    """Number of latent units; none without a sub-model "encoder"."""
    return available(split.latent_dim)


@per_split("active units", **_COMPARED, note=lambda e: f"of {e.latent_dim or 0:,}")
def num_active_units(split: Split) -> int:
    """Latent units whose deviation exceeds a thousandth of the largest one; beside a KL divergence, a tenth."""
    covariance, varies = _covariance(split)
    variance = np.diag(covariance)
    least = ACTIVE_DEVIATION**2 * variance.max() if isinstance(split.draws, str) else ACTIVE_VARIANCE
    return int((varies & (variance > least)).sum())


@per_split("effective dimension", **_COMPARED, note="participation ratio of the latent's covariance")
def effective_dimension(split: Split) -> float:
    """Participation ratio (Σ λ)² / Σ λ² of the spectrum of the latent's covariance, from 1 to ``latent_dim``.

    It is the number of directions if all vary alike, and 1 if a single one varies. With the trace of C for Σ λ and
    that of C² for Σ λ², it needs no decomposition.
    """
    covariance, varies = _covariance(split)
    if not varies.any():
        raise UnavailableError("the latent is the same for all samples")
    scaled = covariance / np.diag(covariance).max()  # Or the squares might leave float64's range.
    return float(np.trace(scaled) ** 2 / (scaled**2).sum())


def _covariance(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """The covariance of the latent, and whether the variance of each unit is more than rounding."""
    moments = split.totals.latents
    if moments is None:
        return available(str(split.latent_dim))
    if not np.isfinite(moments.mean).all():
        raise UnavailableError("the latent is not finite")
    if moments.count < 2:
        raise UnavailableError("one sample has no variance")
    if moments.scatter is None:
        raise UnavailableError(f"more than {MAX_LATENT_DIM:,} units")
    covariance = moments.scatter / moments.count
    largest = np.maximum(np.abs(moments.low), np.abs(moments.high))
    return covariance, np.diag(covariance) > (_ROUNDING * largest) ** 2


def _distance(split: Split) -> dict[str, Quantity]:
    """Squared distance from the mean of the training split."""
    mean, error = available(split.baselines).mean, SquaredError(dtype="float64")
    return {
        "distance": lambda batch: error.per_sample(batch.x, tf.broadcast_to(mean, tf.shape(batch.x)), mask=batch.mask)
    }


@per_split(
    "triviality",
    group=LATENT,
    note="rank correlation of the loss with the distance from the training mean",
    quantities=_distance,
)
def triviality(split: Split) -> float:
    """Spearman's rank correlation of the per-sample losses with Σ (x − training mean)²."""
    return _correlation(split, "distance", "losses or distances")


@per_split("constant triviality", group=LATENT, note="rank correlation of the loss with that of the constant")
def constant_triviality(split: Split) -> float:
    """Spearman's rank correlation of the per-sample losses with those of the training split's best constant."""
    available(split.baselines)
    return _correlation(split, "constant_loss", "losses")


def _correlation(split: Split, quantity: str, what: str) -> float:
    pair = [split.totals.kept[name] for name in ("loss", quantity)]
    if any((values == values[0]).all() for values in pair):  # Infinite ones are ranked, too.
        raise UnavailableError(f"{what} do not differ between the samples")
    return float(np.corrcoef([_ranks(values) for values in pair])[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks counted from 1, the mean one for equal values; importing scipy.stats would take longer than all else."""
    _, distinct, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[distinct]
