"""The arguments of load(): refused where they do not fit, and written down so that they give the same again."""

import json
from typing import Any

import numpy as np
import pytest

from tests.samples import numbered
from tfae.datasets import load


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
    assert data.arguments is not None
    assert named.arguments is not None
    assert data.arguments["source"] == str(tmp_path / "table.npy")
    assert data.arguments["columns"] == ["column_2", "column_0"]
    assert (named.arguments["source"], named.arguments["data_dir"]) == ("wine", str(tmp_path / "prepared"))
    for first in (data, named):
        assert first.arguments is not None
        assert load(**json.loads(json.dumps(first.arguments))).digest == first.digest  # type: ignore[call-arg]


def test_the_digest_changes_with_every_value_the_dtype_and_the_splits() -> None:
    rows = numbered(100)
    changed = rows.copy()
    changed[50] += 0.5
    others = [load(changed), load(rows.astype("float64")), load(rows, seed=1), load(rows, splits=(0.7, 0.2, 0.1))]
    digests = [load(rows).digest, *(data.digest for data in others)]
    assert len(set(digests)) == 5
    assert load(rows, preprocessing="none").describe()["digest"] == digests[0]
    assert [len(digest) for digest in digests] == [32] * 5
