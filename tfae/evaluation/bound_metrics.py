"""Bounds of the negative log-likelihood, of variational autoencoders: their parts, and which units carry them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfae.evaluation.batches import Batch, Quantity
from tfae.evaluation.latent_metrics import ACTIVE_NATS
from tfae.evaluation.metrics import (
    BOUND,
    KL_BY_UNIT,
    VARIANCE_BY_UNIT,
    Draws,
    Metric,
    Split,
    UnavailableError,
    available,
    enter,
    per_split,
)
from tfae.losses import ReconstructionLoss
from tfae.models.gaussian import kl_divergence

#: Draws of each latent where the evaluation of a run asks for bounds.
NUM_DRAWS = 16

#: Units whose nats are printed.
_NUM_LISTED = 12

_PART: dict[str, Any] = {"group": BOUND, "indent": True}


def _per_element(name: str, evaluation: Any) -> str:
    return f"{getattr(evaluation, name) / evaluation.num_elements:.4g} per element"


def _note_bound(evaluation: Any) -> str:
    unit = evaluation.loss_unit or "up to a constant, for the loss is no likelihood in nats"
    return f"{_per_element('negative_elbo', evaluation)}; {evaluation.num_draws} draws; {unit}"


@per_split("negative ELBO", group=BOUND, note=_note_bound)
def negative_elbo(split: Split) -> float:
    """Distortion and rate: an upper bound of −log p(x), by draws of the latent."""
    return split.value("distortion") + split.value("kl")


def _draws(split: Split) -> Draws:
    draws = available(split.draws)
    if not draws.num_draws:
        raise UnavailableError("nothing is drawn at random unless num_draws asks for it")
    available(draws.decoder)
    return draws


def _measure(draws: Draws, batch: Batch, loss: ReconstructionLoss) -> tuple[tf.Tensor, tf.Tensor]:
    """The distortion and the importance-weighted bound of each sample, both ``(batch,)``.

    distortion = (1/K) Σ −log p(x|z);  bound = −log (1/K) Σ p(x|z) p(z) / q(z|x)

    −log p(x|z) is the loss, summed over elements.
    """
    mean, log_variance = tf.unstack(batch.posterior, axis=1)

    def draw(
        number: tf.Tensor, distortion: tf.Tensor, largest: tf.Tensor, rest: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        counted = tf.cast(batch.index, "int64") * draws.num_draws + tf.cast(number, "int64")
        seed = tf.stack([tf.constant(draws.seed, "int64"), counted])
        noise = tf.random.stateless_normal(tf.shape(mean), seed)
        latent = mean + tf.exp(log_variance / 2) * noise
        losses = tf.cast(loss.per_sample(batch.x, draws.decoder(latent, training=False), mask=batch.mask), "float32")
        # Of the two normal densities, 2π cancels.
        log_prior_ratio = tf.reduce_sum(noise**2 + log_variance - latent**2, axis=1) / 2
        log_weight = log_prior_ratio - losses
        above = tf.maximum(largest, log_weight)  # exp of the weights themselves would underflow.
        rest = rest * tf.exp(largest - above) + tf.exp(log_weight - above)
        return number + 1, distortion + losses, above, rest

    zeros = tf.zeros(tf.shape(mean)[:1])
    _, distortion, largest, rest = tf.while_loop(
        lambda number, *_: number < draws.num_draws,
        draw,
        (tf.constant(0), zeros, zeros - float("inf"), zeros),
        parallel_iterations=1,
    )
    return distortion / draws.num_draws, tf.math.log(float(draws.num_draws)) - largest - tf.math.log(rest)


def _drawn(split: Split) -> dict[str, Quantity]:
    draws, loss = _draws(split), split.loss.replace(sample_reduction="sum")  # −log p(x|z), whatever training did.

    def distort(batch: Batch) -> tf.Tensor:
        distortion, batch.measured["importance_bound"] = _measure(draws, batch, loss)
        return distortion

    return {"distortion": distort, "importance_bound": lambda batch: batch.measured["importance_bound"]}


@per_split("distortion", **_PART, quantities=_drawn, note=lambda e: f"{_per_element('distortion', e)}; −log p(x|z)")
def distortion(split: Split) -> float:
    """Mean loss, summed over elements, of what draws of the latent from its posterior are decoded to."""
    _draws(split)
    return split.mean("distortion")


def _of_posterior(split: Split) -> dict[str, Quantity]:
    available(split.draws)
    return {
        KL_BY_UNIT: lambda batch: kl_divergence(*tf.unstack(batch.posterior, axis=1)),
        VARIANCE_BY_UNIT: lambda batch: tf.exp(batch.posterior[:, 1]),
    }


@per_split("rate", **_PART, quantities=_of_posterior, note="KL divergence of the posterior from the prior, nats")
def kl(split: Split) -> float:
    """Mean divergence of the posterior from the prior, KL(q ‖ p), in nats, summed over units."""
    available(split.draws)
    return float(split.totals.by_column[KL_BY_UNIT].sum())


def _at_mean(split: Split) -> dict[str, Quantity]:
    available(split.draws)
    loss = split.loss.replace(sample_reduction="sum")
    return {"loss at mean": lambda batch: loss.per_sample(batch.x, batch.output, mask=batch.mask)}


@per_split(
    "at the mean",
    **_PART,
    quantities=_at_mean,
    note="the same with the mean of the posterior for z",
)
def negative_elbo_at_mean(split: Split) -> float:
    """Loss of the reconstruction from the posterior's mean, summed over elements, and the rate; no bound."""
    available(split.draws)
    return split.mean("loss at mean") + split.value("kl")


enter(
    Metric("num_draws", "draws", "Draws of each latent that bounds are estimated by.", lambda s: _draws(s).num_draws),
    Metric("draws_seed", "seed of the draws", "What the draws are made from.", lambda split: _draws(split).seed),
)


@per_split(
    "importance-weighted bound",
    group=BOUND,
    note=lambda e: f"of {e.num_draws} draws, seed {e.draws_seed}",
)
def importance_bound(split: Split) -> float:
    """Importance-weighted upper bound of −log p(x), which closes as the number of draws grows."""
    _draws(split)
    return split.mean("importance_bound")


def _note_units(evaluation: Any) -> str:
    nats = sorted((unit["kl"] for unit in evaluation.units), reverse=True)
    listed = " ".join(f"{value:.2f}" for value in nats[:_NUM_LISTED])
    return f"of {len(nats)}, over {ACTIVE_NATS} nats: {listed}{' …' if len(nats) > _NUM_LISTED else ''}"


@per_split("active units by KL", group=BOUND, note=_note_units)
def num_units_by_kl(split: Split) -> int:
    """Latent units whose mean divergence from the prior exceeds 0.01 nats."""
    available(split.draws)
    return int(np.sum(split.totals.by_column[KL_BY_UNIT] > ACTIVE_NATS))
