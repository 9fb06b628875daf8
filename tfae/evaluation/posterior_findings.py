"""What an evaluation warns of in the posterior of a variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfae.evaluation.baselines import Baselines
from tfae.evaluation.evaluation import Evaluation, Finding
from tfae.evaluation.latent_metrics import ACTIVE_NATS
from tfae.losses import CategoricalCrossentropy, ReconstructionLoss, TableLoss
from tfae.models import Gaussian

#: Mean variance of a unit's posterior from which on it is wider than the prior, whose is 1: no weight of the divergence
#: makes it so, and what rounding and a training that is not at its end leave is less.
WIDE = 1.1

#: Training samples that the weight is found on at which a linear model collapses.
_NUM_TRIED = 1024


def find_posterior_faults(
    e: Evaluation,
    loss: ReconstructionLoss,
    gaussian: Gaussian,
    train: tf.data.Dataset | None,
    baselines: Baselines | str,
    history: Mapping[str, Sequence[float]],
) -> Iterator[Finding]:
    """Yield a collapsed posterior, and one that is wider than the prior.

    Args:
        e: What was measured.
        loss, gaussian: What was minimised, beside the divergence of which bottleneck.
        train, baselines: The training split, if it was given, and what was fitted on it.
        history: Of Keras's ``fit``, as far as it is known.
    """
    if e.num_units_by_kl == 0:
        epochs = history.get("kl", ())
        since = next((number for number, _ in enumerate(epochs, 1) if max(epochs[number - 1 :]) < ACTIVE_NATS), None)
        when = "" if since is None else f" since epoch {since}"
        yield Finding(
            "posterior_collapse",
            e.kl,
            f"The latent carries nothing{when}: the posterior of every sample is the prior, and all units together "
            f"diverge from it by {e.kl:.2g} nats. {_explain(loss, gaussian.kl_weight, train, baselines)}",
        )
    wide = [unit["variance"] for unit in e.units if unit["variance"] > WIDE]
    if wide and not gaussian.free_bits:
        yield Finding(
            "wide_posterior",
            max(wide),
            f"The posterior of {len(wide):,} of the {len(e.units):,} latent units is wider than the prior: its "
            f"variance is up to {max(wide):.3g}, where that of the prior is 1. A divergence that weighs anything "
            "forbids that: raise kl_weight, or train longer.",
        )


def _explain(
    loss: ReconstructionLoss, kl_weight: float, train: tf.data.Dataset | None, baselines: Baselines | str
) -> str:
    warm_up = "let it rise from 0 in a warm-up (kl_warmup), or train longer"
    critical = None
    if train is not None and not isinstance(baselines, str):
        critical = find_critical_weight(loss, train, baselines.constant)
    if critical is None:
        return f"Lower kl_weight, which is {kl_weight:.4g}, or {warm_up}."
    mean = " beside a mean over elements" if loss.sample_reduction == "mean" else ""
    if kl_weight >= critical:
        return (
            f"With kl_weight {kl_weight:.4g}{mean} that is the optimum of a linear model of these data, which uses its "
            f"latent below {critical:.3g} only: take less than that" + (', or sample_reduction="sum".' if mean else ".")
        )
    return (
        f"A linear model of these data uses its latent up to kl_weight {critical:.3g}, and yours is {kl_weight:.4g}: "
        f"it is the training that fell short. Lower the learning rate, {warm_up}."
    )


def find_critical_weight(loss: ReconstructionLoss, train: tf.data.Dataset, constant: np.ndarray) -> float | None:
    """Return the weight of the divergence from which on a linear model gives up its last latent unit.

    To second order around the best constant the loss is that of a linear Gaussian model of y = H^-½ g with unit noise,
    where g are the derivatives of a sample's loss by its reconstruction, and H is their own derivative, in the mean. It
    keeps those principal components of y whose variance exceeds the weight. Under squared error these are twice the
    variances of the data.

    Args:
        loss: The reconstruction loss.
        train: Batches ``(x, x)`` of the training split; some of them are looked at.
        constant: The best constant reconstruction, of the shape of a sample.

    Returns:
        The weight; None where the loss has no second derivative, or one that mixes elements.

    Reference:
        Lucas et al., Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse, 2019, for squared error.
    """
    if isinstance(loss, CategoricalCrossentropy | TableLoss):  # Their elements depend on each other.
        return None
    x = next(iter(train.rebatch(_NUM_TRIED)))[1]
    readable = loss.on_reconstructions()
    output = tf.broadcast_to(tf.constant(constant, x.dtype), x.shape)
    with tf.GradientTape() as tape:
        tape.watch(output)
        _, slopes = readable.gradients(x, output, tf.ones_like(x))
    bends = tape.gradient(slopes, output, unconnected_gradients="zero")
    slope, bend = (np.asarray(each, "float64").reshape(len(x), -1) for each in (slopes, bends))
    bend = bend.mean(axis=0)
    has_bend = np.isfinite(bend) & (bend > 0) & np.isfinite(slope).all(axis=0)
    if not has_bend.any():
        return None
    y = (slope[:, has_bend] - slope[:, has_bend].mean(axis=0)) / np.sqrt(bend[has_bend])
    largest = float(np.linalg.norm(y, 2) ** 2 / len(y))
    return largest / (math.prod(x.shape[1:]) if loss.sample_reduction == "mean" else 1)
