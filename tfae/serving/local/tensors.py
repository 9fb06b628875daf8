"""Tensors as protocol buffers, read and written as TensorFlow's C++ code does it."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfae.serving.status import StatusError

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto

#: NumPy has no more axes than that; TensorFlow stops at 254.
_MOST_AXES = 32

#: The field of a ``TensorProto`` that holds the values of a dtype, and the NumPy dtype of one entry there.
_FIELDS = {
    tf.float32: ("float_val", np.float32),
    tf.float64: ("double_val", np.float64),
    tf.float16: ("half_val", np.uint32),
    tf.bfloat16: ("half_val", np.uint32),
    tf.int8: ("int_val", np.int32),
    tf.int16: ("int_val", np.int32),
    tf.int32: ("int_val", np.int32),
    tf.int64: ("int64_val", np.int64),
    tf.uint8: ("int_val", np.int32),
    tf.uint16: ("int_val", np.int32),
    tf.uint32: ("uint32_val", np.uint32),
    tf.uint64: ("uint64_val", np.uint64),
    tf.bool: ("bool_val", np.bool_),
    tf.string: ("string_val", object),
    tf.complex64: ("scomplex_val", np.float32),
    tf.complex128: ("dcomplex_val", np.float64),
    tf.qint8: ("int_val", np.int32),
    tf.quint8: ("int_val", np.int32),
    tf.qint16: ("int_val", np.int32),
    tf.quint16: ("int_val", np.int32),
    tf.qint32: ("int_val", np.int32),
}
_NUMPY = {dtype: object if dtype == tf.string else dtype.as_numpy_dtype for dtype in _FIELDS}
_DTYPES = {dtype.as_datatype_enum: dtype for dtype in _FIELDS}
#: Handles mean nothing to this process. They are read as so many of nothing, for `check_dtypes` to refuse them.
_HANDLES = np.dtype([("resource", np.ubyte)])
_OF_NUMPY = {np.dtype(numpy): dtype for dtype, numpy in _NUMPY.items()}
#: Packed fields whose entries are as wide as the values, so that the bytes of an array are the field: its key.
_PACKED_KEYS = {tf.float32: b"\x2a", tf.float64: b"\x32", tf.bool: b"\x5a", tf.complex64: b"\x4a"}


def from_proto(name: str, proto: TensorProto, *, max_bytes: int) -> np.ndarray:
    """The array that a request means.

    Too few values: the last one is repeated; none: zeros. Too many: the rest is cut. Values in the field of another
    dtype are not seen. That is how the real server reads them, and other than ``tf.make_ndarray`` does.

    Args:
        name: Of the input.
        proto: Its value.
        max_bytes: Largest size of the array: few bytes of a request can stand for many.

    Returns:
        The array, strings as an object array of bytes.

    Raises:
        StatusError: INVALID_ARGUMENT if it is no tensor; RESOURCE_EXHAUSTED if it is larger than ``max_bytes``, or
            has no values and sides that NumPy cannot count.
    """
    dtype, shape = _DTYPES.get(proto.dtype), tuple(dim.size for dim in proto.tensor_shape.dim)
    is_handle = proto.dtype == tf.resource.as_datatype_enum
    if (dtype is None and not is_handle) or len(shape) > _MOST_AXES or min(shape, default=0) < 0:
        raise _unreadable(name)
    count, numpy = math.prod(shape), _HANDLES if dtype is None else np.dtype(_NUMPY[dtype])
    if count * numpy.itemsize > max_bytes or math.prod(size or 1 for size in shape) * numpy.itemsize > sys.maxsize:
        raise StatusError(
            "RESOURCE_EXHAUSTED", f"Tensor {name} of shape {list(shape)} is larger than {max_bytes} bytes."
        )
    if dtype is None or not count:
        return np.zeros(shape, numpy)
    if not proto.tensor_content:
        return _from_field(proto, dtype, count).reshape(shape)
    if dtype == tf.string:
        return _strings(name, proto.tensor_content, count).reshape(shape)
    if len(proto.tensor_content) != count * numpy.itemsize:
        raise _unreadable(name)
    if dtype == tf.bool:  # Any byte can come; NumPy itself takes a bool to be 0 or 1.
        return (np.frombuffer(proto.tensor_content, np.uint8) != 0).reshape(shape)
    return np.frombuffer(proto.tensor_content, numpy).reshape(shape)


def dtype_of(array: np.ndarray) -> tf.DType:
    """The dtype of an array from `from_proto`."""
    return tf.resource if array.dtype == _HANDLES else tf.as_dtype(array.dtype)


def to_proto(array: np.ndarray, proto: TensorProto) -> None:
    """Write an array, with its values in the field of its dtype.

    Args:
        array: Of a dtype that TensorFlow has; strings as an object array of bytes.
        proto: An empty message.
    """
    dtype = _OF_NUMPY[array.dtype]
    proto.dtype = dtype.as_datatype_enum
    # Without axes the shape is there, and empty.
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if not array.size:
        return
    if dtype == tf.bool:
        array = array.view(np.uint8) != 0  # What a kernel passes on may be any byte.
    if dtype in _PACKED_KEYS:
        values = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        proto.MergeFromString(_PACKED_KEYS[dtype] + _varint(len(values)) + values)
        return
    field, entry = _FIELDS[dtype]
    flat = array.reshape(-1)
    if field == "half_val":
        flat = flat.view(np.uint16)
    elif dtype == tf.complex128:
        flat = flat.view(entry)
    elif flat.dtype.names:  # Quantized: NumPy has them as structures of one integer.
        flat = flat.view(flat.dtype[0])
    getattr(proto, field).extend(flat.tolist())


def _from_field(proto: TensorProto, dtype: tf.DType, count: int) -> np.ndarray:
    """``count`` values from the field of the dtype, as a flat array."""
    field, entry = _FIELDS[dtype]
    width = 2 if dtype.is_complex else 1
    given = getattr(proto, field)[: count * width]
    if dtype == tf.string:
        values = np.full(count, given[-1] if given else b"", object)
        values[: len(given)] = given
        return values
    found: np.ndarray = np.array(given[: len(given) // width * width], entry)
    if field == "half_val":
        found = found.astype(np.uint16).view(_NUMPY[dtype])  # Patterns of 16 bits.
    elif width == 2:
        found = found.view(_NUMPY[dtype])
    else:
        found = found.astype(_NUMPY[dtype])  # Wraps around, as in C++.
    values = np.zeros(count, _NUMPY[dtype])
    values[: len(found)] = found
    if len(found):
        values[len(found) :] = found[-1]
    return values


def _strings(name: str, content: bytes, count: int) -> np.ndarray:
    """Strings of ``tensor_content``: the length of each as a varint, and then all of them."""
    lengths, position = [], 0
    for _ in range(count):
        length = shift = 0
        while True:
            if position >= len(content) or shift > 63:
                raise _unreadable(name)
            byte = content[position]
            position += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise _unreadable(name)
    values = np.empty(count, object)
    for index, length in enumerate(lengths):
        values[index] = content[position : position + length]
        position += length
    return values


def _varint(value: int) -> bytes:
    """An integer in protobuf's variable length."""
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _unreadable(name: str) -> StatusError:
    return StatusError("INVALID_ARGUMENT", f"tensor parsing error: {name}")
