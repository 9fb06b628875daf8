"""Runs a model over a data set batch by batch, and checks every sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfae import progress
from tfae.checks import remedies
from tfae.losses import DOMAIN_TOLERANCE, ReconstructionLoss, mask_of
from tfae.models.structure import sample_shape_of, validate_output


class Batch(NamedTuple):
    """Samples and what the model makes of them, as tensors ``(batch, ...)`` of one shape inside a graph."""

    #: In model space.
    x: tf.Tensor
    #: What the model emits: logits, for instance.
    output: tf.Tensor
    #: What the output stands for, in model space.
    reconstruction: tf.Tensor
    #: The Keras mask of the output; None without one.
    mask: tf.Tensor | None


#: A number for each sample of a batch, ``(batch,)``.
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
    """Measure each batch of a data set in one pass, in inference mode.

    Args:
        autoencoder: Compiled with a loss of :mod:`tfae.losses`.
        dataset: Batches ``(x, x)`` in model space.
        quantities: What to measure, by name; "loss" has to be finite.
        encoder: What makes the latents.
        name: What errors call the data set.
        ignore: "domain" lets samples leave ``loss.domain``, and "activation" reconstructions; else it is an error.
    """
    ignored = {ignore} if isinstance(ignore, str) else set(ignore)
    loss = autoencoder.loss
    shape = sample_shape(autoencoder, dataset, name=name)
    signature = [tf.TensorSpec((None, *shape), spec.dtype) for spec in dataset.element_spec]
    axes = tuple(range(1, len(shape) + 1))

    def extremes(tensor: tf.Tensor) -> Extremes:
        finite = tf.reduce_all(tf.math.is_finite(tensor), axes)
        return Extremes(tf.reduce_min(tensor, axes), tf.reduce_max(tensor, axes), finite)

    # One trace for all batch sizes; without AutoGraph, which would wrap exceptions in its own words.
    @tf.function(input_signature=signature, autograph=False)
    def measure(inputs: tf.Tensor, x: tf.Tensor) -> BatchValues:
        output = autoencoder(inputs, training=False)
        validate_output(autoencoder, output, shape)
        penalties = _sum_penalties(autoencoder)  # The encoder's call below clears those that belong to this one.
        batch = Batch(x, output, loss.reconstruction(output), mask_of(output))
        latents = tf.zeros((tf.shape(x)[0], 0))
        if encoder is not None:
            latents = encoder(inputs, training=False)
            latents = tf.reshape(latents, (tf.shape(x)[0], -1))
        values = {key: of(batch) for key, of in quantities.items()}
        return BatchValues(values, extremes(x), extremes(batch.reconstruction), penalties, latents)

    # The concrete function, because tf.function would warn that each evaluation makes a new one.
    run = measure.get_concrete_function()
    start = 0
    for inputs, x in progress.count(dataset, "running the model", int(dataset.cardinality())):
        if not len(x):
            continue
        values: BatchValues = tf.nest.map_structure(lambda tensor: tensor.numpy(), run(inputs, x))
        if not values.samples.finite.all():
            sample, *element = np.argwhere(~np.isfinite(x.numpy()))[0].tolist()
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
        if leaves((low.min(), high.max()), loss.domain) and silenced_by not in ignored:
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


def leaves(span: tuple[float, float], interval: tuple[float, float] | None) -> bool:
    """Whether values leave an interval by more than rounding; nothing leaves None."""
    return interval is not None and (
        span[0] < interval[0] - DOMAIN_TOLERANCE or span[1] > interval[1] + DOMAIN_TOLERANCE
    )


def sample_shape(autoencoder: keras.Model, dataset: tf.data.Dataset, *, name: str = "dataset") -> tuple[int, ...]:
    """Return the shape of one sample, once the data set is found to hold batches ``(x, x)`` for the model.

    Errors call the data set ``name``.
    """
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


def _sum_penalties(model: keras.Model) -> dict[str, tf.Tensor]:
    """Return what layers add to the loss of the batch that the model was last called on, in the same graph.

    These are activity regularizers, ``add_loss`` and regularizers of weights: float scalars by name of the layer, with
    the names of the models that it is in, ``"encoder/hidden_0"``. Their sum is what Keras adds to the loss.
    """
    counted: set[int] = set()
    found = {}
    for name, layer in _named_layers(model):
        regularized = [weight for weight in layer.trainable_weights if weight.regularizer is not None]
        losses = layer.losses
        # Keras lists the regularizers of weights last, computed anew on each access.
        added = losses[: len(losses) - len(regularized)]
        penalties = [loss for loss in added if id(loss) not in counted]
        penalties += [weight.regularizer(weight) for weight in regularized if id(weight) not in counted]
        counted |= {id(each) for each in [*added, *regularized]}
        if penalties:
            found[name] = sum(ops.sum(penalty) for penalty in penalties)
    return found


def _named_layers(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Layers before the models that hold them, to which only what no layer of theirs has adds is left."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _named_layers(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer
    yield prefix[:-1] or model.name, model
