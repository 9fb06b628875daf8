"""An autoencoder as a graph sees it: its signatures are traced into what TensorFlow Serving runs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf

from tfae.columns import REST_CODE, Column
from tfae.exported_model import ExportedModel
from tfae.losses import DOMAIN_TOLERANCE
from tfae.signatures import SAMPLES, SIGNATURES, SignatureDefinition


@final
class TracedModel(ExportedModel):
    """Validates inputs inside the graph.

    TensorFlow Serving compares neither shapes nor values with the signature, but hands the message of a failed
    assertion to the client.
    """

    def __init__(self, autoencoder: keras.Model, preprocessing: Any, calibration: Any = None) -> None:
        super().__init__(autoencoder, preprocessing, calibration)
        #: From the texts of a category to its codes, by name of the column.
        self.tables = {
            column.name: tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    list(column.vocabulary), np.arange(len(column.vocabulary), dtype="float64"), tf.string, tf.float64
                ),
                float(REST_CODE),
            )
            for column in self.columns
            if column.kind == "category"
        }

    def to_model_space(self, inputs: Any) -> tf.Tensor:
        if isinstance(inputs, dict):
            inputs = self._stack(inputs)
        elif inputs.dtype.is_floating:
            inputs = _require_finite(inputs, "inputs")
        if not inputs.dtype.is_floating and self.sample_dtype != self.preprocessing.sample_dtype:
            inputs = self._require_dtype_range(inputs)
        x = self.preprocessing(inputs)
        if not inputs.dtype.is_floating:
            return x
        message = "inputs: expected numbers that float32 can hold after scaling; received one that is too large."
        return _require(tf.logical_not(tf.math.is_inf(x)), x, message)

    def _stack(self, columns: dict[str, tf.Tensor]) -> tf.Tensor:
        """The matrix of a table ``(batch, num_columns)``, once its columns are found to hold what they should."""
        # As text, like in _require_shape; all in one, since a table may have a thousand columns.
        lengths = tf.strings.as_string(tf.stack([tf.shape(columns[each.name]) for each in self.columns]))
        are_same = tf.reduce_all(tf.equal(lengths, lengths[:1]) & tf.not_equal(lengths, "0"))
        explanation = ["inputs: expected equally many rows, at least one, in each column; received", lengths]
        with tf.control_dependencies([tf.Assert(are_same, explanation, summarize=8)]):
            matrix = tf.stack([self._to_number(each, columns[each.name]) for each in self.columns], axis=1)
        if not matrix.dtype.is_floating:
            return matrix
        are_valid = tf.logical_not(tf.math.is_inf(matrix)) if self.allows_gaps else tf.math.is_finite(matrix)
        messages = []
        for column in self.columns:
            expected, received = "finite numbers", "NaN or infinity"
            if self.allows_gaps:
                expected, received = "finite numbers, or NaN for a gap", "infinity"
            elif column.kind == "category":
                expected, received = "a text in every row", "an empty one, and no gaps were trained on"
            messages.append(f"{column.name}: expected {expected}; received {received}.")
        are_columns_valid = tf.reduce_all(are_valid, axis=0)
        first = tf.gather(messages, tf.argmin(tf.cast(are_columns_valid, "int32")))
        with tf.control_dependencies([tf.Assert(tf.reduce_all(are_columns_valid), [first])]):
            return tf.identity(matrix)

    def _to_number(self, column: Column, values: tf.Tensor) -> tf.Tensor:
        """Values of a column, ``(batch,)``, as in the matrix of a table; an empty text is NaN."""
        if column.kind == "category":
            texts = tf.strings.strip(values)
            codes = self.tables[column.name].lookup(texts)
            return tf.where(tf.equal(texts, ""), tf.constant(np.nan, codes.dtype), codes)
        return tf.cast(values, tf.float64) if self.preprocessing.is_mixed else values

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

    def decode(self, latent: tf.Tensor, name: str = "embedding") -> tf.Tensor:
        return super().decode(_require_finite(latent, name))

    def _run(self, model: keras.Model, x: tf.Tensor) -> tf.Tensor:
        return model(x, training=False)

    def parse_examples(self, examples: tf.Tensor) -> tf.Tensor:
        if self.columns:
            return self._parse_columns(examples)
        dtype = tf.as_dtype(self.sample_dtype)
        stored = tf.float32 if dtype.is_floating else tf.int64
        feature = tf.io.FixedLenFeature([math.prod(self.sample_shape)], stored)
        values = tf.io.parse_example(examples, {"inputs": feature})["inputs"]
        if not dtype.is_floating:
            values = self._require_dtype_range(values)
        return tf.cast(tf.reshape(values, [-1, *self.sample_shape]), dtype)

    def _parse_columns(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        features, dtypes = {}, {}
        for column in self.columns:
            dtypes[column.name] = dtype = tf.as_dtype(self.column_dtype(column, SAMPLES))
            stored = dtype if dtype == tf.string else tf.float32 if dtype.is_floating else tf.int64
            missing = None if not self.allows_gaps else "" if dtype == tf.string else np.nan
            features[column.name] = tf.io.FixedLenFeature([], stored, missing)
        parsed = tf.io.parse_example(examples, features)
        return {
            name: values if dtypes[name] == tf.string else tf.cast(values, dtypes[name])
            for name, values in parsed.items()
        }

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
    """The concrete function of a signature, for ``tf.saved_model.save``; its arguments have their ``graph_names``."""
    kinds = signature.tensors("inputs", model)
    names = graph_names(kinds)
    specs = {
        graph_name: tf.TensorSpec([None, *kinds[name].row_shape(model)], kinds[name].dtype_name(model), graph_name)
        for graph_name, name in names.items()
    }

    def function(**given: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = {names[graph_name]: tensor for graph_name, tensor in given.items()}
        first, arguments = next(iter(inputs)), {}
        for name, kind in signature.inputs.items():
            if kind == SAMPLES and model.columns:  # They are validated when they are put together.
                arguments[name] = {each.name: inputs[each.name] for each in model.columns}
                continue
            shape = (None, *kind.row_shape(model))
            arguments[name] = _require_shape(inputs[name], shape, name)
            if name != first:
                # TensorFlow would broadcast a single row to all the others.
                message = f"{name}: expected as many rows as {first} has."
                same = tf.equal(tf.shape(inputs[name])[0], tf.shape(inputs[first])[0])
                arguments[name] = _require(same, arguments[name], message)
        return convert_outputs(model, signature, signature.function(model, **arguments))

    # AutoGraph, which takes longer than all else, is for what others write.
    return tf.function(function, autograph=signature not in SIGNATURES).get_concrete_function(**specs)


def graph_names(names: Iterable[str]) -> dict[str, str]:
    """Names of inputs by what they are called in a graph, where not every column can have its own."""
    found = {}
    for index, name in enumerate(names):
        is_valid = re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) is not None
        found[name if is_valid else f"input_{index}__"] = name
    return found


def convert_outputs(
    model: ExportedModel, signature: SignatureDefinition, outputs: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """Outputs of a signature's function as tensors of the kinds that are declared; floats are cast to their dtype.

    Raises:
        ValueError: If names, dtypes or shapes are others.
    """
    kinds = signature.tensors("outputs", model)
    if outputs.keys() != kinds.keys():
        raise ValueError(
            f"{signature.name}: expected the outputs {', '.join(sorted(kinds))}; received "
            f"{', '.join(sorted(outputs))}. Nothing was published."
        )
    converted = {}
    for name, kind in kinds.items():
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
