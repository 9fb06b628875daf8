"""Masks, and checks of shapes: while tracing where they are known, else when the graph runs. Nothing is broadcast."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import ops


def mask_of(output: Any) -> tf.Tensor | None:
    """Return the mask that Keras layers, such as ``Masking``, attach to a model's output; bool, or None."""
    return getattr(output, "_keras_mask", None)


def convert(value: Any, dtype: str, name: str) -> tf.Tensor:
    """Return a dense tensor of a dtype; raise ValueError where there is none."""
    if isinstance(value, tf.RaggedTensor | tf.SparseTensor):
        raise ValueError(
            f"{name}: expected a dense tensor; received a {type(value).__name__} of shape {tuple(value.shape)}. Pad "
            "it, x.to_tensor(), and mask the padding with keras.layers.Masking."
        )
    return ops.convert_to_tensor(value, dtype)


def convert_pair(x: Any, output: Any, dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Return samples and outputs as tensors of one shape, which is checked to be of rank 2 or more.

    Keras traces a model without a rank for data whose rank changes between calls: that of the other one is taken then.
    """
    x, output = (convert(value, dtype, name) for value, name in ((x, "y_true"), (output, "y_pred")))
    validate_same_shape(x.shape, output.shape, "y_true", "y_pred")
    if x.shape.rank is None and output.shape.rank is None:
        raise ValueError("y_true and y_pred: expected shapes of known rank; received two of any. Reshape one of them.")
    if x.shape.rank is None:
        x = _validate_when_run(x, tf.shape(output), "y_true", output.shape)
    if len(x.shape) < 2:
        raise ValueError(
            f"y_true: expected shape (batch, ...) of rank 2 or more; received {tuple(x.shape)}. Add an axis to samples "
            "that are single numbers: x[:, None]."
        )
    if x.shape.is_fully_defined() and output.shape.is_fully_defined():
        return x, output
    output = _validate_when_run(output, tf.shape(x), "y_pred", x.shape)
    # XLA drops assertions, but can not reshape to another number of elements.
    return x, ops.reshape(output, ops.shape(x))


def split_weight(
    weight: Any, x: tf.Tensor, dtype: str, reduction: str | None
) -> tuple[tf.Tensor | None, tf.Tensor | None]:
    """Return weights of elements and weights of samples, ``(batch,)``, of which ``weight`` is one; None for the other.

    One without a known rank, as in :func:`convert_pair`, is taken for the former: what multiplies all elements of a
    sample multiplies their sum.
    """
    weight = convert(weight, dtype, "sample_weight")
    if weight.shape.rank is None and reduction == "mean_with_sample_weight":
        raise ValueError(
            'sample_weight: expected weights of one rank under reduction="mean_with_sample_weight"; received some of '
            "another rank than before. Compile the model anew for them."
        )
    if weight.shape.rank not in (0, 1):
        return weight, None
    return None, validate_leading_shape(weight, x, "sample_weight") if weight.shape.rank else weight


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
    return _validate_when_run(coefficients, tf.shape(x)[:rank], name, x.shape[:rank])


def expand_leading(coefficients: Any, x: tf.Tensor, name: str, dtype: Any) -> tf.Tensor:
    """Append axes to ``coefficients`` of the leading dimensions of ``x``, for the dimensions that follow."""
    coefficients = ops.convert_to_tensor(coefficients, dtype)
    if coefficients.shape.rank is None:  # As in convert_pair.
        rank = tf.rank(coefficients)
        coefficients = _validate_when_run(coefficients, tf.shape(x)[:rank], name, tf.TensorShape(None))
        axes = tf.ones([len(x.shape) - rank], "int32")
        coefficients = tf.reshape(coefficients, tf.concat([tf.shape(coefficients), axes], 0))
        return tf.ensure_shape(tf.broadcast_to(coefficients, tf.shape(x)), x.shape)
    return expand_to_rank(validate_leading_shape(coefficients, x, name), len(x.shape))


def expand_to_rank(coefficients: tf.Tensor, rank: int) -> tf.Tensor:
    """Append axes of length 1 up to that rank."""
    return ops.expand_dims(coefficients, tuple(range(len(coefficients.shape), rank)))


def _validate_when_run(tensor: tf.Tensor, shape: tf.Tensor, name: str, known: tf.TensorShape) -> tf.Tensor:
    """Return ``tensor``, called ``name``, checked in the graph to have a shape, of which ``known`` is known before."""
    received = tf.shape(tensor)
    same = tf.raw_ops.Equal(x=received, y=shape, incompatible_shape_error=False)
    holds = tf.logical_and(tf.size(received) == tf.size(shape), tf.reduce_all(same))
    message = [f"{name}: expected shape", shape, "received", received]
    with tf.control_dependencies([tf.debugging.Assert(holds, message, summarize=16)]):
        # XLA drops the assertion, and names the tensor where its shape is another one.
        return tf.ensure_shape(tf.identity(tensor, name), known)
