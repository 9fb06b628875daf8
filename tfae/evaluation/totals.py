"""Means, extremes and moments of what is measured of every sample of a data set."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import numpy as np

from tfae.evaluation.batches import BatchValues, Extremes
from tfae.moments import Moments

#: Latent units up to which their covariance is held, 128 MiB in float64.
MAX_LATENT_DIM = 4096

#: Samples whose quantities are kept. Of so many, Spearman's correlation has a standard error below 0.003 (Fieller,
#: Hartley, Pearson, "Tests for rank correlation coefficients", 1957: 1.03 / √(n − 3)).
NUM_KEPT = 2**17


@dataclasses.dataclass(frozen=True)
class Totals:
    """What a pass over a data set gathered."""

    #: Means of the quantities over the samples.
    means: dict[str, float]
    #: Means of those that a table has by column, ``(num_columns,)``.
    by_column: dict[str, np.ndarray]
    #: Of the excess, loss − floor.
    excess: Moments
    #: The quantities of all samples, or of a random choice of ``NUM_KEPT``.
    kept: dict[str, np.ndarray]
    #: The least and the greatest value of the samples, and of the reconstructions.
    samples: tuple[float, float]
    reconstructions: tuple[float, float]
    #: Mean over the batches, weighed by their size, of the penalties that layers add, by name of the layer.
    penalties: dict[str, float]
    #: Of the latents, ``(num_samples, latent_dim)``; None without an encoder.
    latents: Moments | None

    @property
    def num_samples(self) -> int:
        """Number of samples."""
        return self.excess.count

    @property
    def standard_error(self) -> float | None:
        """Of the mean excess; None of a single sample, and where it leaves float64."""
        if self.num_samples < 2 or self.excess.scatter is None:
            return None
        error = math.sqrt(self.excess.scatter.item() / (self.num_samples - 1) / self.num_samples)
        return error if math.isfinite(error) else None


def gather_totals(batches: Iterable[BatchValues], on_losses: Callable[[np.ndarray], object] | None = None) -> Totals:
    """Sum up in float64 what was measured of the batches of a data set, "loss" and "floor" among it.

    ``on_losses`` is called with the losses of each batch.
    """
    sums, penalties = defaultdict[str, float](float), defaultdict[str, float](float)
    by_column = defaultdict[str, np.ndarray](lambda: np.zeros(()))
    excess, random = Moments(1, scatter="diagonal"), np.random.default_rng(0)
    kept: list[np.ndarray] = []
    latents: Moments | None = None
    samples = reconstructions = (math.inf, -math.inf)
    for batch in batches:
        values = {key: value for key, value in batch.quantities.items() if value.ndim == 1}
        for key in batch.quantities.keys() - values.keys():
            by_column[key] = by_column[key] + batch.quantities[key].sum(0, dtype="float64")
        if on_losses is not None:
            on_losses(values["loss"])
        samples, reconstructions = _widen(samples, batch.samples), _widen(reconstructions, batch.reconstructions)
        for key, value in values.items():
            sums[key] += float(value.sum(dtype="float64"))
        for key, value in batch.penalties.items():
            penalties[key] += len(batch.samples.low) * float(value)
        excess.add((values["loss"].astype("float64") - values["floor"])[:, None])
        # Of each row a random number, by which it is chosen, comes first.
        kept.append(np.column_stack([random.random(len(batch.samples.low)), *values.values()]))
        if sum(map(len, kept)) > 2 * NUM_KEPT:  # Rarely, so that what is kept is not copied for every batch.
            kept = [choose(np.concatenate(kept), NUM_KEPT)]
        if width := batch.latents.shape[1]:
            latents = latents or Moments(width, scatter="full" if width <= MAX_LATENT_DIM else None)
            latents.add(batch.latents)
    return Totals(
        means={key: total / excess.count for key, total in sums.items()},
        by_column={key: total / excess.count for key, total in by_column.items()},
        excess=excess,
        kept=dict(zip(sums, choose(np.concatenate(kept), NUM_KEPT).T[1:], strict=True)),
        samples=samples,
        reconstructions=reconstructions,
        penalties={key: total / excess.count for key, total in penalties.items()},
        latents=latents,
    )


def choose(rows: np.ndarray, num: int) -> np.ndarray:
    """Return the rows of the least first numbers, a random sample without replacement where these are random.

    What is chosen of a part, and then of that and of the rest, is what is chosen of all (Vitter, "Random sampling with
    a reservoir", 1985).
    """
    return rows if len(rows) <= num else rows[np.argpartition(rows[:, 0], num)[:num]]


def _widen(span: tuple[float, float], batch: Extremes) -> tuple[float, float]:
    return min(span[0], float(batch.low.min())), max(span[1], float(batch.high.max()))
