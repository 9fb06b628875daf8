"""How close reconstructions are to their samples: the model's own loss, and yardsticks that compare models.

Everything is measured per sample and averaged over samples, in model space and without clipping, in memory
that does not grow with the data: one batch at a time, and sums in float64.
"""

from __future__ import annotations

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from tfae.losses import AbsoluteError, SquaredError, loss_of
from tfae.measurement import Measure, measured, sample_shape


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` measured. All means are over samples; ``print`` shows it as a table."""

    #: Name of the loss, ``autoencoder.loss.name``.
    loss_name: str
    #: How the loss makes a sample's elements one number, ``"sum"`` or ``"mean"``.
    sample_reduction: str
    #: Unit of the loss: ``"nats"`` for cross-entropy; None for losses in the (squared) unit of model space.
    loss_unit: str | None
    #: Mean per-sample loss, with the loss's own ``sample_reduction``; penalties of the layers not included.
    loss: float
    #: The same, averaged over the elements of a sample.
    loss_per_element: float
    #: Mean squared error per element, in the squared unit of model space.
    mse: float
    #: Mean absolute error per element, in the unit of model space.
    mae: float
    #: Mean over samples of the peak signal-to-noise ratio 10 log₁₀(data_range² / mseᵢ), in decibels. Exact
    #: reconstructions have an infinite one and are left out; infinite if all are exact, None if the data is constant.
    psnr: float | None
    #: Number of samples that are reconstructed exactly, and therefore are left out of ``psnr``.
    num_exact: int
    #: Mean structural similarity, at most 1; None where samples are not images of at least 7 × 7 pixels.
    ssim: float | None
    #: Difference between the largest and the smallest value the data can take, in model space.
    data_range: float
    #: Number of samples.
    num_samples: int
    #: Number of elements of one sample.
    num_elements: int

    def as_dict(self) -> dict[str, float | int | str | None]:
        """Plain values by field name, fit for JSON: what is not a finite number is None."""
        values = dataclasses.asdict(self)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}

    def __str__(self) -> str:
        """A small table."""
        unit = f"{self.loss_unit}, " if self.loss_unit else ""
        of = {"sum": "the elements' sum", "mean": "the elements' mean"}[self.sample_reduction]
        left_out = f", {self.num_exact:,} exact left out" if self.num_exact else ""
        rows: list[tuple[str, float | None, str]] = [
            ("loss per sample", self.loss, unit + of),
            ("loss per element", self.loss_per_element, self.loss_unit or ""),
            ("MSE", self.mse, ""),
            ("MAE", self.mae, ""),
            ("PSNR", self.psnr, f"dB, data range {self.data_range:.4g}{left_out}"),
            ("SSIM", self.ssim, ""),
        ]
        numbers = _aligned([number for _, number, _ in rows])
        lines = [f"{row[0]:18}{number}  {row[2]}".rstrip() for row, number in zip(rows, numbers, strict=True)]
        title = f"{self.loss_name} on {self.num_samples:,} samples of {self.num_elements:,} elements"
        return "\n".join([title, *lines])


def evaluate(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    *,
    data_range: float | tuple[float, float] | None = None,
) -> Evaluation:
    """Measure the reconstructions of a data set.

    The model is run once over the data, in inference mode.

    Args:
        autoencoder: Model compiled with a loss of :mod:`tfae.losses`.
        dataset: Batches ``(x, x)`` in model space, such as ``data.test``; the first is what the model gets, the
            second what it is compared with. float, ``(batch, ...)``.
        data_range: The values that the data can take, ``(low, high)`` in model space, such as
            ``data.preprocessing.value_range``; a number R stands for ``(0, R)``. PSNR and SSIM are relative to it. By
            default it is (0, 1) or (-1, 1) if these hold all the data, and otherwise the smallest and the largest
            value; for images this takes an additional pass over the data, without the model.

    Returns:
        The measures, as an :class:`Evaluation`.

    Raises:
        ValueError: If the model is not compiled with a loss of :mod:`tfae.losses`; if ``dataset`` does not
            yield such batches, is empty or endless; if the data, or what the model makes of it, is not finite
            or is outside ``loss.domain``.

    Example:
        >>> halves = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(0.5)])
        >>> halves.compile(loss=SquaredError())
        >>> x = np.array([[1, 1], [0, 1], [0, 0]], "float32")
        >>> print(evaluate(halves, tf.data.Dataset.from_tensor_slices((x, x)).batch(2)))
        squared_error on 3 samples of 2 elements
        loss per sample     0.25    the elements' sum
        loss per element    0.125
        MSE                 0.125
        MAE                 0.25
        PSNR                7.5257  dB, data range 1, 1 exact left out
        SSIM              n/a

    Reference:
        Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
        similarity" (2004): SSIM, here with a Gaussian window of σ = 1.5 that spans 11 × 11 pixels or the largest
        odd number that fits, averaged over channels.
    """
    loss = loss_of(autoencoder)
    shape = sample_shape(autoencoder, dataset)
    interval = _interval(data_range)

    per_element = type(loss).from_config({**loss.get_config(), "sample_reduction": "mean"})
    measures = {"loss": loss.per_sample, "loss_per_element": per_element.per_sample}
    yardsticks: dict[str, Measure] = {
        "mse": SquaredError(sample_reduction="mean", dtype=loss.dtype).per_sample,
        "mae": AbsoluteError(sample_reduction="mean", dtype=loss.dtype).per_sample,
    }
    if _are_images(shape):
        interval = interval or _default_interval(*_observed_interval(dataset))
        if interval[1] > interval[0]:
            yardsticks["ssim"] = _ssim(shape, *interval)

    sums = dict.fromkeys([*measures, *yardsticks, "log10_mse"], 0.0)
    num_samples = num_exact = 0
    low, high = math.inf, -math.inf
    for batch in measured(autoencoder, dataset, measures, yardsticks):
        low, high = min(low, batch["low"].min()), max(high, batch["high"].max())
        inexact = batch["mse"][batch["mse"] > 0].astype("float64")
        batch["log10_mse"] = np.log10(inexact)
        for name in sums:
            sums[name] += float(batch[name].sum(dtype="float64"))
        num_samples += len(batch["mse"])
        num_exact += len(batch["mse"]) - len(inexact)

    low, high = interval or _default_interval(low, high)
    means = {name: sums[name] / num_samples for name in sums}
    return Evaluation(
        loss_name=loss.name,
        sample_reduction=loss.sample_reduction,
        loss_unit=loss.unit,
        loss=means["loss"],
        loss_per_element=means["loss_per_element"],
        mse=means["mse"],
        mae=means["mae"],
        psnr=_mean_psnr(high - low, sums["log10_mse"], num_samples - num_exact),
        num_exact=num_exact,
        ssim=means.get("ssim"),
        data_range=high - low,
        num_samples=num_samples,
        num_elements=math.prod(shape),
    )


def scores(autoencoder: keras.Model, dataset: tf.data.Dataset) -> np.ndarray:
    """The loss of each sample of a data set, in its order: the higher, the worse the reconstruction.

    Args:
        autoencoder: Model compiled with a loss of :mod:`tfae.losses`.
        dataset: Batches ``(x, x)`` in model space, such as ``data.test``.

    Returns:
        float ``(num_samples,)``, what ``autoencoder.loss.per_sample`` gives.

    Raises:
        ValueError: As :func:`evaluate`.

    Example:
        >>> halves = keras.Sequential([keras.Input((2,)), keras.layers.Rescaling(0.5)])
        >>> halves.compile(loss=SquaredError())
        >>> x = np.array([[1, 1], [0, 1], [0, 0]], "float32")
        >>> scores(halves, tf.data.Dataset.from_tensor_slices((x, x)).batch(2)).tolist()
        [0.5, 0.25, 0.0]
    """
    measures = {"loss": loss_of(autoencoder).per_sample}
    return np.concatenate([batch["loss"] for batch in measured(autoencoder, dataset, measures, {})])


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


def _mean_psnr(data_range: float, sum_log10_mse: float, num_inexact: int) -> float | None:
    if data_range == 0:
        return None
    if num_inexact == 0:
        return math.inf
    return 20 * math.log10(data_range) - 10 * sum_log10_mse / num_inexact


def _are_images(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[2] <= 4 and min(shape[:2]) >= 7


def _ssim(shape: tuple[int, ...], low: float, high: float) -> Measure:
    side = min(11, *shape[:2])
    size = side - 1 + side % 2  # the largest odd number that fits

    def ssim(x: tf.Tensor, reconstruction: tf.Tensor, *, mask: tf.Tensor | None) -> tf.Tensor:
        # Shifted to begin at 0: SSIM compares local means as ratios, so that the same pictures in [0, 1] and in
        # [-1, 1] would otherwise differ.
        x, reconstruction = (tf.cast(tensor - low, "float32") for tensor in (x, reconstruction))
        return tf.image.ssim(x, reconstruction, max_val=high - low, filter_size=size)

    return ssim


def _aligned(numbers: list[float | None]) -> list[str]:
    """Five significant digits each, one decimal point below the other."""
    texts = ["n/a" if number is None else f"{number:,.5g}" for number in numbers]
    parts = [text.partition(".") for text in texts]
    before, after = max(len(part[0]) for part in parts), max(len(part[2]) for part in parts)
    return [f"{left:>{before}}{point or ' '}{right:{after}}" for left, point, right in parts]
