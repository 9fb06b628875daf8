"""Masks, and checks of shapes: while tracing where they are known, else when the graph runs. Nothing is broadcast."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import ops


def mask_of(output: Any) -> tf.Tensor | None:
    """Return the mask that Keras layers, such as ``Masking``, attach to a model's output; bool, or None."""
    return getattr(output, "_keras_mask", None)


def convert(value: Any, dtype: str, name: str) -> tf.Tensor:
    """Return a tensor of a dtype, of known rank; raise ValueError where there is none."""
    if isinstance(value, tf.RaggedTensor | tf.SparseTensor):
        raise ValueError(
            f"{name}: expected a dense tensor; received a {type(value).__name__}. Pad it, x.to_tensor(), and mask the "
            "padding with keras.layers.Masking."
        )
    tensor = ops.convert_to_tensor(value, dtype)
    if tensor.shape.rank is None and name != "y_pred":  # An output takes the rank of the samples.
        raise ValueError(
            f"{name}: expected a tensor of known rank; received one of any, as Keras makes of data whose rank changes "
            "between calls. Give it the rank that it had, or compile the model anew."
        )
    return tensor


def convert_pair(x: Any, output: Any, dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Return samples and outputs as tensors of one shape, which is checked to be of rank 2 or more."""
    x, output = (convert(value, dtype, name) for value, name in ((x, "y_true"), (output, "y_pred")))
    validate_same_shape(x.shape, output.shape, "y_true", "y_pred")
    if len(x.shape) < 2:
        raise ValueError(
            f"y_true: expected shape (batch, ...) of rank 2 or more; received {tuple(x.shape)}. Add an axis to samples "
            "that are single numbers: x[:, None]."
        )
    if x.shape.is_fully_defined() and output.shape.is_fully_defined():
        return x, output
    output = _validate_when_run(output, tf.shape(x), "y_true and y_pred: expected equal shapes.")
    # XLA drops assertions, but can not reshape to another number of elements.
    return x, ops.reshape(output, ops.shape(x))


def validate_same_shape(first: Any, second: Any, first_name: str, second_name: str) -> None:
    """Raise ValueError unless the shapes are equal wherever both are known."""
    first, second = tf.TensorShape(first), tf.TensorShape(second)
    if not first.is_compatible_with(second):
        raise ValueError(
            f"{first_name} and {second_name}: expected equal shapes; received {tuple(first)} and {tuple(second)}. "
            "Nothing is broadcast: reshape one of them, or check which output the model is trained on."
        )


def validate_leading_shape(coefficients: tf.Tensor, x: tf.Tensor, name: str) -> tf.Tensor:
    """Return ``coefficients``, called ``name``, checked to have the shape of the leading dimensions of ``x``."""
    rank = len(coefficients.shape)
    expected = f"the leading dimensions, y_true.shape[:{rank}]"
    if rank == 2 and coefficients.shape[1] == 1 != x.shape[1]:
        raise ValueError(
            f"{name}: expected shape (batch,) for a weight per sample; received {tuple(coefficients.shape)}. Drop the "
            "last axis: w[:, 0]."
        )
    validate_same_shape(coefficients.shape, x.shape[:rank], name, expected)
    if coefficients.shape.is_fully_defined() and x.shape[:rank].is_fully_defined():
        return coefficients
    return _validate_when_run(coefficients, tf.shape(x)[:rank], f"{name}: expected the shape of {expected}.")


def expand_leading(coefficients: tf.Tensor, x: tf.Tensor, name: str) -> tf.Tensor:
    """Append axes to ``coefficients`` of the leading dimensions of ``x``, for the dimensions that follow."""
    return expand_to_rank(validate_leading_shape(coefficients, x, name), len(x.shape))


def expand_to_rank(coefficients: tf.Tensor, rank: int) -> tf.Tensor:
    """Append axes of length 1 up to that rank."""
    return ops.expand_dims(coefficients, tuple(range(len(coefficients.shape), rank)))


def _validate_when_run(tensor: tf.Tensor, shape: tf.Tensor, message: str) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(tensor), shape, message=message)]):
        return tf.identity(tensor)
