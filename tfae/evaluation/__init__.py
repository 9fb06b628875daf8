"""Whether a reconstruction loss is good: its floor, what trivial models reach, and yardsticks that compare models.

    Evaluation     the measures, as a table, as JSON, and back
    Finding        a warning, with its figure and the remedy

Everything is measured per sample and averaged over samples, in model space, in memory that does not grow with the data:
one batch at a time, sums in float64, and rank correlations on a random sample where there are very many.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection

import keras
import numpy as np
import tensorflow as tf

from tfae.checks import check, check_range
from tfae.evaluation import baselines, codes, yardsticks
from tfae.evaluation.evaluation import Evaluation
from tfae.evaluation.findings import Finding, findings_of
from tfae.evaluation.images import are_images, sharpness
from tfae.evaluation.ranks import rank_correlation
from tfae.losses import ReconstructionLoss, get_loss, mask_of
from tfae.measurement import measured, sample_shape

__all__ = ["Evaluation", "Finding", "evaluate", "scores"]

#: Why there is nothing to compare with.
NO_TRAINING_SPLIT = "no training split was given"

#: Why there is no number where float32 has none.
OVERFLOW = "the values are too large for float32"


def evaluate(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    *,
    train: tf.data.Dataset | None = None,
    data_range: float | tuple[float, float] | None = None,
    ignore: Collection[str] = (),
) -> Evaluation:
    """Measure the reconstructions of a data set, and compare them with those of trivial models.

    skill = 1 − (loss − floor) / (loss of the baseline − floor)

    The model is run once over the data, in inference mode, and once over the training split.

    Args:
        autoencoder: Model compiled with a loss of :mod:`tfae.losses`. What its sub-model "encoder" emits is the code.
        dataset: Batches ``(x, x)`` in model space, such as ``data.test``; the first is what the model gets, the
            second what it is compared with. float, ``(batch, ...)``.
        train: Likewise the training split, such as ``data.train_from(0)``. The baselines are fitted on it: the best
            constant of each element, its mean or, under absolute error, its median; and PCA with as many components as
            the code has units, clipped into the data's range. Without it there are none. It is gone through some
            times, and never held, but for the median of at most 256 MB.
        data_range: The values that the data can take, ``(low, high)`` in model space, such as
            ``data.preprocessing.value_range``; a number R stands for ``(0, R)``. PSNR and SSIM are relative to it, and
            PCA is clipped into it. By default it is (0, 1) or (-1, 1) if these hold all the data, and otherwise the
            smallest and the largest value; for images this takes an additional pass over the data, without the
            model. PCA is clipped to what the training split spans, then.
        ignore: Names of checks of :func:`tfae.checks.check` to leave out.

    Returns:
        The measures, as an :class:`Evaluation`, and in it the findings.

    Raises:
        ValueError: If the model is not compiled with a loss of :mod:`tfae.losses`, or does not fit it or the training
            split; if ``dataset`` or ``train`` does not yield such batches, is empty or endless; if the data, or what
            the model makes of it, is not finite or is outside ``loss.domain``.

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
        (2016): active units.
    """
    loss = get_loss(autoencoder)
    check(None, loss, autoencoder, ignore=ignore)
    shape = sample_shape(autoencoder, dataset)
    interval = _interval(data_range)
    encoder, no_code = codes.encoder_of(autoencoder)
    latent_dim = None if encoder is None else codes.width_of(encoder)

    trained = fitted = None
    no_baselines: str | None = NO_TRAINING_SPLIT
    if train is not None:
        trained = yardsticks.gather(
            autoencoder,
            train,
            {"loss": loss.per_sample},
            yardsticks.of_samples(loss),
            name="train",
            ignore=ignore,
        )
        check_range(trained.low, trained.high, loss, autoencoder, ignore=ignore)
        no_baselines = _no_baselines(autoencoder, loss, shape, trained)
        if no_baselines is None:
            fitted = baselines.fit(train, loss, shape, latent_dim=latent_dim, interval=interval)

    measures = yardsticks.of_samples(loss) | yardsticks.of_reconstructions(loss)
    if are_images(shape):
        interval = interval or _default_interval(*_observed_interval(dataset))
        measures |= yardsticks.of_images(shape, *interval)
    if fitted is not None:
        measures |= yardsticks.of_baselines(loss, fitted)
    totals = yardsticks.gather(
        autoencoder,
        dataset,
        yardsticks.of_outputs(loss),
        measures,
        encoder=encoder,
        rank=() if fitted is None else ("loss", "distance", "constant"),
        ignore=ignore,
    )

    means, num_samples = totals.means, totals.num_samples
    floor, excess = means["floor"], means["loss"] - means["floor"]
    low, high = interval or _default_interval(totals.low, totals.high)
    code = codes.Code(None, None, no_code) if totals.code is None else codes.measure_code(totals.code)
    is_own = loss.is_crossentropy
    no_nats = "a sample is not in [0, 1]" if totals.samples_leave((0, 1)) else None
    if is_own and totals.reconstructions_leave((0, 1)):
        no_nats = "a reconstruction is not in [0, 1]"
    nats = means["loss_per_element" if is_own else "crossentropy"] if no_nats is None else None
    constant_loss, linear_loss = (_finite(means.get(name)) for name in ("constant", "linear"))
    ranked = totals.ranked
    evaluation = Evaluation(
        loss_name=loss.name,
        sample_reduction=loss.sample_reduction,
        loss_unit=loss.unit,
        loss=means["loss"],
        loss_per_element=means["loss_per_element"],
        mse=means["mse"],
        mae=means["mae"],
        psnr=_mean_psnr(high - low, means["log10_mse"], num_samples, totals.num_exact),
        num_exact=totals.num_exact,
        ssim=_finite(means.get("ssim")),
        data_range=high - low,
        num_samples=num_samples,
        num_elements=math.prod(shape),
        floor=floor,
        excess=excess,
        constant_loss=constant_loss,
        constant_skill=baselines.skill(excess, constant_loss, floor, constant_loss=constant_loss),
        linear_loss=linear_loss,
        linear_skill=baselines.skill(excess, linear_loss, floor, constant_loss=constant_loss),
        train_loss=None if trained is None else trained.means["loss"],
        crossentropy=nats,
        crossentropy_margin=0.0 if is_own else yardsticks.MARGIN,
        bits=None if nats is None else nats / math.log(2),
        sharpness=_finite(sharpness(means)) if are_images(shape) else None,
        latent_dim=latent_dim,
        num_active_units=code.num_active_units,
        effective_dimension=code.effective_dimension,
        triviality=rank_correlation(ranked["loss"], ranked["distance"]) if ranked else None,
        constant_triviality=rank_correlation(ranked["loss"], ranked["constant"]) if ranked else None,
    )
    exact = "the constant" if evaluation.constant_skill is None else "PCA"
    are_large = not all(math.isfinite(means.get(name, 0)) for name in ("energy", "reconstructed_energy", "ssim"))
    no_images = "samples are not images" if not are_images(shape) else OVERFLOW if are_large else None
    no_constant = no_baselines or (OVERFLOW if constant_loss is None else None)
    no_linear = no_baselines or (fitted and fitted.reason) or (OVERFLOW if linear_loss is None else None)
    reasons = {
        "constant_loss": no_constant,
        "constant_skill": no_constant or "the constant is exact on these samples",
        "linear_loss": no_linear,
        "linear_skill": no_linear or f"{exact} is exact on these samples",
        "train_loss": NO_TRAINING_SPLIT,
        "crossentropy": no_nats,
        "ssim": no_images or "the data is constant",
        "sharpness": no_images or "the images are flat",
        "psnr": "the data is constant",
        "latent_dim": no_code,
        "num_active_units": code.reason,
        "effective_dimension": code.reason,
        "triviality": no_baselines or "losses or distances do not differ between the samples",
        "constant_triviality": no_baselines or "losses do not differ between the samples",
    }
    found = findings_of(evaluation, loss, totals, trained)
    return dataclasses.replace(
        evaluation,
        findings=tuple(found),
        reasons={name: why for name, why in reasons.items() if why and getattr(evaluation, name) is None},
    )


def scores(autoencoder: keras.Model, dataset: tf.data.Dataset, *, ignore: Collection[str] = ()) -> np.ndarray:
    """The loss of each sample of a data set, in its order: the higher, the worse the reconstruction.

    Args:
        autoencoder: Model compiled with a loss of :mod:`tfae.losses`.
        dataset: Batches ``(x, x)`` in model space, such as ``data.test``.
        ignore: As in :func:`evaluate`: "domain" and "activation" let data and reconstructions leave ``loss.domain``.

    Returns:
        float ``(num_samples,)``, what ``autoencoder.loss.per_sample`` gives.

    Raises:
        ValueError: As :func:`evaluate`.

    Example:
        >>> from tfae.losses import SquaredError
        >>> halves = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(0.5)])
        >>> halves.compile(loss=SquaredError())
        >>> x = np.array([[1, 1], [0, 1], [0, 0]], "float32")
        >>> scores(halves, tf.data.Dataset.from_tensor_slices((x, x)).batch(2)).tolist()
        [0.5, 0.25, 0.0]
    """
    measures = {"loss": get_loss(autoencoder).per_sample}
    return np.concatenate([batch["loss"] for batch in measured(autoencoder, dataset, measures, {}, ignore=ignore)])


def _no_baselines(
    autoencoder: keras.Model, loss: ReconstructionLoss, shape: tuple[int, ...], trained: yardsticks.Totals
) -> str | None:
    """Why no baseline can be fitted; None where one can."""
    if trained.samples_leave(loss.domain):
        return f"the training split leaves {list(loss.domain or ())}, where {loss.name} is defined"
    # A Keras mask comes with the output: elements of a sample count for nothing.
    if mask_of(autoencoder(tf.zeros((1, *shape)), training=False)) is not None:
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


def _default_interval(low: float, high: float) -> tuple[float, float]:
    """The interval that data between ``low`` and ``high`` was most likely scaled to."""
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return float(low), float(high)


def _mean_psnr(data_range: float, mean_log10_mse: float, num_samples: int, num_exact: int) -> float | None:
    if data_range == 0:
        return None
    if num_exact == num_samples:
        return math.inf
    return 20 * math.log10(data_range) - 10 * mean_log10_mse * num_samples / (num_samples - num_exact)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
