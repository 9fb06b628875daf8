"""JSON requests as arrays: dtypes, shapes, names, and what is said about those that do not fit."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfae.servable.signatures import TensorInfo
from tfae.serving.local.rest.document import parse
from tfae.serving.local.rest.examples import check_examples
from tfae.serving.local.rest.inputs import read_inputs, signature_name
from tfae.serving.status import StatusError


def infos(**dtypes):
    return {name: TensorInfo(f"{name}:0", tf.as_dtype(dtype), None) for name, dtype in dtypes.items()}


def array_of(dtype, body, *, has_booleans=True):
    arrays, _ = read_inputs(parse(body.encode()), infos(x=dtype), has_booleans=has_booleans)
    return arrays["x"]


def refusal_of(signature, body):
    """The same from both ways of reading, the fast one and the one that looks at every value."""
    texts = set()
    for has_booleans in (True, False):
        with pytest.raises(StatusError, match=r"INVALID_ARGUMENT|UNIMPLEMENTED") as refusal:
            read_inputs(parse(body.encode()), signature, has_booleans=has_booleans)
        texts.add(str(refusal.value))
    (text,) = texts
    return text


@pytest.mark.parametrize("has_booleans", [True, False])
@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        # C++'s static_cast of an int32.
        ("uint8", "[0, 255, 256, -1, 2147483647]", [0, 255, 0, 255, 255]),
        ("int8", "[127, 128, -129, 256]", [127, -128, 127, 0]),
        ("int16", "[32767, 32768, 65537, -32769]", [32767, -32768, 1, 32767]),
        ("int32", "[2147483647, -2147483648]", [2**31 - 1, -(2**31)]),
        ("int64", "[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
        ("uint32", "[0, 4294967295]", [0, 2**32 - 1]),
        ("uint64", "[0, 18446744073709551615]", [0, 2**64 - 1]),
        ("float32", "[1, -0.5, 1e39, -1e39, 16777217, NaN]", [1, -0.5, np.inf, -np.inf, 16777216, np.nan]),
        ("float64", "[1, 0.1, 18446744073709551615, 9007199254740993]", [1, 0.1, 2.0**64, 2.0**53]),
        # To float32 by way of float64, so twice rounded: 2**24 + 1 + 2**-30 is a tie after the first time.
        ("float32", "[16777217.000000000931322574615478515625]", [16777216]),
        # Denormals are flushed.
        ("float32", "[1.17549435e-38, 1.17549421e-38, -1e-45]", [1.17549435e-38, 0.0, -0.0]),
        ("float64", "[2.2250738585072014e-308, 5e-324, -1e-310]", [2.2250738585072014e-308, 0.0, -0.0]),
        ("bool", "[true, false]", [True, False]),
    ],
)
def test_numbers_become_what_they_become_in_the_real_server(dtype, values, expected, has_booleans):
    array = array_of(dtype, f'{{"instances": {values}}}', has_booleans=has_booleans)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, np.array(expected, dtype))
    if np.dtype(dtype).kind == "f":
        np.testing.assert_array_equal(np.signbit(array), np.signbit(np.array(expected, dtype)))


@pytest.mark.parametrize(
    ("dtype", "value", "quotation", "kind"),
    [
        ("uint8", "64.0", "64.0", "Number"),
        ("uint8", "2147483648", "2147483648", "Number"),
        ("int32", "-2147483649", "-2147483649", "Number"),
        ("int64", "9223372036854775808", "9223372036854775808", "Number"),
        ("uint32", "-1", "-1", "Number"),
        ("uint64", "1e3", "1000.0", "Number"),
        ("int64", "NaN", "", "Number"),
        ("int64", "true", "true", "True"),
        ("bool", "1", "1", "Number"),
        ("float", "true", "true", "True"),
        ("float", "null", "null", "Null"),
        ("double", '"1"', '"1"', "String"),
        ("float", '{"b64": "YQ=="}', '{\n    "b64": "YQ=="\n}', "Object"),
        ("string", "1", "1", "Number"),
    ],
)
def test_a_value_of_another_type_is_refused(dtype, value, quotation, kind):
    tf_dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
    text = f"JSON Value: {quotation} Type: {kind} is not of expected type: {dtype}"
    assert refusal_of(infos(x=tf_dtype), f'{{"inputs": [{value}]}}') == f"INVALID_ARGUMENT: {text}"
    assert refusal_of(infos(x=tf_dtype), f'{{"instances": [{value}]}}') == (
        f"INVALID_ARGUMENT: Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: {text}"
    )


@pytest.mark.parametrize(
    ("dtype", "name"), [("float16", "half"), ("bfloat16",) * 2, ("uint16",) * 2, ("complex64",) * 2]
)
def test_dtypes_without_json_are_unimplemented(dtype, name):
    text = f"UNIMPLEMENTED: Conversion of JSON Value: 1.5 to type: {name}"
    assert refusal_of(infos(x=dtype), '{"inputs": [1.5]}') == text
    assert refusal_of(infos(x=dtype), '{"instances": [1.5]}').endswith(f"Error: {text}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"instances": {}}', "JSON Value: {\n    \"instances\": {}\n} Expecting 'instances' to be an list/array"),
        ('{"instances": []}', "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        (
            '{"instances": [[1, 2], [3]]}',
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 2 but "
            "got: 1",
        ),
        (
            '{"instances": [[1, 2], [[3], [4]]]}',
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting shape [2] but got: "
            "[2,1]",
        ),
        ('{"inputs": [[1, 2], [3]]}', "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ('{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
        (
            '{"inputs": [[1], 2]}',
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        (
            '{"instances": [{"x": 1}, 2]}',
            "Expecting object but got list at item 1 of input list",
        ),
        ('{"instances": [1, {"x": 2}]}', "Expecting value/list but got object at item 1 of input list"),
        (
            '{"instances": [{"y": 1}]}',
            "Failed to process element: 0 key: y of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not "
            "have named input: y",
        ),
        ('{"inputs": {"y": 1}}', "Missing named input: x in 'inputs' object."),
    ],
)
def test_requests_that_do_not_fit_are_refused(body, message):
    assert refusal_of(infos(x="float32"), body) == f"INVALID_ARGUMENT: {message}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            '{"instances": [1]}',
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"inputs": [1]}',
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            '{"instances": [{"a": 1, "b": 2}, {"a": 1}]}',
            "Failed to process element: 1 of 'instances' list. JSON object: {\n    \"a\": 1\n} keys must be equal to: "
            "a,b",
        ),
        ('{"inputs": {"a": [1]}}', "Missing named input: b in 'inputs' object."),
    ],
)
def test_several_inputs_are_asked_for_by_name(body, message):
    assert refusal_of(infos(b="float32", a="float32"), body) == f"INVALID_ARGUMENT: {message}"


@pytest.mark.parametrize("has_booleans", [True, False])
def test_rows_and_columns_give_the_same_arrays(has_booleans):
    rows = parse(b'{"instances": [{"a": [1, 2], "b": 5}, {"b": 6, "a": [3, 4]}]}')
    columns = parse(b'{"inputs": {"a": [[1, 2], [3, 4]], "b": [5, 6], "unknown": "ignored"}}')
    signature = infos(a="float32", b="int64")
    from_rows, in_rows = read_inputs(rows, signature, has_booleans=has_booleans)
    from_columns, in_columns = read_inputs(columns, signature, has_booleans=has_booleans)
    assert (in_rows, in_columns) == (True, False)
    for arrays in (from_rows, from_columns):
        assert {name: (array.dtype.name, array.tolist()) for name, array in arrays.items()} == {
            "a": ("float32", [[1.0, 2.0], [3.0, 4.0]]),
            "b": ("int64", [5, 6]),
        }


def test_an_input_named_twice_in_a_row_counts_once():
    # C++ appends both and reads as many values as the shape says.
    assert array_of("int64", '{"instances": [{"x": [1, 2], "x": [3, 4]}]}').tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("value", "shape"), [("1.5", ()), ("[]", (0,)), ("[[]]", (1, 0)), ("[[], []]", (2, 0)), ("[[[1], [2]]]", (1, 2, 1))]
)
def test_shapes_are_those_of_the_lists(value, shape):
    for has_booleans in (True, False):
        assert array_of("float32", f'{{"inputs": {value}}}', has_booleans=has_booleans).shape == shape


@pytest.mark.parametrize("depth", [40, 300, 5000])
def test_more_axes_than_there_can_be_are_refused(depth):
    body = f'{{"inputs": {"[" * depth}1{"]" * depth}}}'
    assert refusal_of(infos(x="float32"), body) == "INVALID_ARGUMENT: tensor parsing error: x"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("YWJj", b"abc"),
        ("YQ==", b"a"),
        ("YQ", b"a"),
        ("YW Jj\\n", b"abc"),
        ("/+8=", b"\xff\xef"),
        ("", b""),
        ("YR==", b"a"),
    ],
)
def test_base64_is_decoded(text, value):
    array = array_of("string", f'{{"instances": [{{"b64": "{text}"}}, "é"]}}')
    assert array.dtype == object
    assert array.tolist() == [value, "é".encode()]


@pytest.mark.parametrize("text", ["!!!", "YWJjZ", "YQ=", "YQ===", "Y=Q=", "_-8=", "é"])
def test_bad_base64_is_refused(text):
    assert refusal_of(infos(x="string"), f'{{"inputs": [{{"b64": "{text}"}}]}}') == (
        "INVALID_ARGUMENT: Unable to base64 decode"
    )


@pytest.mark.parametrize("value", ['{"b64": 1}', '{"b64": "YQ==", "c": 1}', '{"c": "YQ=="}'])
def test_other_objects_are_no_strings(value):
    text = refusal_of(infos(x="string"), f'{{"inputs": [{value}]}}')
    assert text.endswith("} not formatted correctly for base64 data")


SCALARS = st.one_of(
    st.integers(-300, 300), st.floats(allow_nan=False, width=32), st.booleans(), st.none(), st.text(max_size=2)
)


def nested(elements):
    return st.recursive(elements, lambda inner: st.lists(inner, max_size=3), max_leaves=8)


@settings(deadline=None, max_examples=300)
@given(
    nested(st.one_of(SCALARS, st.dictionaries(st.sampled_from("xy"), SCALARS, max_size=2))),
    st.sampled_from(["float32", "float64", "uint8", "int64", "uint64", "bool", "string"]),
    st.sampled_from(["instances", "inputs"]),
)
def test_the_fast_way_reads_what_the_careful_way_reads(value, dtype, key):
    body = json.dumps({key: value}).encode()

    def outcome(has_booleans):
        try:
            arrays, _ = read_inputs(parse(body), infos(x=dtype), has_booleans=has_booleans)
        except StatusError as error:
            return str(error)
        return arrays["x"].dtype, arrays["x"].shape, arrays["x"].tolist()

    assert outcome(b"true" in body or b"false" in body) == outcome(True)


@pytest.mark.parametrize(("body", "name"), [(b"{}", ""), (b'{"signature_name": "encode"}', "encode")])
def test_a_request_may_name_its_signature(body, name):
    assert signature_name(parse(body)) == name


def test_the_name_of_a_signature_is_a_string():
    with pytest.raises(StatusError, match="'signature_name' key must be a string value"):
        signature_name(parse(b'{"signature_name": null}'))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}", "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
        ('{"examples": 1}', "JSON Value: {\n    \"examples\": 1\n} Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array"),
        ('{"examples": [1]}', "Example must be JSON object but got JSON Number"),
        ('{"context": [], "examples": [{}]}', "Example must be JSON object but got JSON Array"),
        ('{"examples": [{"a": null}]}', "Feature: a has element with unexpected JSON type: Null"),
        ('{"examples": [{"a": [[1]]}]}', "Feature: a has element with unexpected JSON type: Array"),
        ('{"examples": [{"a": [1, 1.5]}]}', "Unexpected element type in feature: a expecting type: int64"),
        ('{"examples": [{"a": 9223372036854775808}]}', "Feature: a has uint64 element. Only int64 is supported."),
        ('{"examples": [{"a": {"b64": "!"}}]}', "Unable to base64 decode"),
    ],
)
def test_examples_that_do_not_fit_are_refused(body, message):
    with pytest.raises(StatusError, match="INVALID_ARGUMENT") as refusal:
        check_examples(parse(body.encode()))
    assert refusal.value.message == message


def test_examples_that_fit_are_accepted():
    check_examples(parse(b'{"examples": [{"a": [1, true], "b": "c", "d": {"b64": "YQ=="}, "e": [1.5, NaN]}]}'))
