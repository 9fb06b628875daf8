"""What a Keras model is as an autoencoder, whoever built it: its samples, its encoder and decoder, its one output."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf


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
            "before the model, and split them inside it."
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
            f"({' '.join(str(error).split())})."
        ) from error
    validate_output(autoencoder, output, shape)


def validate_output(autoencoder: keras.Model, output: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless ``output`` of a model is one tensor of floats, ``(batch, *shape)``."""
    if isinstance(output, dict | list | tuple):
        names = getattr(autoencoder, "output_names", None) or [f"number {index}" for index in range(len(output))]
        raise ValueError(
            f"autoencoder: expected a model with one output, the reconstruction; received {len(output)}: "
            f"{', '.join(names)}. Train it with its own fit, and take the autoencoder out of it with "
            f"tfae.models.select_output(autoencoder, {names[0]!r})."
        )
    if not output.dtype.is_floating or not tf.TensorShape(shape).is_compatible_with(output.shape[1:]):
        raise ValueError(
            f"autoencoder: expected a model that returns floats of the shape of a sample, {shape}; received "
            f"{output.dtype.name} of shape {tuple(output.shape[1:])}."
        )


def find_encoder(autoencoder: keras.Model) -> keras.Model | str:
    """Return the sub-model "encoder", by name of the layer or as an attribute, or why there is no latent."""
    return _find(autoencoder, "encoder", sample_shape_of(autoencoder))


def find_decoder(autoencoder: keras.Model, shape: tuple[int, ...]) -> keras.Model | str:
    """Return the sub-model "decoder", or why there is none that makes the latent of a sample its reconstruction.

    It is tried on samples of a shape, which has no free sides.
    """
    encoder, latent_shape = find_encoder(autoencoder), latent_shape_of(autoencoder)
    if isinstance(encoder, str) or isinstance(latent_shape, str):
        return str(latent_shape)
    decoder = _find(autoencoder, "decoder", latent_shape)
    if isinstance(decoder, str):
        return decoder
    x = _some_samples(shape)
    decoded, output = decoder(encoder(x, training=False), training=False), autoencoder(x, training=False)
    if decoded.shape != output.shape or not np.allclose(decoded, output, rtol=1e-3, atol=1e-3):
        return "the model does more than decode what the encoder emits"
    return decoder


def is_deterministic(autoencoder: keras.Model, shape: tuple[int, ...]) -> bool:
    """Return whether a model gives the same answer twice: layers that sample at inference do not.

    It is tried on samples of a shape, which has no free sides.
    """
    x = _some_samples(shape)
    first, second = (np.asarray(autoencoder(x, training=False)) for _ in range(2))
    return np.array_equal(first, second, equal_nan=True)


def _some_samples(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).random((2, *shape), "float32")


def latent_shape_of(autoencoder: keras.Model, shape: tuple[int, ...] | None = None) -> tuple[int | None, ...] | str:
    """Return the shape of one latent, or why there is none.

    Args:
        autoencoder: The model.
        shape: Of one sample; None for that of the model, which may leave sides of the latent free, too.
    """
    encoder = find_encoder(autoencoder)
    if isinstance(encoder, str):
        return encoder
    return tuple(_emit(encoder, sample_shape_of(autoencoder) if shape is None else shape).shape[1:])


def latent_dim_of(autoencoder: keras.Model, shape: tuple[int, ...] | None = None) -> int | str:
    """Return the number of elements of a latent, or why there is none; arguments as of :func:`latent_shape_of`."""
    sides = latent_shape_of(autoencoder, shape)
    if isinstance(sides, str):
        return sides
    if None in sides:
        return f"the latent has no fixed shape: {sides}"
    return math.prod(side for side in sides if side is not None)


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
        selected.compile(loss=losses)
    return selected


def _find(autoencoder: keras.Model, name: str, takes: tuple[int | None, ...] | None) -> keras.Model | str:
    part = next((layer for layer in autoencoder.layers if layer.name == name), getattr(autoencoder, name, None))
    if not isinstance(part, keras.layers.Layer):
        return f'the model has no sub-model named "{name}"'
    if takes is None:
        return f"the model is not built, and so the shape of its {name} is not known"
    try:
        emitted = _emit(part, takes)
    except Exception:  # A layer of one's own raises what it likes.
        return f"the {name} takes something else than {takes}"
    if not isinstance(emitted, keras.KerasTensor):
        return f"the {name} has several outputs"
    return part


def _emit(part: keras.Model, takes: tuple[int | None, ...] | None) -> Any:
    """What a sub-model emits, as symbols."""
    return part.compute_output_spec(keras.KerasTensor((None, *(takes or ()))))
