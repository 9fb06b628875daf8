"""What is measured of every sample, in one pass over a data set."""

from __future__ import annotations

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from tfae.evaluation import images
from tfae.evaluation.baselines import Baselines, on_reconstructions
from tfae.evaluation.codes import MAX_UNITS, width_of
from tfae.evaluation.moments import Moments
from tfae.losses import DOMAIN_TOLERANCE, AbsoluteError, BinaryCrossentropy, ReconstructionLoss, SquaredError
from tfae.measurement import Measure, measured


@dataclasses.dataclass(frozen=True)
class Totals:
    """What a pass over a data set gathered."""

    #: Means over the samples, by name.
    means: dict[str, float]
    #: By name, the values that are kept for every sample, float64 ``(num_samples,)``.
    per_sample: dict[str, np.ndarray]
    #: The least and the greatest value of the samples.
    low: float
    high: float
    #: Whether all samples and reconstructions are in [0, 1].
    in_unit_interval: bool
    #: Number of samples that are reconstructed exactly.
    num_exact: int
    #: Of the code; None without an encoder.
    code: Moments | None


def gather(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    measures: dict[str, Measure],
    yardsticks: dict[str, Measure],
    *,
    encoder: keras.Model | None = None,
    keep: tuple[str, ...] = (),
    name: str = "dataset",
) -> Totals:
    """Run a model over a data set once, and sum up; ``keep`` names what is kept for every sample."""
    sums = dict.fromkeys([*measures, *yardsticks, "log10_mse"], 0.0)
    kept: dict[str, list[np.ndarray]] = {key: [] for key in keep}
    code = None if encoder is None else Moments(width_of(encoder), with_scatter=width_of(encoder) <= MAX_UNITS)
    num_samples = num_exact = 0
    low = output_low = math.inf
    high = output_high = -math.inf
    for batch in measured(autoencoder, dataset, measures, yardsticks, encoder=encoder, name=name):
        num_samples += len(batch["low"])
        low, high = min(low, batch["low"].min()), max(high, batch["high"].max())
        output_low, output_high = (
            min(output_low, batch["output_low"].min()),
            max(output_high, batch["output_high"].max()),
        )
        if "mse" in batch:
            inexact = batch["mse"][batch["mse"] > 0].astype("float64")
            num_exact += len(batch["mse"]) - len(inexact)
            batch["log10_mse"] = np.log10(inexact)
        for key in sums.keys() & batch.keys():
            sums[key] += float(batch[key].sum(dtype="float64"))
        for key in keep:
            kept[key].append(batch[key])
        if code is not None:
            code.add(batch["code"])
    return Totals(
        means={key: total / num_samples for key, total in sums.items()},
        per_sample={key: np.concatenate(values).astype("float64") for key, values in kept.items()},
        low=float(low),
        high=float(high),
        in_unit_interval=bool(
            min(low, output_low) >= -DOMAIN_TOLERANCE and max(high, output_high) <= 1 + DOMAIN_TOLERANCE
        ),
        num_exact=num_exact,
        code=code,
    )


def of_outputs(loss: ReconstructionLoss) -> dict[str, Measure]:
    """The model's own loss, per sample and per element."""
    per_element = type(loss).from_config({**loss.get_config(), "sample_reduction": "mean"})
    return {"loss": loss.per_sample, "loss_per_element": per_element.per_sample}


def of_reconstructions(loss: ReconstructionLoss) -> dict[str, Measure]:
    """What compares models, whatever their loss."""
    entropy = BinaryCrossentropy(sample_reduction="mean", dtype=loss.dtype)

    def crossentropy(x: tf.Tensor, reconstruction: tf.Tensor, *, mask: tf.Tensor | None) -> tf.Tensor:
        # It will count for nothing if a value is outside; till then it has to stay finite.
        x, reconstruction = (tf.clip_by_value(tensor, 0, 1) for tensor in (x, reconstruction))
        return entropy.per_sample(x, reconstruction, mask=mask)

    return {
        "mse": SquaredError(sample_reduction="mean", dtype=loss.dtype).per_sample,
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
    squared = SquaredError(dtype=loss.dtype)

    def constant(x: tf.Tensor, *_: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        return readable.per_sample(x, tf.broadcast_to(baselines.constant, tf.shape(x)))

    def linear(x: tf.Tensor, *_: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        return readable.per_sample(x, baselines.linear(x))

    def distance(x: tf.Tensor, *_: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        return squared.per_sample(x, tf.broadcast_to(baselines.mean, tf.shape(x)))

    return {
        "constant": constant,
        "distance": distance,
        **({} if baselines.components is None else {"linear": linear}),
    }
