"""Whether a reconstruction loss is good: its floor, what trivial models reach, and metrics that compare models.

    Evaluation     the values of the metrics, as a table, as JSON, and back
    Finding        a warning, with its figure and the remedy
    METRICS        every metric by name; tfae.evaluation.metrics says how to add one

Everything is measured per sample in model space and averaged over samples, in memory that does not grow with the data:
one batch at a time, sums in float64, and rank correlations on a random sample where there are very many.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfae import progress
from tfae.checks import check
from tfae.checks.layers import layers_of
from tfae.evaluation import baselines, bound_metrics, element_metrics, latent_metrics, loss_metrics  # noqa: F401
from tfae.evaluation.batches import Batch, measure_batches, sample_shape
from tfae.evaluation.element_metrics import are_images
from tfae.evaluation.evaluation import Evaluation, Finding
from tfae.evaluation.findings import collect_findings
from tfae.evaluation.metrics import METRICS, NOT_VARIATIONAL, Draws, Metric, Split, likely_interval
from tfae.evaluation.posterior_findings import find_posterior_faults
from tfae.evaluation.totals import Totals, gather_totals
from tfae.losses import ReconstructionLoss, get_loss, is_within, mask_of
from tfae.losses.reduction import sum_per_sample
from tfae.models.gaussian import find_gaussian, rate_per_sample, scores_by_elbo
from tfae.models.structure import find_decoder, find_encoder, is_deterministic, latent_dim_of

__all__ = ["METRICS", "Evaluation", "Finding", "Metric", "evaluate", "scores"]


def evaluate(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    *,
    train: tf.data.Dataset | None = None,
    data_range: float | tuple[float, float] | None = None,
    num_draws: int = 0,
    seed: int = 0,
    history: Mapping[str, Sequence[float]] | keras.callbacks.History | None = None,
    ignore: Collection[str] = (),
    on_losses: Callable[[np.ndarray], object] | None = None,
) -> Evaluation:
    """Measure the reconstructions of a data set, and compare them with those of trivial models.

    skill = 1 − (loss − floor) / (loss of the baseline − floor)

    The model is run once over the data, in inference mode, and once over the training split.

    Args:
        autoencoder: Model compiled with a loss of :mod:`tfae.losses`. What its sub-model "encoder" emits is the latent.
        dataset: Batches ``(x, x)`` in model space, such as ``data.test``; the first is what the model gets, the
            second what it is compared with. float, ``(batch, ...)``. Weights that come third count for nothing here.
        train: Likewise the training split, such as ``data.train_from(0)``. The baselines are fitted on it, in some
            passes: the best constant of each element, its mean or, under absolute error, its median; and PCA with
            ``latent_dim`` components, clipped into the data's range. Without it there are none.
        data_range: The values that the data can take, ``(low, high)`` in model space, such as
            ``data.preprocessing.value_range``; a number R stands for ``(0, R)``. PSNR and SSIM are relative to it, and
            PCA is clipped into it. By default it is (0, 1) or (-1, 1) if these hold all the data, and otherwise what
            the data spans, which for images takes another pass; and PCA is clipped to what the training split spans.
        num_draws: Of a variational autoencoder, how often to draw the latent of each sample for the negative ELBO and
            the importance-weighted bound. With 0 nothing is drawn at random, and there are none.
        seed: Of these draws.
        history: What ``fit`` returned, which tells of a variational autoencoder when it collapsed.
        ignore: Names of checks of :func:`tfae.checks.check` to leave out.
        on_losses: Called with the losses of each batch of ``dataset``, float ``(batch,)``, in its order: what
            :func:`scores` returns, without another pass.

    Returns:
        The metrics, as an :class:`Evaluation`, with the penalties that layers add and the findings.

    Raises:
        ValueError: If the model is not compiled with a loss of :mod:`tfae.losses`, or does not fit it or the data; if
            ``dataset`` or ``train`` does not yield such batches, is empty or endless; if the data, or what the model
            makes of it, is not finite or is outside ``loss.domain``.

    Example:
        >>> from tfae.losses import SquaredError
        >>> halves = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(0.5)])
        >>> halves.compile(loss=SquaredError())
        >>> x = np.array([[1, 1], [0, 1], [0, 0]], "float32")
        >>> dataset = tf.data.Dataset.from_tensor_slices((x, x)).batch(2)
        >>> evaluation = evaluate(halves, dataset, train=dataset)
        >>> evaluation.loss, round(evaluation.constant_loss, 4), round(evaluation.constant_skill, 4)
        (0.25, 0.4444, 0.4375)

    Reference:
        Eckart and Young, "The approximation of one matrix by another of lower rank" (1936), and Baldi and Hornik,
        "Neural networks and principal component analysis" (1989): PCA as the best linear autoencoder under squared
        error. Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
        similarity" (2004): SSIM, here with a Gaussian window of σ = 1.5 that spans 11 × 11 pixels or the largest
        odd number that fits, averaged over channels. Burda, Grosse, Salakhutdinov, "Importance weighted autoencoders"
        (2016): active units and the bound. Alemi et al., "Fixing a broken ELBO" (2018): rate and distortion.
    """
    loss = get_loss(autoencoder)
    dataset, train = _without_weights(dataset), None if train is None else _without_weights(train)
    check(None, loss, autoencoder, ignore=ignore)
    shape = sample_shape(autoencoder, dataset)
    interval = _interval(data_range)
    latent_dim = latent_dim_of(autoencoder, shape)
    encoder = None if isinstance(latent_dim, str) else find_encoder(autoencoder, shape)
    for name, value in (("num_draws", num_draws), ("seed", seed)):
        if not isinstance(value, int) or not 0 <= value < 2**31:
            raise ValueError(f"{name}: expected an integer of at least 0, below 2³¹; received {value!r}.")
    gaussian = find_gaussian(autoencoder)
    draws = NOT_VARIATIONAL if gaussian is None else Draws(find_decoder(autoencoder, shape), num_draws, seed)
    split = Split(loss, shape, interval, latent_dim, draws)
    if train is not None:
        progress.log.info("evaluating the training split")
        quantities = {name: METRICS[name].quantities(split)[name] for name in ("loss", "floor")}
        quantities["masked"] = _is_masked
        split.train = gather_totals(measure_batches(autoencoder, train, quantities, name="train", ignore=ignore))
        check(split.train.samples, loss, autoencoder, ignore=ignore)
        progress.log.info("fitting the baselines")
        split.baselines = _no_baselines(loss, split.train) or baselines.fit(
            train, loss, shape, latent_dim=None if isinstance(latent_dim, str) else latent_dim, interval=interval
        )
    progress.log.info("evaluating the data")
    if are_images(shape):
        split.given_interval = interval or likely_interval(*_observed_interval(dataset))
    measured = measure_batches(autoencoder, dataset, split.quantities(), encoder=encoder, ignore=ignore)
    split.totals = gather_totals(measured, on_losses)
    values, reasons = split.measure()
    evaluation = Evaluation(
        loss_name=loss.name,
        sample_reduction=loss.sample_reduction,
        loss_unit=loss.unit,
        values=values,
        penalties=split.totals.penalties,
        reasons=reasons,
        columns=split.columns(),
        units=split.units(),
    )
    spread = 0.0 if is_deterministic(autoencoder, shape) else _spread(autoencoder, dataset.take(1), ignore)
    # Of Keras, or called alike.
    adds_noise = any(re.search("Dropout|Noise", type(layer).__name__) for layer in layers_of(autoencoder))
    can_copy = not evaluation.penalties and not adds_noise
    findings: list[Finding] = []
    if gaussian is not None:
        given = getattr(history, "history", history) or {}
        findings += find_posterior_faults(evaluation, loss, gaussian, train, split.baselines, given)
    findings += collect_findings(evaluation, split, spread=spread, can_copy=can_copy)
    return dataclasses.replace(evaluation, findings=tuple(findings))


def scores(autoencoder: keras.Model, dataset: tf.data.Dataset, *, ignore: Collection[str] = ()) -> np.ndarray:
    """The score of each sample of a data set, in its order: the higher, the more anomalous.

    They are what ``autoencoder.loss.per_sample`` gives, float ``(num_samples,)``; of a model with ``score_elements``,
    such as :class:`tfae.models.Denoiser`, the sums of these; and with ``tfae.models.Gaussian(score="negative_elbo")``
    the divergence is added. Arguments and errors are those of
    :func:`evaluate`: ignoring "domain" and "activation" lets data and reconstructions leave ``loss.domain``.

    Example:
        >>> from tfae.losses import SquaredError
        >>> halves = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(0.5)])
        >>> halves.compile(loss=SquaredError())
        >>> x = np.array([[1, 1], [0, 1], [0, 0]], "float32")
        >>> scores(halves, tf.data.Dataset.from_tensor_slices((x, x)).batch(2)).tolist()
        [0.5, 0.25, 0.0]
    """
    loss, dataset = get_loss(autoencoder), _without_weights(dataset)
    if hasattr(autoencoder, "score_elements"):
        score = tf.function(lambda x: sum_per_sample(autoencoder.score_elements(x)), reduce_retracing=True)
        found = np.concatenate([score(x).numpy() for _, x in dataset])
        if not np.isfinite(found).all():
            raise ValueError(
                f"dataset: expected finite scores; received {found[~np.isfinite(found)][0]} for sample "
                f"{np.isfinite(found).argmin()}. Has training diverged? Lower the learning rate."
            )
        return found

    def score_batch(batch: Batch) -> tf.Tensor:
        score = loss.per_sample(batch.x, batch.output, mask=batch.mask)
        return score + rate_per_sample(loss, batch.x, batch.posterior) if scores_by_elbo(autoencoder) else score

    batches = measure_batches(autoencoder, dataset, {"loss": score_batch}, ignore=ignore)
    return np.concatenate([batch.quantities["loss"] for batch in batches])


def has_own_score(autoencoder: keras.Model) -> bool:
    """Return whether a model scores samples by something else than its loss."""
    return hasattr(autoencoder, "score_elements") or scores_by_elbo(autoencoder)


def _without_weights(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Batches ``(inputs, x)``: an evaluation is of samples as they are, whatever they weigh in training."""
    spec = getattr(dataset, "element_spec", None)
    is_weighted = isinstance(spec, tuple) and len(spec) == 3 and spec[2].shape.rank == 1
    return dataset.map(lambda inputs, x, _: (inputs, x)) if is_weighted else dataset


def _spread(autoencoder: keras.Model, dataset: tf.data.Dataset, ignore: Collection[str]) -> float:
    """Mean difference of the scores of two passes over the same samples, relative to their mean."""
    first, second = (scores(autoencoder, dataset, ignore=ignore) for _ in range(2))
    return float(np.abs(first - second).mean() / max(np.abs(first).mean(), np.finfo("float32").tiny))


def _is_masked(batch: Batch) -> tf.Tensor:
    """Whether elements of a sample count for nothing, as a Keras mask that comes with the output says."""
    mask = mask_of(batch.output)
    if mask is None:
        return tf.zeros(tf.shape(batch.x)[:1])
    kept = tf.reshape(tf.cast(mask, "float32"), (tf.shape(batch.x)[0], -1))
    return 1 - tf.reduce_min(kept, axis=1)


def _no_baselines(loss: ReconstructionLoss, trained: Totals) -> str | None:
    """Why no baseline can be fitted; None where one can."""
    if not is_within(trained.samples, loss.domain):
        return f"the training split leaves {list(loss.domain or ())}, where {loss.name} is defined"
    if trained.means["masked"]:
        return "the model masks elements"
    return None


def _interval(data_range: float | tuple[float, float] | None) -> tuple[float, float] | None:
    if data_range is None:
        return None
    bounds = np.asarray((0, data_range) if np.ndim(data_range) == 0 else data_range, "float64")
    if bounds.shape != (2,) or not np.isfinite(bounds).all() or bounds[0] >= bounds[1]:
        raise ValueError(
            f"data_range: expected a positive number or a pair (low, high), low < high; received {data_range!r}."
        )
    return float(bounds[0]), float(bounds[1])


def _observed_interval(dataset: tf.data.Dataset) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for _, x in dataset:
        low, high = min(low, float(tf.reduce_min(x))), max(high, float(tf.reduce_max(x)))
    return low, high
