"""Runs a model over a data set batch by batch, and checks every sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfae import progress
from tfae.checks import remedies
from tfae.checks.layers import sum_penalties
from tfae.losses import ReconstructionLoss, TableLoss, is_within, mask_of
from tfae.losses.loss_parts import noted
from tfae.models.gaussian import find_gaussian
from tfae.models.structure import sample_shape_of, validate_output


class Batch(NamedTuple):
    """Samples and what the model makes of them, as tensors ``(batch, ...)`` of one shape inside a graph."""

    #: In model space.
    x: tf.Tensor
    #: What the model emits: logits, for instance.
    output: tf.Tensor
    #: What the output stands for, in model space.
    reconstruction: tf.Tensor
    #: What counts: the Keras mask of the output, and what is no gap of a table; None where all does.
    mask: tf.Tensor | None
    #: μ and log σ² of a Gaussian bottleneck, ``(batch, 2, latent_dim)``; None without one.
    posterior: tf.Tensor | None
    #: How many batches came before, a scalar.
    index: tf.Tensor
    #: The quantities of metrics that come before in the table, by name, ``(batch,)`` each.
    measured: dict[str, tf.Tensor]


#: A number for each sample of a batch, ``(batch,)``; or one for each column of a table, too, ``(batch, num_columns)``.
Quantity = Callable[[Batch], tf.Tensor]


class Extremes(NamedTuple):
    """The least and the greatest element of each sample, and whether all are finite; arrays ``(batch,)``."""

    low: np.ndarray
    high: np.ndarray
    finite: np.ndarray


class BatchValues(NamedTuple):
    """What is measured of one batch; quantities ``(batch,)``."""

    quantities: dict[str, np.ndarray]
    samples: Extremes
    reconstructions: Extremes
    #: Penalties that layers add for this batch, scalars by name of the layer.
    penalties: dict[str, np.ndarray]
    #: ``(batch, latent_dim)``, with no columns without an encoder.
    latents: np.ndarray


def measure_batches(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    quantities: Mapping[str, Quantity],
    *,
    encoder: keras.Model | None = None,
    name: str = "dataset",
    ignore: Collection[str] = (),
) -> Iterator[BatchValues]:
    """Measure each batch ``(x, x)`` of a data set, which errors call ``name``, in one pass and in inference mode.

    The quantity "loss" has to be finite. That samples leave ``loss.domain`` is an error unless "domain" is ignored, and
    that reconstructions do unless "activation" is.
    """
    ignored = {ignore} if isinstance(ignore, str) else set(ignore)
    loss = autoencoder.loss
    shape = sample_shape(autoencoder, dataset, name=name)
    signature = [tf.TensorSpec((), "int32")] + [
        tf.TensorSpec((None, *shape), each.dtype) for each in dataset.element_spec
    ]
    gaussian = find_gaussian(autoencoder)
    axes = tuple(range(1, len(shape) + 1))

    def extremes(tensor: tf.Tensor) -> Extremes:
        finite = tf.reduce_all(tf.math.is_finite(tensor), axes)
        return Extremes(tf.reduce_min(tensor, axes), tf.reduce_max(tensor, axes), finite)

    # One trace for all batch sizes; without AutoGraph, which would wrap exceptions in its own words.
    @tf.function(input_signature=signature, autograph=False)
    def measure(index: tf.Tensor, inputs: tf.Tensor, x: tf.Tensor) -> BatchValues:
        output = autoencoder(inputs, training=False)
        posterior = None if gaussian is None else noted(f"{gaussian.name}/posterior")
        validate_output(autoencoder, output, shape)
        penalties = sum_penalties(autoencoder)  # The encoder's call below clears those that belong to this one.
        mask = mask_of(output)
        if isinstance(loss, TableLoss):
            mask = tf.logical_not(tf.math.is_nan(x))
            x = tf.where(mask, x, tf.zeros_like(x))
        values: dict[str, tf.Tensor] = {}
        batch = Batch(x, output, loss.reconstruction(output), mask, posterior, index, values)
        latents = tf.zeros((tf.shape(x)[0], 0))
        if encoder is not None:
            latents = encoder(inputs, training=False)
            latents = tf.reshape(latents, (tf.shape(x)[0], -1))
        for key, of in quantities.items():
            values[key] = of(batch)
        return BatchValues(values, extremes(x), extremes(batch.reconstruction), penalties, latents)

    # The concrete function, because tf.function would warn that each evaluation makes a new one.
    run = measure.get_concrete_function()
    start = 0
    counted = progress.count(dataset, "running the model", int(dataset.cardinality()))
    for index, (inputs, x) in enumerate(counted):
        if not len(x):
            continue
        values: BatchValues = tf.nest.map_structure(lambda tensor: tensor.numpy(), run(tf.constant(index), inputs, x))
        if not values.samples.finite.all():
            # NaN is a gap where the loss takes it for one.
            is_wrong = np.isinf if isinstance(loss, TableLoss) else lambda samples: ~np.isfinite(samples)
            sample, *element = np.argwhere(is_wrong(x.numpy()))[0].tolist()
            raise ValueError(
                f"{name}: expected finite values in model space; received {x[(sample, *element)].numpy()} for sample "
                f"{start + sample} at {tuple(element)} (counted from 0). Drop the sample, or correct it."
            )
        _validate(values, loss, start, name, ignored)
        start += len(x)
        yield values
    if start == 0:
        raise ValueError(f"{name}: expected at least one sample; received an empty data set.")


def _validate(values: BatchValues, loss: ReconstructionLoss, start: int, dataset_name: str, ignored: set[str]) -> None:
    """Raise unless the batch that begins with sample ``start`` is finite and in the domain of the loss."""
    bottom, top = loss.domain or (-math.inf, math.inf)
    for name, (low, high, finite), silenced_by, remedy_of in (
        (dataset_name, values.samples, "domain", remedies.outside_domain),
        ("autoencoder", values.reconstructions, "activation", remedies.ending),
    ):
        if not finite.all():  # Of samples, the caller has said where.
            raise ValueError(
                f"{name}: expected finite values; received NaN or infinity for sample {start + finite.argmin()}. "
                "Has training diverged? Lower the learning rate."
            )
        if not is_within((low.min(), high.max()), loss.domain) and silenced_by not in ignored:
            raise ValueError(
                f"{name}: expected values in [{bottom:g}, {top:g}], where {loss.name} is defined; received values "
                f"from {low.min():.6g} to {high.max():.6g}. {remedy_of(loss)} To go on all the same, silence this with "
                f'ignore=["{silenced_by}"].'
            )
    losses = values.quantities["loss"]
    if not np.isfinite(losses).all():
        raise ValueError(
            f"{dataset_name}: expected losses that fit into {losses.dtype}; received loss {losses.max()} for sample "
            f'{start + np.isfinite(losses).argmin()}. Scale the data: preprocessing="standard" or "unit".'
        )


def sample_shape(autoencoder: keras.Model, dataset: tf.data.Dataset, *, name: str = "dataset") -> tuple[int, ...]:
    """Return the shape of one sample, once the data set is found to hold batches ``(x, x)`` for the model."""
    if not isinstance(dataset, tf.data.Dataset):
        raise ValueError(
            f"{name}: expected a tf.data.Dataset; received {type(dataset).__name__}. Make one of an array x with "
            "tf.data.Dataset.from_tensor_slices((x, x)).batch(128)."
        )
    spec = dataset.element_spec
    if not (
        isinstance(spec, tuple)
        and len(spec) == 2
        and all(isinstance(part, tf.TensorSpec) and part.dtype.is_floating for part in spec)
        and spec[0].shape.is_compatible_with(spec[1].shape)
    ):
        raise ValueError(
            f"{name}: expected batches (x, x) of floats in model space; received {spec}. Samples are their own "
            "targets: dataset.map(lambda x, *rest: (x, x))."
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"{name}: expected a finite one; received one that repeats forever. Use take().")
    shape = spec[0].shape.merge_with(spec[1].shape)
    sides = sample_shape_of(autoencoder)
    expected = tf.TensorShape(None if sides is None else (None, *sides))
    if not shape.is_compatible_with(expected) or not shape.merge_with(expected)[1:].is_fully_defined():
        raise ValueError(
            f"{name}: expected batches of a known shape like {expected}, which the model takes; received {shape}. "
            "Is it batched?"
        )
    return tuple(shape.merge_with(expected)[1:].as_list())
