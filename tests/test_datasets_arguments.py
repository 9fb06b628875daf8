"""The arguments of load(): refused where they do not fit, and noted as they give the same again; columns of tables."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets

from tests.samples import numbered
from tfae.datasets import load, open_source

TABLE = np.random.RandomState(0).rand(40, 3).astype("float32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, r"^seed: expected an integer in \[0, 2\*\*32\); received -1\.$"),
        ({"seed": 1.5}, r"^seed: .* received 1\.5\."),
        ({"batch_size": 0}, r"^batch_size: expected an integer of at least 1; received 0\."),
        ({"splits": (0.8, 0.1, 0.2)}, r"^splits: .* that sum to 1, .* received \(0.8, 0.1, 0.2\)\."),
        ({"splits": (0.9, 0.1, 0.0)}, "three positive fractions"),
        ({"splits": (0.5, 0.5)}, "three positive fractions"),
        ({"splits": 0.8}, r"^splits: expected three positive fractions .* received 0\.8\."),
        ({"splits": ("a", "b", "c")}, r"^splits: .* received \('a', 'b', 'c'\)\."),
        ({"splits": None}, "^splits: .* received None"),
        ({"value_range": (1, 0)}, r"^value_range: expected \(low, high\) with low < high; received \(1, 0\)\."),
        ({"value_range": 5}, r"^value_range: expected \(low, high\) with low < high; received 5\."),
        ({"value_range": ("a", "b")}, r"^value_range: .* received \('a', 'b'\)\."),
        ({"value_range": (0, float("inf"))}, r"^value_range: .* received \(0, inf\)\."),
        (
            {"value_range": (0, 50)},
            r"^value_range: expected a range that holds all values, .* 0.0 to 99.0; received \(0.0, 50.0\)\.",
        ),
        ({"preprocessing": "units"}, "preprocessing: expected one of"),
        ({"preprocessing": ["unit"]}, r"^preprocessing: expected the name of a method; received \['unit'\]\."),
        ({"label": "x"}, r"^label: expected None for an array; received 'x'\."),
        ({"label": 5}, r"^label: expected a name; received 5\."),
        ({"key": "x"}, r"^key: expected None for an array; received 'x'\."),
        ({"feature": "x"}, r"^feature: expected None for an array; received 'x'\."),
        ({"image_size": (8, 8)}, r"^image_size: expected None for an array; received \(8, 8\)\."),
        *(
            (
                {"image_size": size},
                rf"^image_size: expected \(height, width\) in pixels; received {re.escape(repr(size))}",
            )
            for size in (64, (64,), (0, 64), (64, 6.4), "64", (True, 64))
        ),
        ({"color_mode": "rgb"}, r"^color_mode: expected None for an array; received 'rgb'\."),
        ({"color_mode": "RGB"}, r"^color_mode: expected 'gray', 'rgb', 'rgba' or None; received 'RGB'\."),
        ({"data_dir": 5}, r"^data_dir: expected the path of a folder; received 5\."),
        ({"columns": 5}, r"^columns: expected a list of names.* received 5\."),
        ({"columns": []}, r"^columns: expected a list of names.* received \[\]\."),
        ({"columns": [0, 0]}, r"^columns: expected each column once; received 0 more than once\."),
        ({"columns": [0, "0"]}, r"^columns: expected each column once; received 'column_0' more than once\."),
        ({"columns": [1]}, r"^columns: expected indices from 0 to 0, for no column has a name; received 1\."),
        ({"columns": ["height"]}, r"^columns: expected indices .* received 'height'\."),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments: dict[str, Any], message: str) -> None:
    samples = numbered(100)
    samples[0], samples[-1] = 0, 99
    with pytest.raises(ValueError, match=message):
        load(samples, **arguments)


def test_the_description_holds_the_arguments_that_load_the_same_again() -> None:
    digits = load("digits")
    description = json.loads(json.dumps(digits.describe()))
    assert description["num_samples"] == {"train": 1438, "validation": 179, "test": 180}
    again = load(**description["arguments"])  # type: ignore[call-arg]
    np.testing.assert_array_equal(again.raw.test, digits.raw.test)
    assert load(numbered(20)).describe()["arguments"] is None
    # Numbers of NumPy are described as plain ones.
    rows = np.random.default_rng(0).random((50, 2))
    value_range = (np.float32(0), np.float64(1))
    data = load(rows, batch_size=np.int64(8), seed=np.uint8(3), value_range=value_range, preprocessing="unit")  # type: ignore[arg-type]
    json.dumps(data.describe())


def test_the_paths_in_the_arguments_are_found_from_every_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "table.npy", np.random.RandomState(0).rand(40, 3))
    monkeypatch.chdir(tmp_path)
    data = load("table.npy", columns=[2, 0])
    named = load("wine", data_dir="prepared")
    monkeypatch.chdir(tmp_path / "elsewhere")
    expected = {"source": str(tmp_path / "table.npy"), "columns": ["column_2", "column_0"]}
    for first, some in (data, expected), (named, {"source": "wine", "data_dir": str(tmp_path / "prepared")}):
        arguments = json.loads(json.dumps(first.arguments))
        assert arguments.items() >= some.items()
        assert load(**arguments).digest == first.digest  # type: ignore[call-arg]


def test_the_digest_changes_with_every_value_the_dtype_and_the_splits() -> None:
    rows = numbered(100)
    changed = rows.copy()
    changed[50] += 0.5
    others = [load(changed), load(rows.astype("float64")), load(rows, seed=1), load(rows, splits=(0.7, 0.2, 0.1))]
    digests = [load(rows).digest, *(data.digest for data in others)]
    assert len(set(digests)) == 5
    assert load(rows, preprocessing="none").describe()["digest"] == digests[0]
    assert [len(digest) for digest in digests] == [32] * 5


def test_columns_of_an_array_are_taken_by_index() -> None:
    table = np.random.RandomState(0).rand(50, 5)
    for columns in ([3, 1], ["3", "1"], ["column_3", "column_1"], np.array([3, 1])):
        source = open_source(table, columns=columns)  # type: ignore[arg-type]
        assert (source.shape, source.feature_names) == ((2,), ("column_3", "column_1"))
        np.testing.assert_array_equal(source.parts["all"].read()[0], table[:, [3, 1]])
    table[7, 2] = np.nan  # in a column that is not taken
    assert load(table, columns=[3, 1]).feature_names == ("column_3", "column_1")


def test_columns_of_data_that_is_no_table_are_refused() -> None:
    images = np.random.RandomState(0).randint(0, 9, (9, 5, 7)).astype("uint8")
    for columns in ([0], "varying"):
        with pytest.raises(ValueError, match=r"^columns: expected None for samples of shape \(5, 7, 1\)"):
            load(images, columns=columns)


def test_columns_of_a_named_data_set_are_taken_by_name() -> None:
    data = load("wine", columns=["proline", "alcohol"])
    bunch = sklearn.datasets.load_wine()
    assert data.feature_names == ("proline", "alcohol")
    assert set(map(tuple, np.concatenate(data.raw))) == set(map(tuple, bunch.data[:, [12, 0]]))


@pytest.mark.parametrize("columns", ["varying", ["varying"]])
def test_columns_that_vary_in_the_training_split_are_taken(columns: Any) -> None:
    table = np.random.RandomState(0).rand(50, 4)
    table[:, 1] = 0.1
    table[:, 2] = 0
    with pytest.raises(ValueError, match="constant columns 1, 2"):  # By whose spread it would be divided.
        load(table)
    tested = load(table, preprocessing="none").raw.test[0]
    table[(table == tested).all(axis=1), 2] = 5  # A column that is constant, but for the test split.
    data = load(table, columns=columns)
    assert data.feature_names == ("column_0", "column_3")
    again = load(table, columns=list(data.feature_names))
    assert data.digest == again.digest
    kept = load(table[:, [0, 3]], columns=columns)  # nothing to leave out
    assert (kept.feature_names, kept.digest) == (("column_0", "column_1"), data.digest)


def test_columns_that_vary_are_those_of_the_splits_without_the_others() -> None:
    # Without the column that makes them differ, samples repeat each other and are split as groups.
    # Then another column can be constant in the new training split.
    rare = np.zeros((50, 8))
    rare[range(0, 16, 2), range(8)] = 1
    table = np.column_stack([np.repeat(np.arange(25), 2), rare])
    for seed in range(4):
        data = load(table, columns="varying", seed=seed)
        assert data.digest == load(table, columns=data.feature_names, seed=seed).digest
        assert (np.ptp(data.raw.train, axis=0) > 0).all()


def test_columns_can_not_all_be_constant_and_only_load_knows_which_vary() -> None:
    splits = {"train": np.tile([0.0, 1.0], (40, 1)), "validation": np.array([[7.0, 8.0]]), "test": 9 * np.eye(2)}
    with pytest.raises(ValueError, match="received 2 columns that are constant in the 40 training samples"):
        load(splits, columns="varying")
    with pytest.raises(ValueError, match=r'^columns: expected names or indices; received "varying"'):
        open_source(np.eye(5), columns="varying")


def test_columns_of_an_archive_are_taken_from_every_part(tmp_path: Path) -> None:
    constant = np.zeros((40, 1), "float32")
    train, test = np.hstack([TABLE, constant]), np.hstack([TABLE + 1, constant])
    np.savez(tmp_path / "archive.npz", x_train=train, y_train=np.arange(40), x_test=test, y_test=np.arange(40))
    source = open_source(tmp_path / "archive.npz", columns=["2", "0"])
    for name, expected in (("train", TABLE), ("test", TABLE + 1)):
        samples, labels = source.parts[name].read()
        np.testing.assert_array_equal(samples, expected[:, [2, 0]])
        assert np.asarray(labels).tolist() == list(range(40))
    data = load(tmp_path / "archive.npz", columns=["varying"])
    arguments = data.arguments or {}
    assert arguments["columns"] == ["column_0", "column_1", "column_2"]
    assert (load(**arguments).digest, load(**arguments).feature_names) == (data.digest, data.feature_names)  # type: ignore[call-arg]


def test_a_real_set_with_constant_pixels_is_loaded_without_them(real_data: Path) -> None:
    path = real_data / "adbench" / "24_mnist.npz"
    with pytest.raises(ValueError, match=r"constant columns 0, .* and \d+ more in the \d+ training samples"):
        load(path)
    data = load(path, columns="varying")
    assert 0 < data.shape[0] < 100
    assert (np.ptp(data.raw.train, axis=0) > 0).all()


def test_labels_stay_beside_columns_that_vary(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x,y,z\n" + "".join(f"{row},{row},7\n" for row in range(30)))
    data = load(path, label="y", columns="varying")
    arguments = data.arguments or {}
    assert (data.feature_names, arguments["columns"]) == (("x",), ["x"])
    for samples, labels in zip(data.raw, data.labels or (), strict=True):
        assert labels.dtype == np.int64
        assert samples[:, 0].tolist() == labels.tolist()
    assert load(**arguments).digest == data.digest  # type: ignore[call-arg]
