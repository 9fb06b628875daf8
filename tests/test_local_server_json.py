"""The JSON of the local server: requests as arrays, arrays as answers."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfae.serving.local.json_bodies import parse, read_inputs, read_signature_name, write_predictions
from tfae.serving.status import StatusError
from tfae.tensor_spec import TensorSpec

NAN, INF = float("nan"), float("inf")


def read(body, **dtypes):
    """The inputs in a body, for a signature with inputs of these dtypes."""
    body = body if isinstance(body, bytes) else body.encode()
    infos = {name: TensorSpec(dtype, None) for name, dtype in dtypes.items()}
    return read_inputs(parse(body), infos)


def read_column(value, dtype):
    return read(f'{{"inputs": {value}}}', x=dtype)[0]["x"]


@pytest.mark.parametrize(
    ("body", "document"),
    [
        (b'{"a":true} and more', {"a": True}),
        (b'{"inputs":{"inputs":1},"inputs":2}', {"inputs": {"inputs": 1}}),
        (b'{"instances":[{"inputs":1},{"inputs":2}],"instances":3}', {"instances": [{"inputs": 1}, {"inputs": 2}]}),
        (b'{"a":[NaN,-NaN,Inf,-Inf,Infinity,-Infinity]}', {"a": [NAN, NAN, INF, -INF, INF, -INF]}),
        (b'{"a":[NaN,"say \\"-NaN, Inf\\""]}', {"a": [NAN, 'say "-NaN, Inf"']}),
        (b'{"a":18446744073709551615,"b":18446744073709551616}', {"a": 2**64 - 1, "b": 2.0**64}),
        (b'{"a":[NaN,18446744073709551615,18446744073709551616]}', {"a": [NAN, 2**64 - 1, 2.0**64]}),
        (b'{"a":[NaN,-9223372036854775808,1e-400]}', {"a": [NAN, -(2**63), 0.0]}),
        (b'{"a":"b\xffc"}', {"a": "b\udcffc"}),
    ],
)
def test_a_body_is_read_as_tensorflow_serving_reads_it(body, document):
    assert repr(parse(body)) == repr(document)  # NaN is not equal to itself, and 1 is equal to 1.0.


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"\0{}", b"tru", b'{"a":1,}', b'{"a" 1}', b'{"a":[1 2]}', b'{"a":"b', b'{"a":"b\nc"}'),
        *(b'{"a":+1}', b'{"a":1e309}', b'{"a":[NaN,1e309]}', b'{"a":[NaN,%s]}' % (b"9" * 5000)),
        *(b"[1]", b"1", b"null", b'"a"', b"NaN", b'{"a":' + b"[" * 200_000, b'{"a":[NaN,' + b'{"b":' * 200_000),
    ],
)
def test_what_is_no_json_object_is_refused(body):
    with pytest.raises(StatusError, match=r"INVALID_ARGUMENT: (JSON Parse error: |body: expected a JSON object; )"):
        parse(body)


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        ("float32", "[1e39, -1e39, NaN, Infinity]", [INF, -INF, NAN, INF]),
        ("float64", "[9007199254740993, 0.1]", [9007199254740992.0, 0.1]),
        ("int8", "[127, 128, -129]", [127, -128, 127]),
        ("int64", "[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
        ("uint64", "[0, 5, 18446744073709551615]", [0, 5, 2**64 - 1]),
        ("float32", "[]", []),
        ("float32", "[[], []]", [[], []]),
        ("string", '["é", {"b64": "/+8="}]', ["é".encode(), b"\xff\xef"]),
    ],
)
def test_values_become_arrays_of_the_dtype(dtype, value, expected):
    array = read_column(value, dtype)
    assert array.dtype == (object if dtype == "string" else dtype)
    np.testing.assert_array_equal(array, np.array(expected, array.dtype))


@pytest.mark.parametrize(
    ("dtype", "value", "problem"),
    [
        ("float32", "[[1, 2], [3]]", "x: expected .* in lists of equal lengths; received list"),
        ("float32", "[1, [2]]", "in lists of equal lengths; received list"),
        ("float32", "[" * 300 + "1" + "]" * 300, "lists of equal lengths"),
        ("float32", '["1"]', "x: expected values of dtype float32, .*; received str"),
        ("float32", "[1, null]", "x: expected values of dtype float32, .*; received NoneType"),
        ("float32", '[{"a": 1}]', "instances: expected an object with x in every row|received dict"),
        ("float32", "[true, false]", "x: expected values of dtype float32, .*; received bool"),
        ("float32", "[[1, 2], [3, true]]", "x: expected values of dtype float32, .*; received bool"),
        ("int64", "[1.0]", "x: expected values of dtype int64, .*; received float"),
        ("int64", "[9223372036854775808]", "x: expected integers from .*; received 9223372036854775808 to"),
        ("uint64", "[-1, 18446744073709551615]", "x: expected integers from 0 to"),
        ("uint32", "[-1]", "x: expected integers from 0 to 4294967295; received -1 to -1"),
        ("uint8", "[4294967296]", "x: expected integers from"),
        ("bool", "[1]", "x: expected values of dtype bool, .*; received int"),
        ("string", "[1]", "x: expected values of dtype string, .*; received int"),
        ("string", '[["a"], ["b", "c"]]', "x: expected values of dtype string, .*; received list"),
        ("string", '[{"b64": "YQ==", "c": 1}]', "with x in every row; received an object with b64, c in row 0"),
        ("string", '["\\ud800"]', "body|surrogate"),
    ]
    + [("string", f'[{{"b64": "{text}"}}]', "base64") for text in ("!!!", "YWJjZ", "Y=Q=", "_-8=", "é")],
)
def test_values_that_are_none_of_the_dtype_are_refused(dtype, value, problem):
    # NaN has the standard library read the text, which lets half a surrogate pair through.
    body = f'{{"instances": {value}, "x": NaN}}' if dtype == "string" else f'{{"inputs": {value}}}'
    with pytest.raises(StatusError, match=f"INVALID_ARGUMENT: .*({problem})"):
        read(body, x=dtype)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{}", "expected either 'instances' .* received both or neither"),
        ('{"instances": [1], "inputs": [1]}', "received both or neither"),
        ('{"instances": []}', "instances: expected a list with at least one row; received an empty list"),
        ('{"instances": {"a": 1}}', "instances: expected a list .*; received an object with a"),
        ('{"instances": [1]}', "instances: expected an object with a, b in every row; received int in row 0"),
        ('{"instances": [{"a": 1, "b": 2}, {"a": 1}]}', "with a, b in every row; received an object with a in row 1"),
        ('{"instances": [{"a": 1, "b": 2}, 3]}', "with a, b in every row; received int in row 1"),
        ('{"instances": [{}]}', "with a, b in every row; received an object with nothing in row 0"),
        ('{"inputs": [1]}', "inputs: expected an object with a, b; received list"),
        ('{"inputs": {"a": [1]}}', "inputs: expected an object with a, b; received an object with a"),
    ],
)
def test_requests_that_do_not_fit_the_signature_are_refused(body, problem):
    with pytest.raises(StatusError, match=f"INVALID_ARGUMENT: .*{problem}"):
        read(body, a="float32", b="float32")


def test_a_request_may_name_its_signature():
    assert [read_signature_name(document) for document in ({}, {"signature_name": "encode"})] == ["", "encode"]
    with pytest.raises(StatusError, match="signature_name: expected a string; received NoneType"):
        read_signature_name({"signature_name": None})


@pytest.mark.parametrize(
    ("outputs", "in_rows", "body"),
    [
        ({"y": np.array([[1.5, 0.1]], "float32")}, True, b'{"predictions":[[1.5,0.1]]}'),
        ({"y": np.array([[1.5, 0.1]], "float32").T}, False, b'{"outputs":[[1.5],[0.1]]}'),
        ({"y": np.array([NAN, INF, -INF, 0.5], "float32")}, False, b'{"outputs": [NaN, Infinity, -Infinity, 0.5]}'),
        ({"y": np.zeros((0, 2), "float32")}, True, b'{"predictions":[]}'),
        ({"y": np.array([[]], "int8")}, True, b'{"predictions":[[]]}'),
        ({"y": np.array([True]), "z": np.array([7], "uint8")}, True, b'{"predictions":[{"y":true,"z":7}]}'),
        ({"y": np.array([True]), "z": np.array([7, 8])}, False, b'{"outputs":{"y":[true],"z":[7,8]}}'),
        ({"y": np.array([b"a", "é".encode()], object)}, True, '{"predictions":["a","é"]}'.encode()),
        ({"y": np.array([b"\xff"], object)}, True, b'{"predictions": ["\xff"]}'),
    ],
)
def test_answers_are_written(outputs, in_rows, body):
    assert write_predictions(outputs, in_rows=in_rows) == body


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ({"y": np.array(1.0)}, r"expected the same number of rows in each.* the model gave y \(\)"),
        ({"y": np.zeros(2), "z": np.zeros(3)}, r"the model gave y \(2,\), z \(3,\)"),
        ({"y": np.ones(1, "float16")}, "y: expected an output that JSON can carry; it is float16"),
        ({"y": np.ones(1, "complex64")}, "it is complex64"),
    ],
)
def test_answers_that_cannot_be_written_are_refused(outputs, problem):
    with pytest.raises(StatusError, match=f"INVALID_ARGUMENT: .*{problem}"):
        write_predictions(outputs, in_rows=True)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(width=32), min_size=1, max_size=8))
def test_floats_come_back_as_they_were(values):
    array = np.array(values, "float32")
    found = json.loads(write_predictions({"y": array}, in_rows=False))["outputs"]
    np.testing.assert_array_equal(np.array(found, "float32"), array)
