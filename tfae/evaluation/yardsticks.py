"""What is measured of every sample, in one pass over a data set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection

import keras
import numpy as np
import tensorflow as tf

from tfae.evaluation import images, ranks
from tfae.evaluation.baselines import Baselines, on_reconstructions
from tfae.evaluation.codes import MAX_UNITS, width_of
from tfae.losses import DOMAIN_TOLERANCE, AbsoluteError, BinaryCrossentropy, ReconstructionLoss, SquaredError
from tfae.measurement import Measure, measured
from tfae.moments import Moments

#: How far from 0 and 1 reconstructions are kept when their cross-entropy is measured: half of one of the 255 steps of
#: eight-bit data. A linear output leaves [0, 1] now and then, and at exactly 0 or 1 it would lose 87 nats for that.
MARGIN = 0.5 / 255


@dataclasses.dataclass(frozen=True)
class Totals:
    """What a pass over a data set gathered."""

    #: Means over the samples, by name.
    means: dict[str, float]
    #: Of the excess, loss − floor.
    excess: Moments
    #: By name, values of the same samples, of all or of a random choice of ``ranks.NUM_ROWS``.
    ranked: dict[str, np.ndarray]
    #: The least and the greatest value of the samples, and of the reconstructions.
    low: float
    high: float
    output_low: float
    output_high: float
    #: Number of samples that are reconstructed exactly.
    num_exact: int
    #: Of the code; None without an encoder.
    code: Moments | None

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
        return interval is not None and _leaves(self.low, self.high, interval)

    def reconstructions_leave(self, interval: tuple[float, float] | None) -> bool:
        """Whether a reconstruction is."""
        return interval is not None and _leaves(self.output_low, self.output_high, interval)


def gather(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    measures: dict[str, Measure],
    yardsticks: dict[str, Measure],
    *,
    encoder: keras.Model | None = None,
    rank: tuple[str, ...] = (),
    name: str = "dataset",
    ignore: Collection[str] = (),
) -> Totals:
    """Run a model over a data set once, and sum up; ``rank`` names what is kept of samples, to be ranked.

    ``measures`` have to hold "loss", and ``yardsticks`` "floor"; the others are as in :func:`measured`.
    """
    sums = dict.fromkeys([*measures, *yardsticks, "log10_mse", *_SQUARES], 0.0)
    excess, reservoir = Moments(1, scatter="diagonal"), ranks.Reservoir(len(rank), ranks.NUM_ROWS)
    code = None
    if encoder is not None:
        width = width_of(encoder)
        code = Moments(width, scatter="full" if width <= MAX_UNITS else None)
    num_exact = 0
    extremes = {"low": math.inf, "high": -math.inf, "output_low": math.inf, "output_high": -math.inf}
    for batch in measured(autoencoder, dataset, measures, yardsticks, encoder=encoder, name=name, ignore=ignore):
        for key, value in extremes.items():
            extremes[key] = float(min(value, batch[key].min()) if "low" in key else max(value, batch[key].max()))
        for key in _SQUARES:
            if f"{key}_scale" in batch:
                batch[key] = batch[f"{key}_scale"].astype("float64") ** 2 * batch[f"{key}_relative"]
        if "mse" in batch:
            inexact = batch["mse"][batch["mse"] > 0]
            num_exact += len(batch["mse"]) - len(inexact)
            batch["log10_mse"] = np.log10(inexact)
        for key in sums.keys() & batch.keys():
            sums[key] += float(batch[key].sum(dtype="float64"))
        excess.add((batch["loss"].astype("float64") - batch["floor"])[:, None])
        if rank:
            reservoir.add(np.stack([batch[key] for key in rank], 1, dtype="float64"))
        if code is not None:
            code.add(batch["code"])
    return Totals(
        means={key: total / excess.count for key, total in sums.items()},
        excess=excess,
        ranked=dict(zip(rank, reservoir.draw().T, strict=True)),
        num_exact=num_exact,
        code=code,
        **extremes,
    )


def _leaves(low: float, high: float, interval: tuple[float, float]) -> bool:
    return low < interval[0] - DOMAIN_TOLERANCE or high > interval[1] + DOMAIN_TOLERANCE


#: What is measured as the square of a scale, times a share that float32 holds wherever it holds the samples.
_SQUARES = ("mse", "distance")


def _squares(name: str, squared: SquaredError, errors: Callable[..., tf.Tensor]) -> dict[str, Measure]:
    """The largest error of a sample, and the squared error in units of the largest one's square."""

    def scale(x: tf.Tensor, reconstruction: tf.Tensor, *, mask: tf.Tensor | None) -> tf.Tensor:
        values = tf.abs(errors(x, reconstruction))
        return tf.reduce_max(values, tuple(range(1, len(values.shape))))

    def relative(x: tf.Tensor, reconstruction: tf.Tensor, *, mask: tf.Tensor | None) -> tf.Tensor:
        values = errors(x, reconstruction)
        largest = tf.reduce_max(tf.abs(values), tuple(range(1, len(values.shape))), keepdims=True)
        values = tf.math.divide_no_nan(values, largest)
        return squared.per_sample(values, tf.zeros_like(values), mask=mask)

    return {f"{name}_scale": scale, f"{name}_relative": relative}


def of_outputs(loss: ReconstructionLoss) -> dict[str, Measure]:
    """The model's own loss, per sample and per element."""
    per_element = type(loss).from_config({**loss.get_config(), "sample_reduction": "mean"})
    return {"loss": loss.per_sample, "loss_per_element": per_element.per_sample}


def of_reconstructions(loss: ReconstructionLoss) -> dict[str, Measure]:
    """What compares models, whatever their loss."""
    entropy = BinaryCrossentropy(sample_reduction="mean", dtype=loss.dtype)

    def crossentropy(x: tf.Tensor, reconstruction: tf.Tensor, *, mask: tf.Tensor | None) -> tf.Tensor:
        # It will count for nothing if a sample is outside; till then it has to stay finite.
        x, reconstruction = tf.clip_by_value(x, 0, 1), tf.clip_by_value(reconstruction, MARGIN, 1 - MARGIN)
        return entropy.per_sample(x, reconstruction, mask=mask)

    def errors(x: tf.Tensor, reconstruction: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(reconstruction, x.shape) - tf.cast(x, reconstruction.dtype)

    return {
        **_squares("mse", SquaredError(sample_reduction="mean", dtype=loss.dtype), errors),
        "mae": AbsoluteError(sample_reduction="mean", dtype=loss.dtype).per_sample,
        # A model that returned logits would lose the digits of confident ones by way of their sigmoid.
        **({} if isinstance(loss, BinaryCrossentropy) else {"crossentropy": crossentropy}),
    }


def of_samples(loss: ReconstructionLoss) -> dict[str, Measure]:
    """The floor of the loss."""
    readable = on_reconstructions(loss)

    def floor(x: tf.Tensor, _: tf.Tensor, *, mask: tf.Tensor | None) -> tf.Tensor:
        # The floor is the loss of the sample as its own reconstruction; that form knows of masks.
        return loss.floor(x) if mask is None else readable.per_sample(x, x, mask=mask)

    return {"floor": floor}


def of_images(shape: tuple[int, ...], low: float, high: float) -> dict[str, Measure]:
    """Sharpness and structural similarity of images with values in [low, high]."""
    return {**images.energies(shape), **({"ssim": images.ssim(shape, low, high)} if low < high else {})}


def of_baselines(loss: ReconstructionLoss, baselines: Baselines) -> dict[str, Measure]:
    """Losses of the baselines, and the squared distance from the training mean."""
    readable = on_reconstructions(loss)

    def constant(x: tf.Tensor, *_: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        return readable.per_sample(x, tf.broadcast_to(baselines.constant, tf.shape(x)))

    def linear(x: tf.Tensor, *_: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        return readable.per_sample(x, baselines.linear(x))

    def from_mean(x: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return tf.cast(x, "float32") - baselines.mean

    return {
        "constant": constant,
        **_squares("distance", SquaredError(dtype=loss.dtype), from_mean),
        **({} if baselines.components is None else {"linear": linear}),
    }
