"""The signatures of an exported autoencoder: data space in, named tensors out, batch first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfae.losses import DOMAIN_TOLERANCE, get_loss
from tfae.preprocessing import Preprocessing

#: Dtypes that TensorFlow Serving's REST API can not carry, and what stands in for them.
WIDENED = {"float16": "float32", "uint16": "int32", "uint32": "int64", "uint64": "int64"}

Outputs = dict[str, tf.Tensor]


class Signatures:
    """The functions that a SavedModel serves.

    Inputs are checked inside the graph: TensorFlow Serving compares neither shapes nor values with the signature,
    but hands the message of a failed assertion to the client.

    Args:
        autoencoder: Functional model with layers ``encoder`` and ``decoder``, compiled with a tfae loss.
        preprocessing: From data space to model space.
    """

    def __init__(self, autoencoder: keras.Model, preprocessing: Preprocessing) -> None:
        self.autoencoder = autoencoder
        self.encoder = autoencoder.get_layer("encoder")
        self.decoder = autoencoder.get_layer("decoder")
        self.loss = get_loss(autoencoder)
        self.preprocessing = preprocessing
        self.shape = preprocessing.sample_shape
        self.dtype = tf.as_dtype(WIDENED.get(preprocessing.sample_dtype, preprocessing.sample_dtype))

    @property
    def takes_images(self) -> bool:
        """Whether samples can come as PNG or JPEG files."""
        return self.dtype == tf.uint8 and len(self.shape) == 3 and self.shape[-1] in (1, 3, 4)

    def concrete_functions(self) -> dict[str, Callable]:
        """Traced function by signature name, for ``tf.saved_model.save``."""
        inputs = tf.TensorSpec([None, *self.shape], self.dtype, name="inputs")
        embedding = tf.TensorSpec([None, *self.encoder.output_shape[1:]], tf.float32, name="embedding")
        functions: dict[str, tuple[Callable, tf.TensorSpec]] = {
            "serving_default": (self.reconstruct, inputs),
            "encode": (self.encode, inputs),
            "decode": (self.decode, embedding),
            "score": (self.score, inputs),
            "explain": (self.explain, inputs),
            "serve_tf_examples": (self.score_examples, tf.TensorSpec([None], tf.string, name="examples")),
        }
        if self.takes_images:
            image_bytes = tf.TensorSpec([None], tf.string, name="image_bytes")
            functions["serve_image_bytes"] = (self.score_image_bytes, image_bytes)
        return {
            name: tf.function(function, input_signature=[spec]).get_concrete_function()
            for name, (function, spec) in functions.items()
        }

    def reconstruct(self, inputs: tf.Tensor) -> Outputs:
        """``inputs`` → ``reconstruction``, both ``(batch, *shape)`` in data space."""
        return {"reconstruction": self._data_space(self._output(self._model_space(inputs)))}

    def encode(self, inputs: tf.Tensor) -> Outputs:
        """``inputs`` → ``embedding``, ``(batch, latent_dim)``."""
        return {"embedding": _float32(self.encoder(self._model_space(inputs), training=False))}

    def decode(self, embedding: tf.Tensor) -> Outputs:
        """``embedding`` → ``reconstruction``, in data space."""
        embedding = _finite(_of_shape(embedding, self.encoder.output_shape, "embedding"), "embedding")
        return {"reconstruction": self._data_space(self.decoder(embedding, training=False))}

    def score(self, inputs: tf.Tensor) -> Outputs:
        """``inputs`` → ``instance_score``, ``(batch,)``: ``loss.per_sample`` of the Keras model."""
        x = self._in_domain(self._model_space(inputs))
        return {"instance_score": _float32(self.loss.per_sample(x, self._output(x)))}

    def explain(self, inputs: tf.Tensor) -> Outputs:
        """``inputs`` → ``instance_score``, ``feature_score`` per element, and ``reconstruction``."""
        x = self._in_domain(self._model_space(inputs))
        output = self._output(x)
        return {
            "instance_score": _float32(self.loss.per_sample(x, output)),
            # What a mask of the model leaves out has score 0 and is no part of the sum.
            "feature_score": _float32(self.loss.per_element(x, output)),
            "reconstruction": self._data_space(output),
        }

    def score_examples(self, examples: tf.Tensor) -> Outputs:
        """Serialized ``tf.train.Example`` with a feature ``inputs``, flattened in C order → as :meth:`score`."""
        stored = tf.float32 if self.dtype.is_floating else tf.int64
        feature = tf.io.FixedLenFeature([math.prod(self.shape)], stored)
        values = tf.io.parse_example(_of_shape(examples, [None], "examples"), {"inputs": feature})["inputs"]
        if not self.dtype.is_floating:
            values = self._in_dtype_range(values)
        return self.score(tf.cast(tf.reshape(values, [-1, *self.shape]), self.dtype))

    def score_image_bytes(self, image_bytes: tf.Tensor) -> Outputs:
        """PNG or JPEG files as bytes → as :meth:`score`."""

        def decode(image: tf.Tensor) -> tf.Tensor:
            pixels = tf.io.decode_image(image, expand_animations=False)
            return tf.reshape(_of_shape(pixels, self.shape, "image_bytes: decoded image"), self.shape)

        files = _of_shape(image_bytes, [None], "image_bytes")
        return self.score(tf.map_fn(decode, files, fn_output_signature=tf.TensorSpec(self.shape, tf.uint8)))

    def _model_space(self, inputs: tf.Tensor) -> tf.Tensor:
        inputs = _of_shape(inputs, [None, *self.shape], "inputs")
        if self.dtype.is_floating:
            x = self.preprocessing(_finite(inputs, "inputs"))
            return _require(
                tf.math.is_finite(x),
                x,
                "inputs: expected numbers that float32 can hold after scaling; received one that is too large.",
            )
        if self.dtype.name != self.preprocessing.sample_dtype:
            inputs = self._in_dtype_range(inputs)
        return self.preprocessing(inputs)

    def _in_dtype_range(self, values: tf.Tensor) -> tf.Tensor:
        """Integers of a wider dtype, once they are found to be in the range of the data's own."""
        dtype = tf.as_dtype(self.preprocessing.sample_dtype)
        low, high = (0, 1) if dtype == tf.bool else (dtype.min, min(dtype.max, values.dtype.max))
        in_range = (values >= tf.constant(low, values.dtype)) & (values <= tf.constant(high, values.dtype))
        return _require(in_range, values, f"inputs: expected integers from {low} to {high}.")

    def _in_domain(self, x: tf.Tensor) -> tf.Tensor:
        """``x``, refused where the loss is not defined: cross-entropy outside [0, 1] has no lower bound."""
        if self.loss.domain is None:
            return x
        low, high = (bound * self.preprocessing.scale + self.preprocessing.offset for bound in self.loss.domain)
        return _require(
            (x >= self.loss.domain[0] - DOMAIN_TOLERANCE) & (x <= self.loss.domain[1] + DOMAIN_TOLERANCE),
            x,
            f"inputs: expected values in [{np.min(low):g}, {np.max(high):g}] for {type(self.loss).__name__}"
            + (", within the range of the training data in every feature." if low.size > 1 else "."),
        )

    def _output(self, x: tf.Tensor) -> tf.Tensor:
        return self.autoencoder(x, training=False)

    def _data_space(self, output: tf.Tensor) -> tf.Tensor:
        return _float32(self.preprocessing.inverse(self.loss.reconstruction(output)))


def _float32(tensor: tf.Tensor) -> tf.Tensor:
    return tf.cast(tensor, tf.float32)


def _require(condition: tf.Tensor, value: tf.Tensor, message: str) -> tf.Tensor:
    """``value``, once every element of ``condition`` is found to be true."""
    with tf.control_dependencies([tf.Assert(tf.reduce_all(condition), [message])]):
        return tf.identity(value)


def _finite(value: tf.Tensor, name: str) -> tf.Tensor:
    return _require(tf.math.is_finite(value), value, f"{name}: expected finite numbers; received NaN or infinity.")


def _of_shape(tensor: tf.Tensor, shape: Sequence[int | None], name: str) -> tf.Tensor:
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
