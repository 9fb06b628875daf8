"""What a Keras model is as an autoencoder, whoever built it: the shape of its samples, its encoder and its decoder."""

from __future__ import annotations

import keras
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
        raise ValueError(
            f"autoencoder: expected a model with one input, the sample; received one with {len(shape)}. Concatenate "
            "them before the model, and split them inside it."
        )
    return tuple(shape[1:])


def find_encoder(autoencoder: keras.Model) -> keras.Model | str:
    """Return the sub-model "encoder", by name of the layer or as an attribute, or why there is no latent."""
    encoder, shape = _find(autoencoder, "encoder"), sample_shape_of(autoencoder)
    if isinstance(encoder, str) or shape is None or tf.TensorShape(encoder.input_shape[1:]).is_compatible_with(shape):
        return encoder
    return f"the encoder takes {encoder.input_shape[1:]}, not the model's {shape}"


def find_decoder(autoencoder: keras.Model) -> keras.Model | str:
    """Return the sub-model "decoder" that takes what the encoder emits, or why there is none."""
    encoder, decoder = find_encoder(autoencoder), _find(autoencoder, "decoder")
    if isinstance(encoder, str) or isinstance(decoder, str):
        return encoder if isinstance(encoder, str) else decoder
    if not tf.TensorShape(decoder.input_shape).is_compatible_with(encoder.output_shape):
        return f"the decoder takes {decoder.input_shape}, not the encoder's {encoder.output_shape}"
    return decoder


def _find(autoencoder: keras.Model, name: str) -> keras.Model | str:
    part = next((layer for layer in autoencoder.layers if layer.name == name), getattr(autoencoder, name, None))
    if not isinstance(part, keras.Model):
        return f'the model has no sub-model named "{name}"'
    for side in ("input", "output"):
        shape = getattr(part, f"{side}_shape", None)
        if not isinstance(shape, tuple) or not shape or any(isinstance(length, tuple | list) for length in shape):
            return f"the {name} has several {side}s, or one of unknown shape: {shape}"
    return part
