"""An autoencoder as a graph sees it: its signatures are traced into what TensorFlow Serving runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf

from tfae.losses import DOMAIN_TOLERANCE
from tfae.signatures import SIGNATURES, ExportedModel, SignatureDefinition


@final
class TracedModel(ExportedModel):
    """Validates inputs inside the graph.

    TensorFlow Serving compares neither shapes nor values with the signature, but hands the message of a failed
    assertion to the client.
    """

    def to_model_space(self, inputs: tf.Tensor) -> tf.Tensor:
        if inputs.dtype.is_floating:
            x = self.preprocessing(_require_finite(inputs, "inputs"))
            message = "inputs: expected numbers that float32 can hold after scaling; received one that is too large."
            return _require(tf.math.is_finite(x), x, message)
        if self.sample_dtype != self.preprocessing.sample_dtype:
            inputs = self._require_dtype_range(inputs)
        return self.preprocessing(inputs)

    def require_domain(self, x: tf.Tensor) -> tf.Tensor:
        if self.loss.domain is None:  # Cross-entropy outside [0, 1] has no lower bound.
            return x
        low, high = (bound * self.preprocessing.scale + self.preprocessing.offset for bound in self.loss.domain)
        return _require(
            (x >= self.loss.domain[0] - DOMAIN_TOLERANCE) & (x <= self.loss.domain[1] + DOMAIN_TOLERANCE),
            x,
            f"inputs: expected values in [{np.min(low):g}, {np.max(high):g}] for {type(self.loss).__name__}"
            + (", within the range of the training data in every feature." if low.size > 1 else "."),
        )

    def decode(self, latent: tf.Tensor) -> tf.Tensor:
        return super().decode(_require_finite(latent, "embedding"))

    def _run(self, model: keras.Model, x: tf.Tensor) -> tf.Tensor:
        return model(x, training=False)

    def parse_examples(self, examples: tf.Tensor) -> tf.Tensor:
        dtype = tf.as_dtype(self.sample_dtype)
        stored = tf.float32 if dtype.is_floating else tf.int64
        feature = tf.io.FixedLenFeature([math.prod(self.sample_shape)], stored)
        values = tf.io.parse_example(examples, {"inputs": feature})["inputs"]
        if not dtype.is_floating:
            values = self._require_dtype_range(values)
        return tf.cast(tf.reshape(values, [-1, *self.sample_shape]), dtype)

    def decode_images(self, image_bytes: tf.Tensor) -> tf.Tensor:
        def decode(image: tf.Tensor) -> tf.Tensor:
            start = tf.strings.substr(image, 0, 3)
            message = "image_bytes: expected PNG or JPEG; received another format."
            image = _require((start == b"\x89PN") | (start == b"\xff\xd8\xff"), image, message)
            # PNG, too. By default TensorFlow decodes JPEG faster and coarser than Pillow does, up to 20 of 255 apart.
            pixels = tf.io.decode_jpeg(image, dct_method="INTEGER_ACCURATE")
            pixels = _require_shape(pixels, self.sample_shape, "image_bytes: decoded image")
            return tf.reshape(pixels, self.sample_shape)

        return tf.map_fn(decode, image_bytes, fn_output_signature=tf.TensorSpec(self.sample_shape, tf.uint8))

    def _require_dtype_range(self, values: tf.Tensor) -> tf.Tensor:
        """Integers of a wider dtype, once they are found to be in the range of the data's own."""
        dtype = tf.as_dtype(self.preprocessing.sample_dtype)
        low, high = (0, 1) if dtype == tf.bool else (dtype.min, min(dtype.max, values.dtype.max))
        in_range = (values >= tf.constant(low, values.dtype)) & (values <= tf.constant(high, values.dtype))
        return _require(in_range, values, f"inputs: expected integers from {low} to {high}.")


def trace(model: TracedModel, signature: SignatureDefinition) -> Callable:
    """The concrete function of a signature, for ``tf.saved_model.save``."""
    specs = {
        name: tf.TensorSpec([None, *kind.row_shape(model)], kind.dtype_name(model), name)
        for name, kind in signature.inputs.items()
    }

    def function(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        validated = {name: _require_shape(tensor, specs[name].shape, name) for name, tensor in inputs.items()}
        lengths = [tf.shape(tensor)[0] for tensor in validated.values()]
        for name, length in zip(list(validated)[1:], lengths[1:], strict=True):
            # TensorFlow would broadcast a single row to all the others.
            message = f"{name}: expected as many rows as {next(iter(validated))} has."
            validated[name] = _require(tf.equal(length, lengths[0]), validated[name], message)
        return convert_outputs(model, signature, signature.function(model, **validated))

    # AutoGraph, which takes longer than all else, is for what others write.
    return tf.function(function, autograph=signature not in SIGNATURES).get_concrete_function(**specs)


def convert_outputs(
    model: ExportedModel, signature: SignatureDefinition, outputs: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Outputs of a signature's function as tensors of the kinds that are declared; floats are cast to their dtype.

    Raises:
        ValueError: If names, dtypes or shapes are others.
    """
    if outputs.keys() != signature.outputs.keys():
        raise ValueError(
            f"{signature.name}: expected the outputs {', '.join(sorted(signature.outputs))}; received "
            f"{', '.join(sorted(outputs))}. Nothing was published."
        )
    converted = {}
    for name, kind in signature.outputs.items():
        tensor, dtype = tf.convert_to_tensor(outputs[name]), tf.as_dtype(kind.dtype_name(model))
        shape = tf.TensorShape([None, *kind.row_shape(model)])
        if tensor.dtype.is_floating and dtype.is_floating:
            tensor = tf.cast(tensor, dtype)
        if tensor.dtype != dtype or not shape.is_compatible_with(tensor.shape):
            raise ValueError(
                f"{signature.name}: expected {name} as {dtype.name} {shape}; received {tensor.dtype.name} "
                f"{tensor.shape}. Nothing was published: declare the kind that the function returns."
            )
        tensor.set_shape(shape)
        converted[name] = tensor
    return converted


def _require(condition: tf.Tensor, value: tf.Tensor, message: str) -> tf.Tensor:
    """``value``, once every element of ``condition`` is found to be true."""
    with tf.control_dependencies([tf.Assert(tf.reduce_all(condition), [message])]):
        return tf.identity(value)


def _require_finite(value: tf.Tensor, name: str) -> tf.Tensor:
    return _require(tf.math.is_finite(value), value, f"{name}: expected finite numbers; received NaN or infinity.")


def _require_shape(tensor: tf.Tensor, shape: Sequence[int | None], name: str) -> tf.Tensor:
    """``tensor``, once its shape is found to be ``shape``, None being any length but 0, when the graph runs."""
    received = tf.shape(tensor)
    # As text, because TensorFlow folds comparisons of ranks and of lengths that the signature, or an ensure_shape
    # further down, makes it take for granted; the server does not hold requests to them.
    text = tf.strings.reduce_join(tf.strings.as_string(received), separator=" ")
    same = tf.strings.regex_full_match(text, " ".join("[1-9][0-9]*" if side is None else str(side) for side in shape))
    # A convolution refuses an empty batch in its own words, and a batching server never answers one.
    expected = ", ".join("batch" if side is None else str(side) for side in shape)
    at_least = ", batch >= 1" if shape[0] is None else ""
    explanation = [f"{name}: expected shape ({expected}){at_least}; received", received]
    with tf.control_dependencies([tf.Assert(same, explanation, summarize=8)]):
        return tf.identity(tensor)
