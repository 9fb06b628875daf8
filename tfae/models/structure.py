"""What a Keras model is as an autoencoder, whoever built it: its samples, its encoder and decoder, its one output."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfae.losses.loss_parts import noted
from tfae.models.gaussian import find_gaussian


def sample_shape_of(autoencoder: keras.Model) -> tuple[int | None, ...] | None:
    """Return the shape of one sample that a model takes; None for a free side, and as a whole where it is not known.

    A subclassed model knows it once it is built.

    Raises:
        ValueError: If the model takes several inputs.

    Example:
        >>> sample_shape_of(keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(3)]))
        (None, 3)
    """
    shape = getattr(autoencoder, "input_shape", None)
    if shape is None:  # A subclassed model keeps what it was built with.
        shape = (autoencoder.get_build_config() or {}).get("input_shape")
    if shape is None:
        return None
    if isinstance(shape, dict) or any(isinstance(side, tuple | list) for side in shape):
        names = ", ".join(tensor.name for tensor in getattr(autoencoder, "inputs", ())) or f"{len(shape)}"
        raise ValueError(
            f"autoencoder: expected a model with one input, the sample; received several: {names}. Concatenate them "
            "before the model, and split them inside it. See tfae docs your_own_model."
        )
    return tuple(shape[1:])


def build(autoencoder: keras.Model, shape: tuple[int, ...]) -> None:
    """Build a model for samples of a shape, and see that it reconstructs them.

    Args:
        autoencoder: Any Keras model, built or not.
        shape: Of one sample, without free sides.

    Raises:
        ValueError: If it does not take such samples, or does not return one tensor of floats of their shape.
    """
    expected = sample_shape_of(autoencoder)
    if expected is not None and not tf.TensorShape(expected).is_compatible_with(shape):
        raise ValueError(
            f"autoencoder: expected a model for samples of shape {shape}, those of the data; received one for "
            f"{expected}. Build it with data.shape."
        )
    try:
        output = autoencoder(tf.zeros((1, *shape)), training=False)
    except Exception as error:  # A model of one's own raises what it likes.
        raise ValueError(
            f"autoencoder: expected a model that takes samples of shape {shape}; received one that can not "
            f"({_explain(error)})."
        ) from error
    validate_output(autoencoder, output, shape)


def validate_output(autoencoder: keras.Model, output: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless ``output`` of a model is one tensor of floats, ``(batch, *shape)``."""
    if isinstance(output, dict | list | tuple):
        names = getattr(autoencoder, "output_names", None) or [f"number {index}" for index in range(len(output))]
        raise ValueError(
            f"autoencoder: expected a model that returns the reconstruction alone; received a {type(output).__name__} "
            f"of {', '.join(names)}. Take the autoencoder out of it with tfae.models.select_output(autoencoder, "
            f"{names[0]!r}), or in the call of a subclassed model; what has other outputs to train, its own fit "
            "trains. See tfae docs your_own_model."
        )
    if not output.dtype.is_floating or not tf.TensorShape(shape).is_compatible_with(output.shape[1:]):
        raise ValueError(
            f"autoencoder: expected a model that returns floats of the shape of a sample, {shape}; received "
            f"{output.dtype.name} of shape {tuple(output.shape[1:])}."
        )


def find_encoder(autoencoder: keras.Model, shape: tuple[int, ...]) -> keras.Model | str:
    """Return the model from a sample to its latent, or why there is no latent.

    The latent is what the sub-model "encoder" emits, a layer of that name or an attribute. In a functional model,
    layers before it belong to the encoder; a subclassed one has to call it with the sample itself.

    Args:
        autoencoder: A built model.
        shape: Of one sample, without free sides.
    """
    part = find_part(autoencoder, "encoder")
    if isinstance(part, str):
        return part
    calls = _calls_in_graph(autoencoder, part) or _calls_when_run(autoencoder, part, shape)
    if len(calls) != 1:
        return f"the model calls its encoder {len(calls)} times"
    if reason := _explain_gaussian(autoencoder, part, shape):
        return reason
    taken, emitted = calls[0]
    if not (tf.is_tensor(emitted) or isinstance(emitted, keras.KerasTensor)):
        return "the encoder has several outputs"
    if not isinstance(emitted, keras.KerasTensor):
        # Under mixed precision it comes in the dtype that is computed in.
        is_sample = len(taken) == 1 and np.array_equal(taken[0], tf.cast(_some_samples(shape), taken[0].dtype))
        return part if is_sample else "the model calls its encoder with something else than a sample"
    inputs = autoencoder.inputs[0]
    return part if len(taken) == 1 and taken[0] is inputs else keras.Model(inputs, emitted, name="encoder")


def find_decoder(autoencoder: keras.Model, shape: tuple[int, ...]) -> keras.Model | str:
    """Return the model from the latent of a sample to its reconstruction, or why there is none.

    In a functional model it is what follows the encoder, if nothing leads past it. A subclassed one needs a sub-model
    "decoder", which is tried on samples.

    Args:
        autoencoder: A built model.
        shape: Of one sample, without free sides.
    """
    encoder = find_encoder(autoencoder, shape)
    if isinstance(encoder, str):
        return encoder
    more = "the model does more than decode what the encoder emits"
    calls = _calls_in_graph(autoencoder, find_part(autoencoder, "encoder"))
    if calls:
        try:
            decoder = keras.Model(calls[0][1], autoencoder.outputs[0], name="decoder")
            latents = np.asarray(encoder(_some_samples(shape), training=False))  # An array has no mask.
            decoder(latents, training=False)  # Keras 3.8 notices it only here.
        except (KeyError, ValueError):  # Something else than the latent leads to the output.
            return more
        return decoder
    decoder = find_part(autoencoder, "decoder")
    if isinstance(decoder, str):
        return decoder
    x = _some_samples(shape)
    output = autoencoder(x, training=False)
    try:
        decoded = decoder(encoder(x, training=False), training=False)
    except Exception:  # A layer of one's own raises what it likes.
        return "the decoder takes something else than the latent"
    is_all = tf.is_tensor(decoded) and decoded.shape == output.shape and np.allclose(decoded, output, 1e-3, 1e-3)
    return decoder if is_all else more


def is_deterministic(autoencoder: keras.Model, shape: tuple[int, ...]) -> bool:
    """Return whether a model gives the same answer twice: layers that sample at inference do not.

    It is tried on samples of a shape, which has no free sides.
    """
    x = _some_samples(shape)
    first, second = (np.asarray(autoencoder(x, training=False)) for _ in range(2))
    # The kernels of an accelerator may add in another order.
    largest = np.abs(first[np.isfinite(first)]).max(initial=0.0)
    return np.allclose(first, second, rtol=1e-5, atol=1e-6 * largest, equal_nan=True)


def _some_samples(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).random((2, *shape), "float32")


def latent_shape_of(autoencoder: keras.Model, shape: tuple[int, ...]) -> tuple[int, ...] | str:
    """Return the shape of the latent of a sample of a shape without free sides, or why there is none."""
    encoder = find_encoder(autoencoder, shape)
    if isinstance(encoder, str):
        return encoder
    return tuple(encoder(_some_samples(shape), training=False).shape[1:])


def latent_dim_of(autoencoder: keras.Model, shape: tuple[int, ...]) -> int | str:
    """Return the number of elements of the latent of a sample of a shape, or why there is none."""
    sides = latent_shape_of(autoencoder, shape)
    return sides if isinstance(sides, str) else math.prod(sides)


def select_output(autoencoder: keras.Model, name: str) -> keras.Model:
    """Return the autoencoder inside a functional model with several outputs: the same weights, one output.

    It is compiled with the loss of that output, where the model is compiled with a loss of :mod:`tfae.losses` for it,
    and can be evaluated and exported.

    Args:
        autoencoder: Functional model.
        name: Of the output, or of the layer that it comes from, as in ``compile(loss={name: ...})``.

    Raises:
        ValueError: If there is no such output.

    Example:
        >>> from tfae.losses import SquaredError
        >>> x = keras.Input((4,))
        >>> copy, total = keras.layers.Dense(4, name="copy")(x), keras.layers.Dense(1, name="total")(x)
        >>> model = keras.Model(x, {"copy": copy, "total": total})
        >>> model.compile(loss={"copy": SquaredError(), "total": "mse"})
        >>> select_output(model, "copy").loss
        SquaredError()
    """
    names = list(getattr(autoencoder, "output_names", ()))
    if name not in names:
        raise ValueError(
            f"name: expected an output of {autoencoder.name!r}: {', '.join(names) or 'none, as it is not functional'}; "
            f"received {name!r}."
        )
    index = names.index(name)
    selected = keras.Model(autoencoder.input, autoencoder.outputs[index], name=autoencoder.name)
    losses = getattr(autoencoder, "loss", None)
    if isinstance(losses, dict):
        losses = losses.get(name)
    elif isinstance(losses, list | tuple):
        losses = losses[index]
    if losses is not None:
        optimizer = type(autoencoder.optimizer).from_config(autoencoder.optimizer.get_config())  # For these weights.
        selected.compile(optimizer, loss=losses)
    return selected


def _explain_gaussian(autoencoder: keras.Model, part: Any, shape: tuple[int, ...]) -> str | None:
    """Why the Gaussian bottleneck of a model, if it has one, is not what its encoder ends with; None where it is."""
    gaussian = find_gaussian(autoencoder)
    if gaussian is None:
        return None
    ((_, emitted),) = _calls_when_run(autoencoder, part, shape)
    latent = noted(f"{gaussian.name}/posterior")[:, 0]
    if tf.is_tensor(emitted) and emitted.shape == latent.shape and np.allclose(emitted, latent, 1e-3, 1e-3):
        return None
    return 'the sub-model "encoder" does not end with the Gaussian bottleneck; make it the last layer of it'


def find_part(autoencoder: keras.Model, name: str) -> Any:
    """Return the sub-model of that name, a layer or an attribute, or why there is none."""
    part = next((layer for layer in autoencoder.layers if layer.name == name), getattr(autoencoder, name, None))
    return part if isinstance(part, keras.layers.Layer) else f'the model has no sub-model named "{name}"'


def _calls_in_graph(autoencoder: keras.Model, part: keras.layers.Layer) -> list[tuple[Any, Any]]:
    """What a functional model calls one of its layers with, and what that emits; nothing if there is no graph."""
    if getattr(autoencoder, "outputs", None) is None:
        return []
    of_depths = keras.Function(autoencoder.inputs, autoencoder.outputs)._nodes_by_depth.values()
    nodes = [node for of_depth in of_depths for node in of_depth if node.operation is part]
    return [(node.input_tensors, node.outputs[0] if len(node.outputs) == 1 else node.outputs) for node in nodes]


def _calls_when_run(autoencoder: keras.Model, part: Any, shape: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """What a model calls a sub-model with while it reconstructs samples, and what that answers."""
    calls = []
    call = part.call

    @functools.wraps(call)
    def record(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, call(*args, **kwargs)))
        return calls[-1][1]

    part.call = record
    try:
        autoencoder(_some_samples(shape), training=False)
    finally:
        del part.call
    return calls


def _explain(error: Exception) -> str:
    """What a model of one's own raised, without what Keras writes around it."""
    text = re.sub(r"\{\{.*?\}\} ", "", str(error))
    inner = re.findall(r"\x1b\[1m(.*?)\x1b\[0m", text, flags=re.DOTALL)
    return " ".join((inner[-1] if inner else text).split())
