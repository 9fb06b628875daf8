"""Arrays as JSON text: the digits of floats, the layout, and what cannot be answered."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfae.serving.local.rest.answers import error_text, outputs_text, predictions_text
from tfae.serving.local.rest.float_text import float_texts
from tfae.serving.status import StatusError


def c_text(value):
    """One float as C++ writes it, taken apart step by step: six digits if they read back, else enough, and ``.0``."""
    number, digits = float(value), 9 if value.dtype == np.float32 else 17
    if np.isnan(number):
        return "NaN"
    if np.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if abs(number) < np.finfo(value.dtype).tiny:
        number = 0.0 * number
    text = format(number, "g")
    with np.errstate(over="ignore"):
        if value.dtype.type(text) != value.dtype.type(number):
            text = format(number, f".{digits}g")
    return text if "." in text or "e" in text else text + ".0"


@settings(deadline=None, max_examples=500)
@given(st.lists(st.floats(width=32), max_size=5))
def test_float32_is_written_with_as_many_digits_as_it_takes(values):
    array = np.array(values, "float32")
    assert float_texts(array) == [c_text(value) for value in array]


@settings(deadline=None, max_examples=500)
@given(st.lists(st.one_of(st.floats(), st.integers(-(10**18), 10**18).map(float)), max_size=5))
def test_float64_is_written_with_as_many_digits_as_it_takes(values):
    array = np.array(values, "float64")
    assert float_texts(array) == [c_text(value) for value in array]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_short_decimals_and_their_neighbours_are_told_apart(dtype):
    random = np.random.default_rng(0)
    short = np.round(random.uniform(-1, 1, 5000), 6) * 10.0 ** random.integers(-8, 16, 5000)
    array = np.concatenate([short, np.rint(short), [999999.5, 99999.95, 0.0001, 9.99999e-5, 1e15, 3e10]]).astype(dtype)
    array = np.concatenate([array, np.nextafter(array, np.inf, dtype=dtype), np.nextafter(array, -np.inf, dtype=dtype)])
    assert float_texts(array) == [c_text(value) for value in array]


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        # Recorded from a real server.
        ("float32", 2**31, "2.14748365e+09"),
        ("float32", 2**24, "16777216.0"),
        ("float32", 1000001, "1000001.0"),
        ("float64", 1e6, "1e+06"),
        ("float64", 2**53, "9007199254740992.0"),
        ("float64", 2**63, "9.2233720368547758e+18"),
        ("float32", 1e-45, "0.0"),
        ("float32", -1e-45, "-0.0"),
    ],
)
def test_floats_have_the_text_of_the_real_server(dtype, value, text):
    assert float_texts(np.array([value], dtype)) == [text]


def test_a_signalling_nan_is_a_nan_and_no_reason_to_warn():
    for dtype, pattern in (
        ("float32", [0x7FA00000, 0x3FC00000]),
        ("float64", [0x7FF4000000000000, 0x3FF8000000000000]),
    ):
        assert float_texts(np.array(pattern, dtype.replace("float", "uint")).view(dtype)) == ["NaN", "1.5"]


def arrays():
    shapes = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple)
    dtypes = st.sampled_from(["float32", "float64", "int8", "uint8", "int32", "int64", "uint64", "bool"])
    return st.tuples(shapes, dtypes).map(lambda spec: np.arange(np.prod(spec[0])).reshape(spec[0]).astype(spec[1]))


@settings(deadline=None, max_examples=200)
@given(st.lists(arrays(), min_size=1, max_size=3))
def test_whatever_the_layout_the_values_are_there(given_arrays):
    outputs = {f"output{index}": array for index, array in enumerate(given_arrays)}
    columns = json.loads(outputs_text(outputs))["outputs"]
    expected = {name: array.tolist() for name, array in outputs.items()}
    assert columns == (expected if len(outputs) > 1 else given_arrays[0].tolist())
    same = {name: array for name, array in outputs.items() if len(array) == len(given_arrays[0])}
    rows = json.loads(predictions_text(same))["predictions"]
    if len(same) == 1:
        assert rows == given_arrays[0].tolist()
    else:
        assert rows == [
            {name: array[row].tolist() for name, array in same.items()} for row in range(len(given_arrays[0]))
        ]


def test_strings_are_base64_only_under_names_that_end_in_bytes():
    array = np.array([b"a\xff", b'"'], object)
    assert predictions_text({"text": array}) == '{\n    "predictions": ["a\udcff", "\\""\n    ]\n}'
    rows = json.loads(predictions_text({"raw_bytes": array, "n": np.array([1, 2])}))["predictions"]
    assert [base64.b64decode(row["raw_bytes"]["b64"]) for row in rows] == [b"a\xff", b'"']
    assert outputs_text({"raw_bytes": array[:1].reshape(1, 1)}) == (
        '{\n    "outputs": [\n        [\n            {\n                "b64": "Yf8="\n            }\n        ]\n    ]'
        "\n}"
    )


def test_an_array_without_axes_is_a_bare_value_in_columns_only():
    total = np.array(1.5, "float32")
    assert outputs_text({"total": total}) == '{\n    "outputs": 1.5\n}'
    with pytest.raises(StatusError, match=r"Tensor name: total has no shape information $"):
        predictions_text({"total": total})


def test_rows_need_as_many_of_every_output():
    with pytest.raises(StatusError, match="Tensor name: b has inconsistent batch size: 1 expecting: 3"):
        predictions_text({"a": np.zeros(3), "b": np.zeros(1)})


@pytest.mark.parametrize(
    ("dtype", "name"), [("float16", "half"), ("uint16", "uint16"), ("complex64", "complex64"), ("complex128",) * 2]
)
def test_dtypes_without_json_cannot_be_answered(dtype, name):
    for text in (predictions_text, outputs_text):
        with pytest.raises(StatusError, match=f"Failed to write JSON value for tensor type: {name}"):
            text({"f": np.zeros(2), "y": np.zeros(2, dtype)})
    assert json.loads(outputs_text({"y": np.zeros(0, dtype)})) == {"outputs": []}


def test_errors_are_an_object_with_one_member():
    assert error_text('no "x"\n') == '{\n    "error": "no \\"x\\"\\n"\n}'
