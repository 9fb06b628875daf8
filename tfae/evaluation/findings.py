"""What an evaluation warns of: each finding with the figure that led to it, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tfae.checks import remedies
from tfae.evaluation.baselines import ROUNDING
from tfae.evaluation.evaluation import Evaluation, Finding, percent
from tfae.evaluation.metrics import Split
from tfae.evaluation.totals import Totals
from tfae.losses import ReconstructionLoss, is_within

#: Skill against the constant from which on a model has learned something. Untrained and collapsed models are at 0 or
#: below; an autoencoder of a single unit takes away a larger share than 1 % of any data that has structure.
LEAST_SKILL = 0.01

#: Mean absolute error, relative to the largest value of the samples or of the loss's domain, up to which a model is as
#: exact as a constant that is: a thousand times the rounding of float32, and a logit of 9 where 1 is right.
EXACT = 1e-4

#: How much worse than PCA a model may be, relative to PCA's excess: what stochastic training of a linear autoencoder,
#: which at best equals it, leaves to be gained.
LINEAR_TOLERANCE = 0.01

#: Rank correlation from which on a score is trivial: 0.9² > 80 % of the variance of its ranks is explained by the
#: distance from the mean, or by the loss of a constant, which need no model.
TRIVIAL_CORRELATION = 0.9

#: Samples from which on a rank correlation says something: of 10 unrelated samples, one in 2,500 exceeds 0.9.
LEAST_RANKED = 10

#: Nats, or units of the loss, per element by which rounding may take a loss below its floor: a sample may leave [0, 1]
#: by 10⁻⁵, and a logit of 10 weighs that tenfold.
FLOOR_TOLERANCE = 1e-4

#: Ratio of the excess on the evaluated samples and on the training split from which on they are far apart.
FAR_APART = 1.5

#: Of the excess of the best constant, the difference from which on it matters: so many points of skill are lost to it.
SKILL_APART = 0.05

#: Standard errors of the difference of the means by which they differ then, too: a few samples of heavy tails are half
#: apart by chance.
STANDARD_ERRORS = 3


def collect_findings(evaluation: Evaluation, split: Split, *, spread: float, can_copy: bool) -> Iterator[Finding]:
    """Yield what should worry the reader of an evaluation.

    Args:
        evaluation, split: What was measured, and the model and the data that it was measured on.
        spread: Mean difference of the losses of two passes over the same samples, relative to their mean.
        can_copy: Whether nothing but the width of its latent keeps the model from copying: no penalty, no noise.
    """
    loss, totals = split.loss, split.totals
    if is_within(totals.samples, loss.domain) and is_within(totals.reconstructions, loss.domain):
        yield from _below_floor(evaluation)
    else:
        yield _outside_domain(loss, totals)
    largest = max(abs(end) for end in (*totals.samples, *(loss.domain or ())) if math.isfinite(end))
    is_exact = evaluation.mae is not None and evaluation.mae <= EXACT * largest
    yield from _no_better_than_constant(evaluation, is_exact=is_exact)
    yield from _worse_than_linear(evaluation, is_best_linear=loss.pca_is_optimal)
    yield from _latent(evaluation, can_copy=can_copy)
    if spread > 0:
        yield Finding(
            "samples_at_inference",
            spread,
            "The model samples at inference: the losses of the same samples differ from one pass to the next, by "
            f"{percent(spread)} on average. So does this evaluation. Such a model is not exported: sample in training "
            "only.",
        )
    yield from _trivial_score(evaluation)
    if not isinstance(split.train, str):
        of_constant = 0.0 if evaluation.constant_loss is None else evaluation.constant_loss - evaluation.floor
        yield from _far_from_train(totals, split.train, least=SKILL_APART * of_constant)


def _outside_domain(loss: ReconstructionLoss, totals: Totals) -> Finding:
    """Only after "domain" or "activation" was silenced; else it is an error."""
    low, high = loss.domain or (-math.inf, math.inf)
    what, spanned = "Samples", totals.samples
    if is_within(spanned, loss.domain):
        what, spanned = "Reconstructions", totals.reconstructions
    return Finding(
        "outside_domain",
        max(low - spanned[0], spanned[1] - high),
        f"{what} are from {spanned[0]:.4g} to {spanned[1]:.4g}, and {loss.name} is defined on [{low:g}, {high:g}]: "
        "beyond, floor, excess and skill mean nothing, for the loss has no lower bound. "
        f"{remedies.outside_domain(loss) if what == 'Samples' else remedies.ending(loss)}",
    )


def _below_floor(e: Evaluation) -> Iterator[Finding]:
    tolerance = FLOOR_TOLERANCE * (e.num_elements if e.sample_reduction == "sum" else 1)
    if e.excess < -tolerance:
        yield Finding(
            "loss_below_floor",
            e.excess,
            f"The loss, {e.loss:.5g}, is below its floor of {e.floor:.5g}, which no reconstruction can be. This is a "
            "bug: in the loss, if it is your own; else please report it.",
        )


def _no_better_than_constant(e: Evaluation, *, is_exact: bool) -> Iterator[Finding]:
    if e.constant_skill is not None and e.constant_skill < LEAST_SKILL:
        figure = e.constant_skill
        what = f"The model is no better than one constant for all samples: its skill is {percent(figure)}."
    # Without skill, the excess of the constant is rounding.
    elif e.constant_skill is None and e.constant_loss is not None and not is_exact:
        figure = e.excess
        what = (
            f"One constant for all samples is exact here, and the model is not: its excess per sample is {figure:.5g}."
        )
    else:
        return
    yield Finding(
        "no_better_than_constant",
        figure,
        f"{what} Take smaller batches, which make more steps of an epoch; train longer, or with another learning rate. "
        "Check the scaling of the data, and the activation that the model ends in.",
    )


def _worse_than_linear(e: Evaluation, *, is_best_linear: bool) -> Iterator[Finding]:
    # Where a constant is exact there is another finding, and nothing that PCA could add.
    if e.linear_loss is None or e.constant_loss is None or e.constant_skill is None:
        return
    # Where PCA is exact, its excess is rounding.
    if e.excess > (1 + LINEAR_TOLERANCE) * (e.linear_loss - e.floor) + ROUNDING * max(
        abs(e.constant_loss), abs(e.floor)
    ):
        figure = e.linear_skill if e.linear_skill is not None else e.excess
        which = "is the best linear autoencoder" if is_best_linear else "costs no training"
        yield Finding(
            "worse_than_linear",
            figure,
            f"PCA with latent_dim {e.latent_dim:,} loses {e.linear_loss:.5g} per sample, the model {e.loss:.5g}. Train "
            f"longer, with another learning rate or wider layers; or take PCA, which {which}.",
        )


def _latent(e: Evaluation, *, can_copy: bool) -> Iterator[Finding]:
    if e.latent_dim is None or e.units:  # Units that a prior switches off are no fault.
        return
    if e.num_active_units == 0:
        yield Finding(
            "constant_latent",
            0.0,
            "The encoder ignores its input: the latent is the same for all samples. What skill there is comes past it. "
            "Lower the learning rate, weaken the penalty on the latent, and look for a path around the encoder.",
        )
    elif e.num_active_units is not None and e.num_active_units < e.latent_dim:
        dead = e.latent_dim - e.num_active_units
        yield Finding(
            "dead_latent",
            float(dead),
            f"{dead:,} of the {e.latent_dim:,} latent units all but stand still: they vary by less than a "
            "thousandth of what the most varying unit does. Weaken the penalty on the latent if there is one, or lower "
            "the learning rate. Before you drop a unit, hold it at its mean and see that the loss stays.",
        )
    if can_copy and e.latent_dim >= e.num_elements:
        yield Finding(
            "latent_as_wide",
            float(e.latent_dim),
            f"The latent has {e.latent_dim:,} numbers, and a sample {e.num_elements:,}: it compresses nothing, and the "
            "model can learn to copy. A small loss says nothing then. Use a smaller latent_dim, noise on the input, or "
            "a sparse bottleneck.",
        )


def _trivial_score(e: Evaluation) -> Iterator[Finding]:
    correlations = {
        "their distance from the training mean does": e.triviality,
        "the loss of one constant for all samples does": e.constant_triviality,
    }
    what, correlation = max(correlations.items(), key=lambda item: -1.0 if item[1] is None else item[1])
    if correlation is not None and correlation > TRIVIAL_CORRELATION and e.num_samples >= LEAST_RANKED:
        yield Finding(
            "trivial_score",
            correlation,
            f"The loss ranks the samples as {what}: the rank correlation is {correlation:.2f}. As an anomaly score it "
            "needs no model. Train longer, or use a larger latent_dim; if it stays, compare against that before you "
            "rely on the score.",
        )


def _far_from_train(totals: Totals, trained: Totals, *, least: float) -> Iterator[Finding]:
    error, train_error = totals.standard_error, trained.standard_error
    if error is None or train_error is None:
        return
    excess, train_excess = (one.means["loss"] - one.means["floor"] for one in (totals, trained))
    low, high = sorted((excess, train_excess))
    if high <= FAR_APART * max(low, 0) or high - low <= max(least, STANDARD_ERRORS * math.hypot(error, train_error)):
        return
    remedy = "These samples are easier than those it was trained on. Check where they come from."
    if excess > train_excess:
        remedy = (
            "The model has learned the training split by heart, or these samples are of another kind. Check where "
            "they come from; use more data, noise on the input or a smaller model; and stop earlier if the validation "
            "loss has risen."
        )
    yield Finding(
        "train_test_gap",
        excess / train_excess if train_excess > 0 else None,
        f"The excess per sample is {excess:.5g} here and {train_excess:.5g} on the training split. {remedy}",
    )
