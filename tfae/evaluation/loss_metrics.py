"""The loss of the model, the least that it can be, and that of trivial models."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tfae.evaluation.baselines import ROUNDING
from tfae.evaluation.batches import Batch, Quantity
from tfae.evaluation.evaluation import percent
from tfae.evaluation.metrics import LOSS, Metric, Split, UnavailableError, available, enter, per_sample, per_split

#: Options of what is beside the loss, in its unit.
_PART: dict[str, Any] = {"group": LOSS, "indent": True}


enter(
    Metric("num_samples", "samples", "Number of samples.", lambda split: split.totals.num_samples),
    Metric("num_elements", "elements", "Number of elements of one sample.", lambda split: math.prod(split.shape)),
)


def _unit(evaluation: Any) -> str:
    reduced = f"the elements' {evaluation.sample_reduction}"
    return f"{evaluation.loss_unit}, {reduced}" if evaluation.loss_unit else reduced


@per_sample("loss per sample", group=LOSS, note=_unit)
def loss(split: Split) -> Quantity:
    """Mean loss of a sample, without penalties of the layers."""
    return lambda batch: split.loss.per_sample(batch.x, batch.output, mask=batch.mask)


@per_sample("floor", **_PART, note="the least that any reconstruction can reach")
def floor(split: Split) -> Quantity:
    """Mean of the least loss that any reconstruction of a sample can reach: 0 for errors, entropy for cross-entropy."""
    return lambda batch: split.loss.floor(batch.x, mask=batch.mask)


@per_split("excess", **_PART, note="loss − floor")
def excess(split: Split) -> float:
    """loss − floor, what a model could still take away."""
    return split.value("loss") - split.value("floor")


def _beside_skill(metric: str, what: str, evaluation: Any) -> str:
    skill = getattr(evaluation, metric)
    return f"skill {'n/a, ' + evaluation.reasons.get(metric, '') if skill is None else percent(skill)}; {what}"


@per_sample(
    "constant baseline", **_PART, note=lambda e: _beside_skill("constant_skill", "the training split's best one", e)
)
def constant_loss(split: Split) -> Quantity:
    """Mean loss of a sample if the training split's best constant is its reconstruction."""
    fitted, readable = available(split.baselines), split.loss.on_reconstructions()
    return lambda batch: readable.per_sample(
        batch.x, tf.broadcast_to(fitted.constant, tf.shape(batch.x)), mask=batch.mask
    )


@per_sample("linear baseline", **_PART, note=lambda e: _beside_skill("linear_skill", components(e), e))
def linear_loss(split: Split) -> Quantity:
    """Mean loss of a sample if PCA with ``latent_dim`` components of the training split reconstructs it."""
    fitted, readable = available(split.baselines), split.loss.on_reconstructions()
    available(fitted.components)

    def measure(batch: Batch) -> tf.Tensor:
        return readable.per_sample(batch.x, fitted.linear(batch.x, batch.mask), mask=batch.mask)

    return measure


@per_split("training split", **_PART, note="the model's loss there")
def train_loss(split: Split) -> float:
    """Mean loss of a sample of the training split."""
    return available(split.train).means["loss"]


@per_split("loss and penalties", note="what Keras reports as loss and val_loss")
def penalized_loss(split: Split) -> float:
    """The loss with the penalties that layers add, which training minimises."""
    return split.value("loss") + sum(split.totals.penalties.values())


@per_sample("loss per element", group=LOSS, note=lambda e: e.loss_unit or "")
def loss_per_element(split: Split) -> Quantity:
    """The loss, averaged over the elements of a sample."""
    mean = split.loss.replace(sample_reduction="mean")
    return lambda batch: mean.per_sample(batch.x, batch.output, mask=batch.mask)


@per_split("skill against the constant", in_comparison=True)
def constant_skill(split: Split) -> float:
    """1 − excess / excess of the constant: 1 is perfect, 0 no better than the constant."""
    return _skill(split, "constant_loss", "the constant is exact on these samples")


@per_split("skill against PCA", in_comparison=True)
def linear_skill(split: Split) -> float:
    """1 − excess / excess of PCA; negative if PCA is better."""
    split.value("linear_loss")
    split.value("constant_skill")  # Where the constant is exact, so is PCA.
    return _skill(split, "linear_loss", "PCA is exact on these samples")


def components(evaluation: Any) -> str:
    """``PCA with 16 components``."""
    return "PCA" if evaluation.latent_dim is None else f"PCA with {evaluation.latent_dim:,} components"


def _skill(split: Split, baseline: str, if_exact: str) -> float:
    excess = split.value(baseline) - split.value("floor")
    if excess <= ROUNDING * max(abs(split.value("constant_loss")), abs(split.value("floor"))):
        raise UnavailableError(if_exact)
    return 1 - split.value("excess") / excess
