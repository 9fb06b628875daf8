"""load() from a source to pipelines that Keras trains on."""

import functools
import random
import subprocess
import sys
import warnings
from typing import Any

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

import tfae
from tests.samples import numbered, values
from tfae import datasets
from tfae.datasets import Data, load


@pytest.fixture(scope="module")
def digits() -> Data:
    return load("digits", seed=0)


def test_digits_are_scikit_learns_images_in_their_own_range(digits: Data) -> None:
    bunch = sklearn.datasets.load_digits()
    assert (digits.name, digits.kind, digits.shape) == ("digits", "image", (8, 8, 1))
    assert digits.value_range == (0.0, 16.0)
    assert [len(samples) for samples in digits.raw] == [1438, 179, 180]
    part = datasets.open_source("digits").parts["all"]
    images, labels = part.read()
    assert part.num_samples == 1797
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images[..., 0], bunch.images)
    np.testing.assert_array_equal(labels, bunch.target)


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "diabetes"])
def test_tables_of_scikit_learn_come_bit_for_bit_with_their_names(name: str) -> None:
    bunch = getattr(sklearn.datasets, f"load_{name}")()
    source = datasets.open_source(name)
    samples, labels = source.parts["all"].read()
    assert (source.kind, source.dtype, source.shape) == ("table", "float64", bunch.data.shape[1:])
    assert source.feature_names == tuple(bunch.feature_names)
    np.testing.assert_array_equal(samples, bunch.data)
    np.testing.assert_array_equal(labels, bunch.target)


def test_every_split_is_pairs_of_x_and_x_in_model_space_and_stored_order(digits: Data) -> None:
    for split, raw in zip((digits.train, digits.validation, digits.test), digits.raw, strict=True):
        batches = list(split.as_numpy_iterator())
        for x, target in batches:
            assert x.dtype == np.float32
            np.testing.assert_array_equal(x, target)
        assert int(split.cardinality()) == len(batches)
        assert sum(len(x) for x, _ in batches) == len(raw)
        assert max(x.max() for x, _ in batches) == 1.0
        assert min(x.min() for x, _ in batches) == 0.0
        if split is not digits.train:  # Which alone is shuffled.
            np.testing.assert_allclose(np.concatenate([x for x, _ in batches]), raw / 16, rtol=1e-6)
    assert digits.raw.train.dtype == np.uint8
    assert digits.preprocessing.value_range == (0, 1)


def test_labels_belong_to_their_samples(digits: Data) -> None:
    bunch = sklearn.datasets.load_digits()
    label_of = {
        image.astype(np.uint8).tobytes(): label for image, label in zip(bunch.images, bunch.target, strict=True)
    }
    for samples, labels in zip(digits.raw, digits.labels or (), strict=True):
        assert [label_of[sample.tobytes()] for sample in samples] == labels.tolist()


# What TensorFlow 2.21 gives on x86: each epoch's first samples.
FROZEN = [[22, 9, 4, 19, 36, 35, 15, 28], [28, 38, 22, 21, 20, 27, 33, 17], [31, 12, 20, 5, 24, 26, 23, 11]]


def test_training_order_is_one_frozen_permutation_per_epoch_whatever_the_global_seed() -> None:
    for global_seed in (1, 2):
        keras.utils.set_random_seed(global_seed)
        data = load(numbered(50), seed=3, batch_size=7, preprocessing="none")
        for first in FROZEN:
            order = values(data.train)
            assert sorted(order) == data.raw.train.ravel().tolist()
            assert [data.raw.train.ravel().tolist().index(value) for value in order[:8]] == first


def test_a_strategy_distributes_the_training_and_the_order_is_random_across_epochs() -> None:
    data = load(numbered(10_000), preprocessing="none", batch_size=4000)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        inside = load(numbered(10_000), preprocessing="none", batch_size=4000)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    found = [values(data.train) for _ in range(2)]
    for each in (data.train_from(0), inside.train):
        distributed = strategy.experimental_distribute_dataset(each)
        for epoch in range(2):
            assert np.concatenate([x.numpy() for x, _ in distributed]).ravel().tolist() == found[epoch]
    for first, second in (found, (found[0][1:], found[0][:-1])):  # Fewer rounds of the cipher fail this.
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_the_same_seed_gives_the_same_splits_and_another_seed_others() -> None:
    first, again, other = (load(numbered(100), seed=seed) for seed in (5, 5, 6))
    for split, same in zip(first.raw, again.raw, strict=True):
        np.testing.assert_array_equal(split, same)
    assert first.raw.test.tolist() != other.raw.test.tolist()


@pytest.mark.parametrize("own", [{}, {"test": np.array([[100.0], [101.0]], "float32")}])
def test_no_sample_is_in_two_splits_even_where_samples_repeat(own: dict[str, np.ndarray]) -> None:
    samples = np.random.RandomState(0).randint(0, 30, (500, 1)).astype("float32")
    data = load({"train": samples, **own} if own else samples, preprocessing="none")
    train, validation, test = (set(split.ravel().tolist()) for split in data.raw)
    assert not train & validation | train & test | validation & test
    assert sum(map(len, data.raw)) == 500 + len(own.get("test", ()))


def test_keras_fits_and_shows_the_number_of_batches(capsys: pytest.CaptureFixture[str]) -> None:
    data = load(numbered(100), batch_size=32, preprocessing="standard")
    model = keras.Sequential([keras.Input(data.shape), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    history = model.fit(data.train, validation_data=data.validation, epochs=2, verbose=1, shuffle=False)
    assert len(history.history["val_loss"]) == 2
    assert "3/3" in capsys.readouterr().out


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"],
)
def test_every_numeric_dtype_stays_as_it_is_in_memory_and_read_only(dtype: str) -> None:
    samples = np.random.RandomState(0).randint(0, 2, (40, 6)).astype(dtype)
    data = load(samples, preprocessing="none")
    assert data.raw.train.dtype == dtype
    x, _ = next(iter(data.test))
    np.testing.assert_array_equal(x.numpy(), data.raw.test.astype("float32"))
    with pytest.raises(ValueError, match="read-only"):
        data.raw.train[0] = 1


def test_own_splits_are_kept_and_validation_is_carved_from_training() -> None:
    data = load({"train": numbered(90), "test": numbered(110)[100:]}, preprocessing="none", splits=(0.6, 0.3, 0.1))
    assert [len(split) for split in data.raw] == [60, 30, 10]
    assert data.raw.test.ravel().tolist() == list(range(100, 110))
    parts = {"train": numbered(50), "validation": numbered(60)[50:], "test": numbered(70)[60:]}
    data = load(parts, preprocessing="none")
    assert [split.ravel().tolist() for split in data.raw] == [part.ravel().tolist() for part in parts.values()]


def test_training_samples_that_are_also_in_the_own_test_split_are_left_out_with_their_labels(tmp_path: Any) -> None:
    path = tmp_path / "own.npz"
    train, test = numbered(50), numbered(55)[45:]
    np.savez(path, x_train=train, y_train=train[:, 0], x_test=test, y_test=test[:, 0])
    with pytest.warns(UserWarning, match="left 5 samples of 'own' out of its training and validation splits"):
        data = load(path, preprocessing="none")
    assert not {*data.raw.train.ravel(), *data.raw.validation.ravel()} & set(data.raw.test.ravel())
    assert [sum(map(len, data.raw)), len(data.raw.test)] == [55, 10]
    for samples, labels in zip(data.raw, data.labels or (), strict=True):
        assert samples.ravel().tolist() == labels.tolist()


def test_preprocessing_is_fitted_on_the_training_split_only() -> None:
    data = load(numbered(100), preprocessing="standard")
    x = np.array(values(data.train))
    assert abs(x.mean()) < 1e-5
    assert abs(x.std() - 1) < 1e-5
    expected = (data.raw.test - data.raw.train.mean()) / data.raw.train.std()
    np.testing.assert_allclose(values(data.test), expected.ravel(), rtol=1e-4)


def test_a_declared_value_range_decides_the_scale() -> None:
    data = load(numbered(101), preprocessing="unit", value_range=(0, 200))
    assert data.value_range == (0.0, 200.0)
    assert max(values(data.train) + values(data.validation) + values(data.test)) == 0.5


def test_uint8_images_get_a_channel_axis_and_all_their_range() -> None:
    data = load(np.random.RandomState(0).randint(0, 9, (20, 5, 7)).astype("uint8"))
    assert (data.kind, data.shape, data.value_range) == ("image", (5, 7, 1), (0, 255))


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.ones((50, 3)), "received 1.0 as every value of all 50 samples"),
        (np.zeros((0, 3)), r"expected the array to hold at least one value; received shape \(0, 3\)"),
        (np.zeros((9, 0)), r"received shape \(9, 0\)"),
        (np.zeros((1, 3)), "expected at least 3 different samples, one for each split; received 1 different among 1"),
        (np.eye(2), "received 2 different among 2"),
        (np.tile(np.eye(2), (50, 1)), "received 2 different among 100"),
        (np.arange(5.0), r"expected the array to have a sample axis and at least one more; received shape \(5,\)"),
        (np.array([["a"], ["b"]]), "expected the array to hold numbers"),
        (np.array([[1j], [2]]), "received dtype complex128"),
        (np.array([[None], [2]]), r"hold numbers .*; received Python objects\.$"),
        (np.array([[2**63], [1]], "uint64"), r"at most 2\*\*63 - 1; received 9223372036854775808\. .* to float64\.$"),
        (np.ma.masked_equal(np.eye(5), 1), "expected the array without masked values"),
        (None, r'^source: expected a name such as "digits" .*; received None\.$'),
        ("", r"^source: expected a name such as .* or a data frame; received ''\.$"),
        (" ", "^source: expected a name such as"),
        (
            tf.data.Dataset.range(3),
            r"^source: expected the pipeline to say what a batch is; received elements of shape \(\) that",
        ),
        (object(), "^source: expected a name such as .*; received object for the array"),
        (7, "^source: expected a name such as .*; received int for the array"),
        ([[1, 2], [3]], "expected the array to be an array of samples of one shape"),
        ([np.zeros((2, 2)), np.zeros((2, 3))], "expected names for several arrays; received a list of 2"),
    ],
)
def test_what_can_not_be_trained_on_is_refused(samples: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(samples)


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_values_that_are_not_finite_are_located_and_counted(value: float, shown: str) -> None:
    table = np.random.RandomState(0).rand(9000, 4)
    table[4500, 2], table[7000:7100, 1] = value, np.inf
    counts = r"101 of 36,000 values \(0\.281 %\), in 101 of 9,000 rows: column 1 1\.11 %"
    with pytest.raises(ValueError, match=f"received {shown} in column 2, row 4500 .* {counts}"):
        load(table)
    sequences = np.random.RandomState(0).rand(20, 4, 3).astype("float16")
    sequences[7, 1, 2], sequences[8, 2] = value, np.inf
    counts = r"Missing or infinite are 4 of 240 values \(1\.67 %\), in 2 of 20 samples\."
    with pytest.raises(ValueError, match=rf"received {shown} in sample 7 at \(1, 2\) .*{counts}"):
        load(sequences)


def test_the_greatest_integer_that_can_be_served_is_taken() -> None:
    samples = numbered(20, "uint64")
    samples[3] = 2**63 - 1
    assert load(samples).raw.train.dtype == np.uint64


def test_loading_warns_of_nothing_and_prints_nothing(capfd: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("wine", data_dir=tmp_path)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_a_stream_feeds_all_samples_of_all_parts_in_stored_order_and_model_space(digits: Data) -> None:
    source = datasets.open_source("digits")
    batches = list(datasets.stream(source, digits.preprocessing, batch_size=500))
    assert [len(x) for x, _ in batches] == [500, 500, 500, 297]
    images = sklearn.datasets.load_digits().images
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches])[..., 0], (images / 16).astype("float32"))
    with pytest.raises(ValueError, match=r"^source: expected samples of shape \(8, 8, 1\); received 'wine'"):
        datasets.stream(datasets.open_source("wine"), digits.preprocessing)
    source = datasets.open_source({"train": numbered(5), "test": numbered(3) + 100})
    preprocessing = load(numbered(20), preprocessing="none").preprocessing
    assert values(datasets.stream(source, preprocessing, batch_size=2)) == [0, 1, 2, 3, 4, 100, 101, 102]


def test_a_stream_is_refused_where_its_samples_are_not_raw() -> None:
    integers = np.random.RandomState(0).randint(0, 99, (30, 3)).astype("uint8")
    preprocessing = load(integers).preprocessing

    def stream(samples: np.ndarray) -> np.ndarray:
        batches = datasets.stream(datasets.open_source(samples), preprocessing, batch_size=10)
        return np.concatenate([x for x, _ in batches.as_numpy_iterator()])

    for dtype in ("int64", "float64", "float32"):  # A .csv file of integers is float64.
        np.testing.assert_array_equal(stream(integers.astype(dtype)), stream(integers))
    message = "expected values that uint8 can hold; received float32"
    with pytest.raises(ValueError, match=f"^source: {message}"):
        datasets.stream(datasets.open_source(integers.astype("float32") / 255), preprocessing)
    late = integers.astype("float32")
    late[25, 1] = 0.5
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"ValueError: source: {message} with a value of 0.5"):
        stream(late)


def test_nothing_of_the_random_numbers_of_python_and_numpy_is_used(tmp_path):
    code = (
        "import random, numpy as np\n"
        "random.seed(7), np.random.seed(7)\n"
        "import tfae\n"
        "tfae.datasets.load('wine')\n"
        "print(random.random(), np.random.rand())"
    )
    printed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    expected = random.Random(7).random(), np.random.RandomState(7).rand()
    assert tuple(map(float, printed.stdout.split())) == expected


def test_arrays_are_taken_wherever_data_is(tmp_path):
    x = np.random.default_rng(0).normal(size=(100, 4)).astype("float32")
    assert tfae.advice.advise(x) == tfae.advice.advise(datasets.load(x))
    for call in (tfae.advice.advise, lambda data: tfae.comparison.compare(data, ["mse"], run_dir=tmp_path / "c")):
        with pytest.raises(ValueError, match=r"^data: expected a name such as .*received None"):
            call(None)
    build = functools.partial(tfae.models.dense, (4,), latent_dim=2, widths=(4,))
    found = tfae.comparison.compare(x, ["mse"], run_dir=tmp_path / "c", seeds=1, epochs=1, build=build, verbose=False)
    assert found.plan["data"]["digest"] == datasets.load(x).digest
