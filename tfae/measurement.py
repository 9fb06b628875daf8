"""Running a model over a data set, batch by batch, with every sample checked on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator

import keras
import numpy as np
import tensorflow as tf

from tfae.losses import DOMAIN_TOLERANCE, ReconstructionLoss, mask_of

#: Called as ``measure(x, output, mask=mask)``; returns ``(batch,)``.
Measure = Callable[..., tf.Tensor]


def measured(
    autoencoder: keras.Model,
    dataset: tf.data.Dataset,
    measures: dict[str, Measure],
    yardsticks: dict[str, Measure],
    *,
    encoder: keras.Model | None = None,
    name: str = "dataset",
    ignore: Collection[str] = (),
) -> Iterator[dict[str, np.ndarray]]:
    """Values of each batch by name, ``(batch,)`` each, with extremes "low" and "high" of each sample.

    ``measures`` are of the model's output, as losses are; ``yardsticks`` are of the reconstruction, whose extremes are
    "output_low" and "output_high". With an ``encoder``, "code" is what it emits, ``(batch, units)``. ``name`` is what
    errors call the data set. Under "domain" in ``ignore``, samples may be outside ``loss.domain``, and under
    "activation" reconstructions may: those are the checks of :func:`tfae.checks.check` that say so beforehand.
    """
    ignored = {ignore} if isinstance(ignore, str) else set(ignore)
    loss = autoencoder.loss
    shape = sample_shape(autoencoder, dataset, name=name)
    signature = [tf.TensorSpec((None, *shape), spec.dtype) for spec in dataset.element_spec]

    # One trace for all batch sizes; without AutoGraph, which would wrap exceptions in its own words.
    @tf.function(input_signature=signature, autograph=False)
    def measure(inputs: tf.Tensor, x: tf.Tensor) -> dict[str, tf.Tensor]:
        output = autoencoder(inputs, training=False)
        mask = mask_of(output)
        reconstruction = loss.reconstruction(output)
        axes = tuple(range(1, len(shape) + 1))
        values = {name: of(x, output, mask=mask) for name, of in measures.items()}
        values |= {name: of(x, reconstruction, mask=mask) for name, of in yardsticks.items()}
        for prefix, tensor in {"": x, "output_": reconstruction}.items():
            values[f"{prefix}low"] = tf.reduce_min(tensor, axes)
            values[f"{prefix}high"] = tf.reduce_max(tensor, axes)
            values[f"{prefix}finite"] = tf.reduce_all(tf.math.is_finite(tensor), axes)
        if encoder is not None:
            code = encoder(inputs, training=False)
            values["code"] = tf.reshape(code, (-1, math.prod(code.shape[1:])))
        return values

    # The concrete function, because tf.function would warn that each evaluation makes a new one.
    run = measure.get_concrete_function()
    start = 0
    for inputs, x in dataset:
        if not len(x):
            continue
        values = {key: value.numpy() for key, value in run(inputs, x).items()}
        _check(values, loss, start, name, ignored)
        for key in measures:
            if not np.isfinite(values[key]).all():
                raise ValueError(
                    f"{name}: expected losses that fit into {values[key].dtype}; received {key} "
                    f"{values[key].max()} for sample {start + np.isfinite(values[key]).argmin()}. Scale the data: "
                    'preprocessing="standard" or "unit".'
                )
        start += len(values["low"])
        yield values
    if start == 0:
        raise ValueError(f"{name}: expected at least one sample; received an empty data set.")


def _check(
    values: dict[str, np.ndarray], loss: ReconstructionLoss, start: int, dataset_name: str, ignored: set[str]
) -> None:
    """Raise unless the batch that begins with sample ``start`` is finite and in the domain of the loss."""
    bottom, top = loss.domain or (-math.inf, math.inf)
    for prefix, name, silenced_by, if_not_finite, if_outside in (
        (
            "",
            dataset_name,
            "domain",
            "Drop it or fill it in.",
            'Use preprocessing="unit", or SquaredError or AbsoluteError.',
        ),
        (
            "output_",
            "autoencoder",
            "activation",
            "Has training diverged? Lower the learning rate.",
            f'End the model with activation="{loss.output_activation()}", or compile it for from_logits=True.',
        ),
    ):
        finite, low, high = (values[prefix + name] for name in ("finite", "low", "high"))
        if not finite.all():
            raise ValueError(
                f"{name}: expected finite values; received NaN or infinity for sample {start + finite.argmin()}. "
                f"{if_not_finite}"
            )
        is_outside = low.min() < bottom - DOMAIN_TOLERANCE or high.max() > top + DOMAIN_TOLERANCE
        if is_outside and silenced_by not in ignored:
            raise ValueError(
                f"{name}: expected values in [{bottom:g}, {top:g}], where {loss.name} is defined; received values "
                f"from {low.min():.6g} to {high.max():.6g}. {if_outside} To go on all the same, silence this with "
                f'ignore=["{silenced_by}"].'
            )


def sample_shape(autoencoder: keras.Model, dataset: tf.data.Dataset, *, name: str = "dataset") -> tuple[int, ...]:
    """Shape of one sample of a data set that is checked to hold batches ``(x, x)``; errors call it ``name``."""
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
    expected = tf.TensorShape(getattr(autoencoder, "input_shape", None))
    if not shape.is_compatible_with(expected) or not shape.merge_with(expected)[1:].is_fully_defined():
        raise ValueError(
            f"{name}: expected batches of a known shape like {expected}, which the model takes; received {shape}. "
            "Is it batched?"
        )
    return tuple(shape.merge_with(expected)[1:].as_list())
