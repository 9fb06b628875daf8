import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfae import preprocessing
from tfae.preprocessing import Preprocessing, fit

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3)).astype("uint8")
TABLE = np.random.default_rng(0).normal([5, -100], [0.1, 50], (50, 2))
DIGITS = np.array([[[[0], [8]], [[16], [4]]]], "uint8")
FLOATS = np.random.default_rng(0).normal(size=(5, 4, 4, 2))


def standardise(samples, axis):
    samples = samples.astype("float64")
    return (samples - samples.mean(axis=axis)) / samples.std(axis=axis)


@pytest.mark.parametrize(
    ("method", "samples", "options", "expected", "value_range"),
    [
        ("unit", IMAGES, {"fitted on": IMAGES // 2}, IMAGES / 255, (0, 1)),  # by the dtype, whatever the samples span
        ("unit", DIGITS, {"value_range": (0, 16)}, DIGITS / 16, (0, 1)),
        ("symmetric", IMAGES, {}, IMAGES / 127.5 - 1, (-1, 1)),
        ("unit", TABLE, {}, (TABLE - TABLE.min(axis=0)) / np.ptp(TABLE, axis=0), (0, 1)),
        ("unit", FLOATS, {}, (FLOATS - FLOATS.min()) / np.ptp(FLOATS), (0, 1)),
        ("standard", TABLE, {}, standardise(TABLE, 0), None),
        ("standard", IMAGES, {}, standardise(IMAGES, (0, 1, 2)), None),
        ("none", TABLE, {}, TABLE, None),
        ("none", IMAGES, {}, IMAGES, (0, 255)),
    ],
)
def test_scaling_is_per_column_of_a_table_per_channel_or_by_the_range(method, samples, options, expected, value_range):
    fitted_on = options.pop("fitted on", samples)
    fitted = fit(method, fitted_on, kind="table" if samples.ndim == 2 else "image", **options)
    scaled = fitted(samples)
    (mapped,) = tf.data.Dataset.from_tensors(samples).map(fitted)
    np.testing.assert_array_equal(mapped, scaled)
    assert (scaled.dtype, fitted.value_range) == ("float32", value_range)
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["unit", "symmetric", "none", "standard"])
def test_every_pixel_value_comes_back_exactly(method):
    pixels = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
    fitted = fit(method, pixels, kind="image")
    returned = fitted.inverse(fitted(pixels)).numpy()
    np.testing.assert_allclose(returned, pixels, atol=1e-4)
    np.testing.assert_array_equal(np.rint(returned), pixels)


def test_a_large_offset_costs_no_digits():
    seconds = 1.7e9 + np.arange(1000.0)[:, None]  # One second is below the resolution of float32 here.
    scaled = fit("standard", seconds, kind="table")(seconds).numpy()[:, 0]
    expected = (np.arange(1000.0) - 499.5) / np.arange(1000.0).std()
    np.testing.assert_allclose(scaled, expected, rtol=1e-5)


@given(
    hnp.arrays("float64", (6, 3), elements=st.floats(-1e6, 1e6), unique=True),
    st.sampled_from(["unit", "symmetric", "standard"]),
)
def test_hypothesis_finds_no_table_that_does_not_come_back(table, method):
    spread = np.ptp(table, axis=0)
    if (spread < 1e-3 * np.abs(table).max(axis=0)).any():
        return  # float32 in model space holds seven digits of the spread, not of the value.
    fitted = fit(method, table, kind="table")
    np.testing.assert_allclose(fitted.inverse(fitted(table)), table, rtol=1e-5, atol=1e-5 * np.abs(table).max())


FIVE = np.arange(5.0)
PRESSURE = np.column_stack([FIVE, np.full(5, 7.0)])
LEAVE_OUT = r"columns 'pressure' in the 5 training samples\. Leave them out with columns=\"varying\""
CONSTANT_CHANNEL = IMAGES * np.array([1, 1, 0], "uint8")


@pytest.mark.parametrize(
    ("method", "samples", "names", "message"),
    [
        ("unit", PRESSURE, ["temperature", "pressure"], LEAVE_OUT),
        ("standard", PRESSURE, ["temperature", "pressure"], LEAVE_OUT),
        # A spread that can not be divided by, and a fraction whose deviation is not zero.
        ("unit", np.column_stack([FIVE, FIVE * 1e-200]), None, r"columns 1 in the \d+ training samples\."),
        ("standard", np.column_stack([FIVE, FIVE * 1e-200]), None, r"columns 1 in the \d+ training samples\."),
        ("standard", np.column_stack([FIVE, np.full(5, 0.1)]), None, r"columns 1 in the \d+ training samples\."),
        ("standard", CONSTANT_CHANNEL, None, "channels 2"),
        ("unit", np.arange(4)[:, None] * np.eye(1, 15), None, r"1, 2, .*, 10 and 4 more in the 4 training samples"),
    ],
)
def test_constant_columns_and_channels_are_named(method, samples, names, message):
    kind = "table" if samples.ndim == 2 else "image"
    with pytest.raises(ValueError, match=f"constant .*{message}"):
        fit(method, samples, kind=kind, feature_names=names)
    assert fit("none", samples, kind=kind).method == "none"


def test_unknown_methods_and_ranges_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r'one of "unit" \(to \[0, 1\]\).*received \'minmax\''):
        fit("minmax", TABLE, kind="table")
    with pytest.raises(ValueError, match=r"low < high; received \(1, 1\)"):
        fit("unit", TABLE, kind="table", value_range=(1, 1))


@pytest.mark.parametrize("kind", ["image", "table"])
@pytest.mark.parametrize("method", preprocessing.METHODS)
def test_the_configuration_builds_an_equal_layer(kind, method):
    samples = IMAGES if kind == "image" else TABLE
    fitted = fit(method, samples, kind=kind)
    copy = Preprocessing.from_config(fitted.get_config())
    np.testing.assert_array_equal(copy(samples), fitted(samples))
    for name in ("sample_dtype", "sample_shape", "value_range"):
        assert getattr(copy, name) == getattr(fitted, name)


def test_it_is_saved_inside_a_keras_model(tmp_path):
    fitted = fit("standard", TABLE, kind="table")
    inputs = keras.Input((2,), dtype="float64")
    model = keras.Model(inputs, fitted(inputs))
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(TABLE), fitted(TABLE), rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16"], indirect=True)
def test_it_stays_in_float32_under_a_mixed_policy(policy):
    assert fit("standard", TABLE, kind="table")(TABLE).dtype == "float32"


def test_each_kind_of_data_has_a_default():
    for kind, dtype in (("image", "uint8"), ("image", "float32"), ("table", "bool")):
        assert preprocessing.default_method(kind, dtype) == "unit"
    for kind, dtype in (("table", "float64"), ("sequence", "float32")):
        assert preprocessing.default_method(kind, dtype) == "standard"


def test_constant_columns_are_those_that_no_method_can_scale():
    table = np.column_stack([np.arange(10.0), np.full(10, 0.1), np.arange(10) * 1e-200, np.arange(10) > 0])
    assert preprocessing.constant_columns(table).tolist() == [False, True, True, False]
    assert preprocessing.constant_columns(np.eye(3, 4, dtype=bool)).tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (np.array([0, 255], "int64"), "uint8", [0, 255]),
        (np.array([0.0, 255.0]), "uint8", [0, 255]),
        (np.array([-0.0, 2.0**62]), "int64", [0, 2**62]),
        (np.array([0.0, 1.0]), "bool", [False, True]),
        (np.array([True, False]), "float32", [1, 0]),
        (np.array([0.1]), "float32", [np.float32(0.1)]),
        (np.array([3], "uint16"), "float64", [3]),
        (np.array([-(2**31), 2**24, 2**24 + 2]), "float32", [-(2**31), 2**24, 2**24 + 2]),
        (np.array([-(2**63), 2**62 + 2**40]), "float64", [-(2**63), 2**62 + 2**40]),
        (np.array([2**63], "uint64"), "float32", [2**63]),
        (np.array([2.0**24 + 1]), "float32", [2**24]),
        (np.zeros(0), "uint8", []),
    ],
)
def test_raw_samples_take_the_dtype_of_the_model_where_that_changes_none(values, dtype, expected):
    cast = preprocessing.cast_exactly(values, dtype)
    assert cast.dtype == dtype
    assert cast.tolist() == expected


@pytest.mark.parametrize(
    ("values", "dtype", "received"),
    [
        (np.array([0, 256]), "uint8", "int64 with a value of 256"),
        (np.array([0, -1]), "uint64", "int64 with a value of -1"),
        (np.array([2**63 + 1], "uint64"), "int64", "uint64 with a value of 9223372036854775809"),
        (np.array([0, 0.5], "float32"), "uint8", "float32 with a value of 0.5"),
        (np.array([1e300]), "int64", "float64 with a value of 1e\\+300"),
        (np.array([2.0**63]), "int64", "float64 with a value of 9.2"),
        (np.array([np.nan]), "uint8", "float64 with a value of nan"),
        (np.array([2]), "bool", "int64 with a value of 2"),
        (np.array([1e300]), "float32", "float64 with a value of 1e"),
        (np.array([2**24, 2**24 + 1]), "float32", "int64 with a value of 16777217. float32 does not hold that integer"),
        (np.array([-(2**24) - 1], "int32"), "float32", "int32 with a value of -16777217"),
        (np.array([2**53 + 1]), "float64", "int64 with a value of 9007199254740993"),
        (np.array([2**63 - 1]), "float64", "int64 with a value of 9223372036854775807"),
        (np.array([2**64 - 1], "uint64"), "float64", "uint64 with a value of 18446744073709551615"),
        (np.array([-(2**31)], "int32"), "float16", "int32 with a value of -2147483648"),
        (np.array([2049], "uint16"), "float16", "uint16 with a value of 2049"),
        (np.array(["1"]), "uint8", "<U1"),
    ],
)
def test_samples_that_would_be_others_in_the_dtype_of_the_model_are_refused(values, dtype, received):
    message = f"^x: expected values that {dtype} can hold; received {received}"
    with pytest.raises(ValueError, match=message):
        preprocessing.cast_exactly(values, dtype, name="x")
