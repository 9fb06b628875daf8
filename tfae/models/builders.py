"""Builders of models: what is between input and latent, and between latent and output."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfae.models.bottlenecks import latent_of

#: As all data is, whatever a user's keras.json says.
_CHANNELS_LAST: dict[str, Any] = {"data_format": "channels_last"}


def dense(
    shape: Sequence[int],
    *,
    latent_dim: int,
    widths: Sequence[int] = (256, 128),
    activation: str = "relu",
    output_activation: str | Callable[[Any], Any] = "linear",
    input_noise: float = 0.0,
    bottleneck: layers.Layer | None = None,
    input_layer: layers.Layer | None = None,
) -> keras.Model:
    """Fully connected autoencoder for samples of any shape.

    Args:
        shape: Shape of one sample, all dimensions known.
        latent_dim: Width of the latent.
        widths: Units of the encoder's hidden layers, from input to latent; the decoder mirrors them. Empty
            for a linear autoencoder, which under squared error learns the principal subspace.
        activation: Of the hidden layers.
        output_activation: Of the last layer; take it from ``loss.output_activation(data.output_range)``.
        input_noise: Standard deviation in [0, 1], in model space, of Gaussian noise that is added to the input while
            training only; the target stays clean (a denoising autoencoder).
        bottleneck: Layer from the flat features of the encoder, ``(batch, num_features)``, to the latent, ``(batch,
            latent_dim)``, such as ``Sparse(0.001)``; the model has a copy of it with weights of its own. None
            for a linear layer without penalty.
        input_layer: What the encoder begins with, such as ``data.fill_gaps()``, which data with gaps needs; None for
            nothing.

    Returns:
        A functional model ``(batch, *shape)`` → ``(batch, *shape)``, float32 output under every policy. Its
        layers ``encoder``, ``(batch, *shape)`` → ``(batch, latent_dim)``, and ``decoder`` are models and can
        be used alone.

    Raises:
        ValueError: If a dimension, width or deviation is out of its range, or ``bottleneck`` does not fit.

    Example:
        >>> autoencoder = dense((8, 8, 1), latent_dim=16)
        >>> autoencoder.get_layer("encoder").output_shape, autoencoder.output_shape
        ((None, 16), (None, 8, 8, 1))

    Reference:
        Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders, ICML 2008.
    """
    shape = _sample_shape(shape)
    (latent_dim,), widths = _positive_integers(latent_dim=[latent_dim], widths=widths)

    inputs = keras.Input(shape, name="inputs")
    x = inputs if input_layer is None else input_layer(inputs)
    x = layers.Flatten(**_CHANNELS_LAST, name="flatten")(x)
    for i, width in enumerate(widths):
        x = layers.Dense(width, activation, name=f"hidden_{i}")(x)
    encoder = keras.Model(inputs, latent_of(x, latent_dim, bottleneck), name="encoder")

    inputs = keras.Input((latent_dim,), name="latent")
    x = inputs
    for i, width in enumerate(reversed(widths)):
        x = layers.Dense(width, activation, name=f"hidden_{i}")(x)
    x = layers.Dense(math.prod(shape), name="elements")(x)
    x = layers.Reshape(shape, name="reshape")(x)
    return _join(encoder, inputs, x, output_activation, input_noise, "dense_autoencoder")


def convolutional(
    shape: Sequence[int],
    *,
    latent_dim: int,
    filters: Sequence[int] = (32, 64),
    kernel_size: int = 3,
    activation: str = "relu",
    output_activation: str | Callable[[Any], Any] = "linear",
    input_noise: float = 0.0,
    bottleneck: layers.Layer | None = None,
) -> keras.Model:
    """Convolutional autoencoder for images ``(height, width, channels)`` and sequences ``(time, channels)``.

    Each encoder layer halves the sides (rounding up) with stride 2; the decoder doubles them back, cropping
    what an odd side has too much.

    Args:
        shape: Shape of one sample, every side at least 4, odd sides included.
        latent_dim: Width of the latent.
        filters: Channels of the encoder's convolutions, from input to latent; the decoder mirrors them.
        kernel_size: Side of the convolution kernels.
        activation: Of the hidden layers.
        output_activation: Of the last layer; take it from ``loss.output_activation(data.output_range)``.
        input_noise: As in :func:`dense`.
        bottleneck: As in :func:`dense`.

    Returns:
        A functional model as from :func:`dense`.

    Raises:
        ValueError: If the shape is neither that of an image nor of a sequence, a side is below 4, or there
            are more halvings than the sides have room for.

    Example:
        >>> convolutional((29, 31, 3), latent_dim=8).output_shape
        (None, 29, 31, 3)
        >>> convolutional((101, 2), latent_dim=4).output_shape
        (None, 101, 2)
    """
    shape = _sample_shape(shape)
    *sides, channels = shape
    if len(sides) not in (1, 2) or min(sides) < 4:
        raise ValueError(
            "shape: expected (height, width, channels) or (time, channels) with sides of at least 4; received "
            f"{shape}. Images without a channel axis need one; a dense model takes every shape."
        )
    (latent_dim,), (kernel_size,), filters = _positive_integers(
        latent_dim=[latent_dim], kernel_size=[kernel_size], filters=filters
    )
    if not filters or 2 ** (len(filters) - 1) >= min(sides):
        raise ValueError(
            f"filters: expected one to {math.ceil(math.log2(min(sides)))} entries, since each halves the smallest "
            f"side, {min(sides)}; received {len(filters)}: {tuple(filters)}."
        )
    one_dimensional = len(sides) == 1
    convolution: Any = layers.Conv1D if one_dimensional else layers.Conv2D
    transposed: Any = layers.Conv1DTranspose if one_dimensional else layers.Conv2DTranspose
    cropping: Any = layers.Cropping1D if one_dimensional else functools.partial(layers.Cropping2D, **_CHANNELS_LAST)
    convolution, transposed = (functools.partial(each, **_CHANNELS_LAST) for each in (convolution, transposed))

    pyramid = [sides]  # The sides after each halving.
    inputs = keras.Input(shape, name="inputs")
    x = inputs
    for i, width in enumerate(filters):
        x = convolution(width, kernel_size, 2, "same", activation=activation, name=f"convolution_{i}")(x)
        pyramid.append([math.ceil(side / 2) for side in pyramid[-1]])
    x = layers.Flatten(**_CHANNELS_LAST, name="flatten")(x)
    encoder = keras.Model(inputs, latent_of(x, latent_dim, bottleneck), name="encoder")

    inputs = keras.Input((latent_dim,), name="latent")
    x = layers.Dense(math.prod(pyramid[-1]) * filters[-1], activation, name="hidden")(inputs)
    x = layers.Reshape((*pyramid[-1], filters[-1]), name="reshape")(x)
    for i, width in enumerate(reversed(filters)):
        x = transposed(width, kernel_size, 2, "same", activation=activation, name=f"transposed_convolution_{i}")(x)
        larger, smaller = pyramid[-i - 2], pyramid[-i - 1]
        excess = [(0, 2 * small - large) for large, small in zip(larger, smaller, strict=True)]
        if any(end for _, end in excess):
            x = cropping(excess[0] if one_dimensional else excess, name=f"crop_{i}")(x)
    x = convolution(channels, kernel_size, 1, "same", name="elements")(x)
    return _join(encoder, inputs, x, output_activation, input_noise, "convolutional_autoencoder")


def default_latent_dim(shape: Sequence[int]) -> int:
    """Return the default width of the latent: 16, or half the elements of a sample where these are fewer than 32."""
    return max(1, min(16, math.prod(shape) // 2))


def _join(
    encoder: keras.Model,
    latent: tf.Tensor,
    elements: tf.Tensor,
    output_activation: str | Callable[[Any], Any],
    input_noise: float,
    name: str,
) -> keras.Model:
    """Return the autoencoder of an encoder and of a decoder from the latent to the elements."""
    if not 0 <= input_noise <= 1:
        raise ValueError(f"input_noise: expected a standard deviation in [0, 1]; received {input_noise!r}.")
    # float32 under mixed policies too: half-precision outputs lose digits in the loss and can not be served.
    output = layers.Activation(output_activation, dtype="float32", name="output")(elements)
    decoder = keras.Model(latent, output, name="decoder")
    inputs = keras.Input(encoder.input_shape[1:], name="inputs")
    x = inputs
    if input_noise:
        x = layers.GaussianNoise(input_noise, name="input_noise")(x)
    return keras.Model(inputs, decoder(encoder(x)), name=name)


def _positive_integers(**arguments: Any) -> list[tuple[int, ...]]:
    """Return the arguments as tuples of Python's own integers."""
    checked = []
    for name, values in arguments.items():
        try:
            integers = tuple(map(operator.index, values))
        except TypeError:
            integers = (0,)
        if not all(integer > 0 for integer in integers):
            raise ValueError(f"{name}: expected positive integers; received {values!r}.")
        checked.append(integers)
    return checked


def _sample_shape(shape: Sequence[int]) -> tuple[int, ...]:
    (checked,) = _positive_integers(shape=shape)
    if not checked:
        raise ValueError("shape: expected the dimensions of one sample, without the batch; received ().")
    return checked
