"""Means, extremes and moments of what is measured of every sample, in one pass over a data set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping

import keras
import numpy as np
import tensorflow as tf

from tfae.evaluation import ranks
from tfae.evaluation.batches import Extremes, Quantity, measure_batches
from tfae.losses import DOMAIN_TOLERANCE
from tfae.moments import Moments

#: Latent units up to which their covariance is held, 128 MiB in float64.
MAX_LATENT_DIM = 4096


@dataclasses.dataclass(frozen=True)
class Totals:
    """What a pass over a data set gathered."""

    #: Means of the quantities over the samples.
    means: dict[str, float]
    #: Of the excess, loss − floor.
    excess: Moments
    #: Quantities of the same samples, of all or of a random choice of ``ranks.NUM_ROWS``.
    ranked: dict[str, np.ndarray]
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

    def samples_leave(self, interval: tuple[float, float] | None) -> bool:
        """Whether a sample is outside an interval by more than rounding; of None, nothing is."""
        return _leaves(self.samples, interval)

    def reconstructions_leave(self, interval: tuple[float, float] | None) -> bool:
        """Whether a reconstruction is."""
        return _leaves(self.reconstructions, interval)


def gather_totals(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    quantities: Mapping[str, Quantity],
    *,
    encoder: keras.Model | None = None,
    ranked: Collection[str] = (),
    name: str = "dataset",
    ignore: Collection[str] = (),
) -> Totals:
    """Run a model over a data set once, and sum up in float64.

    ``quantities`` hold "loss" and "floor"; ``ranked`` names those to keep of samples. The other arguments are as in
    :func:`measure_batches`.
    """
    sums, penalties = dict.fromkeys(quantities, 0.0), dict[str, float]()
    excess, reservoir = Moments(1, scatter="diagonal"), ranks.Reservoir(len(ranked), ranks.NUM_ROWS)
    latents = None
    if encoder is not None:
        width = math.prod(encoder.output_shape[1:])
        latents = Moments(width, scatter="full" if width <= MAX_LATENT_DIM else None)
    samples = reconstructions = (math.inf, -math.inf)
    for batch in measure_batches(autoencoder, dataset, quantities, encoder=encoder, name=name, ignore=ignore):
        values = batch.quantities
        samples, reconstructions = _widen(samples, batch.samples), _widen(reconstructions, batch.reconstructions)
        for key, value in values.items():
            sums[key] += float(value.sum(dtype="float64"))
        for key, value in batch.penalties.items():
            penalties[key] = penalties.get(key, 0.0) + len(batch.samples.low) * float(value)
        excess.add((values["loss"].astype("float64") - values["floor"])[:, None])
        if ranked:
            reservoir.add(np.stack([values[key] for key in ranked], 1, dtype="float64"))
        if latents is not None:
            latents.add(batch.latents)
    return Totals(
        means={key: total / excess.count for key, total in sums.items()},
        excess=excess,
        ranked=dict(zip(ranked, reservoir.draw().T, strict=True)),
        samples=samples,
        reconstructions=reconstructions,
        penalties={key: total / excess.count for key, total in penalties.items()},
        latents=latents,
    )


def _widen(span: tuple[float, float], batch: Extremes) -> tuple[float, float]:
    return min(span[0], float(batch.low.min())), max(span[1], float(batch.high.max()))


def _leaves(span: tuple[float, float], interval: tuple[float, float] | None) -> bool:
    return interval is not None and (
        span[0] < interval[0] - DOMAIN_TOLERANCE or span[1] > interval[1] + DOMAIN_TOLERANCE
    )
