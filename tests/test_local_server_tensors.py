"""Tensors as protocol buffers: as worked out by hand, recorded from TensorFlow Serving, or read by TensorFlow."""

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework.tensor_pb2 import TensorProto

from tfae.servable.signatures import Signature, TensorInfo
from tfae.serving import StatusError
from tfae.serving.local.prediction import check_dtypes
from tfae.serving.local.tensors import from_proto, to_proto

ROOMY = 1 << 20


def proto(dtype, *shape, **fields):
    return TensorProto(dtype=f"DT_{dtype}", tensor_shape={"dim": [{"size": size} for size in shape]}, **fields)


def read(*arguments, max_bytes=ROOMY, **fields):
    return from_proto("x", proto(*arguments, **fields), max_bytes=max_bytes)


@pytest.mark.parametrize(
    ("dtype", "shape", "fields", "expected"),
    [
        # Recorded: one value fills the tensor, the last one fills the rest, none are zeros, too many are cut.
        ("FLOAT", (2, 2), {"float_val": [0.5]}, [[0.5, 0.5], [0.5, 0.5]]),
        ("FLOAT", (4,), {"float_val": [1, 2]}, [1, 2, 2, 2]),
        ("FLOAT", (2,), {}, [0, 0]),
        ("FLOAT", (2,), {"float_val": [1, 2, 3]}, [1, 2]),
        ("FLOAT", (2,), {"double_val": [1, 2]}, [0, 0]),
        ("UINT8", (3,), {"int_val": [1, 255, 256]}, [1, 255, 0]),
        ("UINT16", (2,), {"int_val": [0, 65535]}, [0, 65535]),
        ("UINT8", (3,), {"tensor_content": b"\x01\xff\x00"}, [1, 255, 0]),
        ("COMPLEX64", (1,), {"scomplex_val": [1, 2]}, [1 + 2j]),
        # By hand.
        ("INT8", (2,), {"int_val": [128, -129]}, [-128, 127]),
        ("INT64", (1,), {"int64_val": [-(2**63)]}, [-(2**63)]),
        ("UINT64", (1,), {"uint64_val": [2**64 - 1]}, [2**64 - 1]),
        ("BOOL", (3,), {"bool_val": [True, False]}, [True, False, False]),
        ("BOOL", (2, 2), {"tensor_content": b"\xff\x02\x00\x01"}, [[True, True], [False, True]]),
        ("HALF", (2,), {"half_val": [0x3C00, 0x7C00]}, [1, np.inf]),
        ("BFLOAT16", (2,), {"half_val": [0x3F80, 0x3F80 + 0x10000]}, [1, 1]),
        ("COMPLEX128", (2,), {"dcomplex_val": [1, 2, 3]}, [1 + 2j, 1 + 2j]),
        ("FLOAT", (), {"float_val": [1.5]}, 1.5),
        ("FLOAT", (0, 4), {}, np.zeros((0, 4))),
        ("DOUBLE", (1,), {"tensor_content": np.float64(0.1).tobytes()}, [0.1]),
        ("STRING", (3,), {"string_val": [b"a\x00", b"\xff"]}, [b"a\x00", b"\xff", b"\xff"]),
        ("STRING", (2,), {}, [b"", b""]),
        ("STRING", (2,), {"tensor_content": b"\x01\x83\x01a" + b"b" * 131}, [b"a", b"b" * 131]),
    ],
)
def test_requests_are_read_as_the_real_server_reads_them(dtype, shape, fields, expected):
    array = read(dtype, *shape, **fields)
    assert array.shape == shape
    if dtype == "STRING":
        assert array.tolist() == expected
    else:
        assert array.dtype == tf.as_dtype(
            getattr(tf, {"FLOAT": "float32", "DOUBLE": "float64"}.get(dtype, dtype.lower()))
        )
        np.testing.assert_array_equal(array, np.array(expected, array.dtype))


@pytest.mark.parametrize(
    "broken",
    [
        proto("FLOAT", 2, tensor_content=b"1234"),
        proto("FLOAT", 2, tensor_content=b"123456789"),
        proto("INVALID", 1),
        proto("QINT8", 2, tensor_content=b"1"),
        proto("RESOURCE", -1),
        proto("FLOAT", -1, float_val=[1]),
        proto("FLOAT", *[1] * 33, float_val=[1]),
        proto("STRING", 2, tensor_content=b"\x01a"),
        proto("STRING", 1, tensor_content=b"\x05a"),
        proto("STRING", 1, tensor_content=b"\x80" * 11),
    ],
)
def test_what_is_no_tensor_is_refused_in_the_words_of_the_real_server(broken):
    with pytest.raises(StatusError, match=r"^INVALID_ARGUMENT: tensor parsing error: x$"):
        from_proto("x", broken, max_bytes=ROOMY)


@pytest.mark.parametrize("shape", [(2**40,), (2**62, 2**62), (0, 2**62), (0, 2**40, 2**40)])
def test_a_shape_that_no_memory_holds_is_refused_before_anything_is_allocated(shape):
    with pytest.raises(StatusError, match=r"^RESOURCE_EXHAUSTED: Tensor x of shape"):
        read("FLOAT", *shape)
    assert read("FLOAT", 4, max_bytes=16).nbytes == 16
    with pytest.raises(StatusError, match=r"^RESOURCE_EXHAUSTED: Tensor x of shape"):
        read("FLOAT", 5, max_bytes=16)


def test_a_shape_with_large_sides_and_no_values_is_a_tensor():
    assert read("FLOAT", 0, 2**40).shape == (0, 2**40)
    assert read("STRING", 2**40, 0).shape == (2**40, 0)


@pytest.mark.parametrize("name", ["qint8", "quint8", "qint16", "quint16", "qint32", "resource"])
def test_tensors_that_only_the_real_server_knows_what_to_do_with_are_of_another_dtype(name):
    signature = Signature("s", "", {"x": TensorInfo("x:0", tf.float32, (None,))}, {})
    with pytest.raises(StatusError, match=rf"^INVALID_ARGUMENT: Expects arg\[0\] to be float but {name} is provided$"):
        check_dtypes(signature, {"x": read(name.upper(), 2)})


def test_quantized_numbers_are_read_and_written():
    array = read("QINT8", 3, int_val=[1, 255])
    assert array.view(np.int8).tolist() == [1, -1, -1]
    written = TensorProto()
    to_proto(array, written)
    assert (written.dtype, written.int_val) == (tf.qint8.as_datatype_enum, [1, -1, -1])
    assert read("QUINT16", 2, tensor_content=b"\x01\x00\xff\xff").view(np.uint16).tolist() == [1, 65535]


ARRAYS = [
    np.array([[1.5, np.nan], [np.inf, -0.0]], "float32"),
    np.array([1e300, -0.1]),
    np.array([1, -2], "int8"),
    np.array([1, -2], "int16"),
    np.array([1, -(2**31)], "int32"),
    np.array([1, -(2**63)], "int64"),
    np.array([[0, 255]], "uint8"),
    np.array([0, 65535], "uint16"),
    np.array([0, 2**32 - 1], "uint32"),
    np.array([0, 2**64 - 1], "uint64"),
    np.array([True, False, True]),
    np.array([1.5, np.inf], "float16"),
    np.array([1.5, -2], ml_dtypes.bfloat16),
    np.array([1 + 2j, -3j], "complex64"),
    np.array([1 + 2j, -3j], "complex128"),
    np.array([[b"a\x00", b"\xff"], [b"", b"x" * 300]], object),
    np.float32(2.5).reshape(()),
    np.array(b"text\x00", object),
    np.zeros((0, 3), "float32"),
    np.arange(12, dtype="float32").reshape(3, 4).T,
    np.ones((300, 100), "float32"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_answers_are_what_tensorflow_reads_back_and_carry_typed_fields(array):
    written = TensorProto()
    to_proto(array, written)
    assert written.HasField("tensor_shape")
    assert not written.tensor_content
    back = tf.make_ndarray(written)
    assert back.shape == array.shape
    if array.dtype == object:
        assert back.tolist() == array.tolist()
    else:
        np.testing.assert_array_equal(back, array)
        np.testing.assert_array_equal(np.signbit(np.real(back)), np.signbit(np.real(array)))
    np.testing.assert_array_equal(from_proto("x", written, max_bytes=ROOMY), array)


def test_a_bool_is_one_bit_whatever_byte_it_is_kept_in():
    for shape, expected in (((3,), [True, True, False]), ((), [True])):
        array = np.frombuffer(b"\xff\x02\x00", np.bool_)[: len(expected)].reshape(shape)
        written = TensorProto()
        to_proto(array, written)
        assert TensorProto.FromString(written.SerializeToString()).bool_val == expected


def test_half_is_written_as_patterns_of_16_bits():
    # Recorded.
    written = TensorProto()
    to_proto(np.array([1, 2], "float16"), written)
    assert json_format.MessageToDict(written)["halfVal"] == [15360, 16384]
