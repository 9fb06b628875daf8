"""Means, extremes and moments of what is measured of every sample, in one pass over a data set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping

import keras
import numpy as np
import tensorflow as tf

from tfae.evaluation.batches import Extremes, Quantity, measure_batches
from tfae.moments import Moments

#: Latent units up to which their covariance is held, 128 MiB in float64.
MAX_LATENT_DIM = 4096

#: Samples whose quantities are kept. Of so many, Spearman's correlation has a standard error below 0.003 (Fieller,
#: Hartley, Pearson, "Tests for rank correlation coefficients", 1957: 1.03 / √(n − 3)).
NUM_KEPT = 2**17


class Reservoir:
    """A random sample of rows, without replacement: all of them up to ``num_rows``, and the same ones every time.

    Every row draws a number, and those of the least numbers stay (Vitter, "Random sampling with a reservoir", 1985).
    """

    def __init__(self, width: int, num_rows: int) -> None:
        self._num_rows = num_rows
        self._parts = [np.empty((0, width + 1))]  # The last column is of the numbers.
        self._num_waiting = 0
        self._generator = np.random.default_rng(0)

    def add(self, rows: np.ndarray) -> None:
        """Take in more rows, ``(n, width)``."""
        self._parts.append(np.column_stack([rows, self._generator.random(len(rows))]))
        self._num_waiting += len(rows)
        # Rarely, so that what is kept is not copied for every batch.
        if self._num_waiting >= self._num_rows:
            self.draw()

    def draw(self) -> np.ndarray:
        """Return the rows that are kept of all so far, ``(n, width)`` in no order."""
        rows = np.concatenate(self._parts)
        if len(rows) > self._num_rows:
            rows = rows[np.argpartition(rows[:, -1], self._num_rows)[: self._num_rows]]
        self._parts, self._num_waiting = [rows], 0
        return rows[:, :-1]


@dataclasses.dataclass(frozen=True)
class Totals:
    """What a pass over a data set gathered."""

    #: Means of the quantities over the samples.
    means: dict[str, float]
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


def gather_totals(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    quantities: Mapping[str, Quantity],
    *,
    encoder: keras.Model | None = None,
    name: str = "dataset",
    ignore: Collection[str] = (),
    on_losses: Callable[[np.ndarray], object] | None = None,
) -> Totals:
    """Run a model over a data set once, and sum up in float64.

    The arguments are those of :func:`measure_batches`; ``quantities`` hold "loss" and "floor". ``on_losses`` is called
    with the losses of each batch.
    """
    sums, penalties = dict.fromkeys(quantities, 0.0), dict[str, float]()
    excess, reservoir = Moments(1, scatter="diagonal"), Reservoir(len(quantities), NUM_KEPT)
    latents: Moments | None = None
    samples = reconstructions = (math.inf, -math.inf)
    for batch in measure_batches(autoencoder, dataset, quantities, encoder=encoder, name=name, ignore=ignore):
        values = batch.quantities
        if on_losses is not None:
            on_losses(values["loss"])
        samples, reconstructions = _widen(samples, batch.samples), _widen(reconstructions, batch.reconstructions)
        for key, value in values.items():
            sums[key] += float(value.sum(dtype="float64"))
        for key, value in batch.penalties.items():
            penalties[key] = penalties.get(key, 0.0) + len(batch.samples.low) * float(value)
        excess.add((values["loss"].astype("float64") - values["floor"])[:, None])
        reservoir.add(np.stack([values[key] for key in quantities], 1, dtype="float64"))
        if encoder is not None:
            width = batch.latents.shape[1]
            latents = latents or Moments(width, scatter="full" if width <= MAX_LATENT_DIM else None)
            latents.add(batch.latents)
    return Totals(
        means={key: total / excess.count for key, total in sums.items()},
        excess=excess,
        kept=dict(zip(quantities, reservoir.draw().T, strict=True)),
        samples=samples,
        reconstructions=reconstructions,
        penalties={key: total / excess.count for key, total in penalties.items()},
        latents=latents,
    )


def _widen(span: tuple[float, float], batch: Extremes) -> tuple[float, float]:
    return min(span[0], float(batch.low.min())), max(span[1], float(batch.high.max()))
