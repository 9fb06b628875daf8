"""What an evaluation warns of: each finding with the figure that led to it, and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfae.evaluation.baselines import ROUNDING

if TYPE_CHECKING:
    from tfae.evaluation.evaluation import Evaluation

#: Skill against the constant from which on a model has learned something. Untrained and collapsed models are at 0 or
#: below; an autoencoder of a single unit takes away a larger share than 1 % of any data that has structure.
LEAST_SKILL = 0.01

#: How much worse than PCA a model may be, relative to PCA's excess: what stochastic training of a linear autoencoder,
#: which at best equals it, leaves to be gained.
LINEAR_TOLERANCE = 0.01

#: Rank correlation from which on a score is trivial: 0.9² > 80 % of the variance of its ranks is explained by the
#: distance from the mean, which needs no model.
TRIVIAL_CORRELATION = 0.9

#: Samples from which on a rank correlation says something: of 10 unrelated samples, one in 2,500 exceeds 0.9.
LEAST_RANKED = 10

#: Nats, or units of the loss, per element by which rounding may take a loss below its floor: a sample may leave [0, 1]
#: by 10⁻⁵, and a logit of 10 weighs that tenfold.
FLOOR_TOLERANCE = 1e-4

#: Ratio of the excess on the evaluated samples and on the training split from which on they are far apart.
FAR_APART = 1.5

#: Standard errors of the mean by which they differ then, too: a few samples of heavy tails are half apart by chance.
STANDARD_ERRORS = 3


@dataclasses.dataclass(frozen=True)
class Finding:
    """A warning."""

    #: What it is about, such as "worse_than_linear".
    name: str
    #: The number that led to it; None for a ratio to 0.
    figure: float | None
    #: One or two sentences: the figure, what it means, and the remedy.
    message: str


def findings_of(
    evaluation: Evaluation, *, train_floor: float | None, standard_error: float | None
) -> Iterator[Finding]:
    """Look for what should worry the reader of an evaluation.

    Args:
        evaluation: Its measures.
        train_floor: Mean floor of the training split, if there is one.
        standard_error: Of the mean excess per sample; None for a single sample.
    """
    yield from _below_floor(evaluation)
    yield from _no_better_than_constant(evaluation)
    yield from _worse_than_linear(evaluation)
    yield from _dead_code(evaluation)
    yield from _trivial_score(evaluation)
    if evaluation.train_loss is not None and train_floor is not None and standard_error is not None:
        yield from _far_from_train(evaluation, evaluation.train_loss - train_floor, standard_error)


def _below_floor(e: Evaluation) -> Iterator[Finding]:
    tolerance = FLOOR_TOLERANCE * (e.num_elements if e.sample_reduction == "sum" else 1)
    if e.excess < -tolerance:
        yield Finding(
            "loss_below_floor",
            e.excess,
            f"The loss, {e.loss:.5g}, is below its floor of {e.floor:.5g}, which no reconstruction can be. This is a "
            "bug: in the loss, if it is your own; else please report it.",
        )


def _no_better_than_constant(e: Evaluation) -> Iterator[Finding]:
    if e.constant_skill is not None and e.constant_skill < LEAST_SKILL:
        yield Finding(
            "no_better_than_constant",
            e.constant_skill,
            f"The model is no better than one constant for all samples: its skill is {100 * e.constant_skill:.2g} %. "
            "Train longer or with another learning rate, and check the scaling of the data and the output activation.",
        )


def _worse_than_linear(e: Evaluation) -> Iterator[Finding]:
    if e.linear_loss is None or e.constant_loss is None or e.constant_skill is None:
        return
    # Where PCA is exact, its excess is rounding.
    if e.excess > (1 + LINEAR_TOLERANCE) * (e.linear_loss - e.floor) + ROUNDING * e.constant_loss:
        figure = e.linear_skill if e.linear_skill is not None else e.excess
        yield Finding(
            "worse_than_linear",
            figure,
            f"PCA with latent_dim {e.latent_dim:,} loses {e.linear_loss:.5g} per sample, the model {e.loss:.5g}. Train "
            "longer, with another learning rate or wider layers; or take PCA, which is the best linear autoencoder.",
        )


def _dead_code(e: Evaluation) -> Iterator[Finding]:
    if e.latent_dim is not None and e.num_active_units is not None and e.num_active_units < e.latent_dim:
        dead = e.latent_dim - e.num_active_units
        yield Finding(
            "dead_code",
            float(dead),
            f"{dead:,} of the {e.latent_dim:,} units of the code hardly vary. Weaken the penalty on the code if there "
            "is one, lower the learning rate, or choose a smaller latent_dim.",
        )


def _trivial_score(e: Evaluation) -> Iterator[Finding]:
    if e.triviality is not None and e.triviality > TRIVIAL_CORRELATION and e.num_samples >= LEAST_RANKED:
        yield Finding(
            "trivial_score",
            e.triviality,
            f"The loss ranks the samples as their distance from the training mean does: the rank correlation is "
            f"{e.triviality:.2f}. As an anomaly score it needs no model. Train longer, or use a larger latent_dim; if "
            "it stays, compare against the distance before you rely on the score.",
        )


def _far_from_train(e: Evaluation, train_excess: float, standard_error: float) -> Iterator[Finding]:
    low, high = sorted((e.excess, train_excess))
    if high <= FAR_APART * max(low, 0) or high - low <= STANDARD_ERRORS * standard_error:
        return
    if e.excess > train_excess:
        remedy = (
            "The model has learned the training split by heart, or these samples are of another kind. Stop earlier, "
        )
        remedy += "use more data, noise on the input or a smaller model; and check where the samples come from."
    else:
        remedy = "These samples are easier than those it was trained on. Check where they come from."
    yield Finding(
        "train_test_gap",
        e.excess / train_excess if train_excess > 0 else None,
        f"The excess per sample is {e.excess:.5g} here and {train_excess:.5g} on the training split. {remedy}",
    )
