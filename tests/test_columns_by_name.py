"""Data frames and records are scored by the names of their columns, wherever a model is asked."""

import keras
import numpy as np
import pyarrow as pa
import pytest

from tfae import datasets, export, models
from tfae.columns_by_name import take_columns
from tfae.losses import SquaredError
from tfae.serving import LocalServer

NAMES = ["height", "weight", "age"]
ROWS = np.random.default_rng(0).normal([1.7, 70, 40], [0.1, 10, 20], (50, 3)).astype("float32")
REORDERED = {name: ROWS[:, NAMES.index(name)] for name in ("age", "height", "weight")}
LABELLED = {"label": np.arange(50), **REORDERED}


class Frame(dict):
    """As much of a pandas frame as is asked for."""

    @property
    def columns(self):
        return list(self)


class Row:
    """A row of a pandas frame: its index are the names of the columns."""

    index = ("age", "height", "weight")


class Lazy(Frame):
    """As much of a lazy frame."""

    def __getitem__(self, name):
        raise TypeError("'LazyFrame' object is not subscriptable")


def structured():
    array = np.empty(50, [(name, "f4") for name in LABELLED])
    for name, column in LABELLED.items():
        array[name] = column
    return array


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    header = ",".join(NAMES)
    np.savetxt(folder / "rows.csv", ROWS, fmt="%.9g", delimiter=",", header=header, comments="")
    data = datasets.load(folder / "rows.csv")
    keras.utils.set_random_seed(0)
    model = models.dense(data.shape, latent_dim=2)
    model.compile(loss=SquaredError())
    return export.save(model, folder / "model", data=data)


NAMED = {
    "a frame": Frame(LABELLED),
    "a dict of columns": LABELLED,
    "an Arrow table": pa.table(LABELLED),
    "records": [{name: column[index] for name, column in LABELLED.items()} for index in range(50)],
    "a structured array": structured(),
}


@pytest.mark.parametrize("given", NAMED.values(), ids=NAMED)
def test_columns_in_any_order_score_like_the_array(path, given):
    exported = export.load(path)
    np.testing.assert_allclose(exported.score(given), exported.score(ROWS), rtol=1e-6)
    np.testing.assert_allclose(
        exported.explain(given)["feature_score"], exported.explain(ROWS)["feature_score"], rtol=1e-5
    )


def test_the_client_takes_them_by_the_names_that_the_server_tells(path):
    expected = export.load(path).score(ROWS)
    with LocalServer(path.parent) as server, server.client() as client:
        for given in NAMED.values():
            np.testing.assert_allclose(client.score(given), expected, rtol=1e-6)
        np.testing.assert_allclose(client.call("score", inputs=LABELLED)["instance_score"], expected, rtol=1e-6)
        np.testing.assert_allclose(client.call("score", **REORDERED)["instance_score"], expected, rtol=1e-6)
        with pytest.raises(
            ValueError, match=r"^inputs: expected the columns .* by name, .*ndarray, which has no names"
        ):
            client.score(ROWS)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (Frame(height=[1.0], weigth=[2.0], age=[3.0]), r"received no 'weight' \(is it 'weigth'\?\)\.$"),
        (
            [{"height": 1, "weight": 2}],
            "expected a value of 'age' in every record; received record 0 with 'height', 'w",
        ),
        (
            pa.Table.from_arrays([pa.array([1.0])] * 4, names=[*NAMES, "age"]),
            r"the model's 3 columns once; received 'age' 2 times\.",
        ),
        ({"height": [1, 2], "weight": [1], "age": [1]}, r"of one length; received shapes \(1,\), \(2,\)\.$"),
        ({"height": 1.0, "weight": 2.0, "age": 3.0}, r"Give a single record in a list: \[record\]\.$"),
        (Frame(Height=[1.0], weight=[1.0], x=[3.0]), r"received no 'height' \(is it 'Height'\?\), no 'age'\.$"),
        (Frame(height=["x"], weight=[2.0], age=[3.0]), r"^height: expected numbers; received .* as 'x'\.$"),
        ([{"height": 1, "weight": None, "age": 1}], "weight: expected finite numbers; received NaN or infinity"),
        (
            Frame(height=np.array(["2020-01-01"], "datetime64[s]"), weight=[2.0], age=[3.0]),
            r"^height: expected numbers; received datetime64",
        ),
        (
            Frame(height=np.ma.array([1.0], mask=[True]), weight=[2.0], age=[3.0]),
            "height: expected values without a mask",
        ),
        (Row(), r"received one row, as a series\. Give frame\.iloc\[\[0\]\]"),
        (
            Lazy(height=[1.0], weight=[2.0], age=[3.0]),
            r"received Lazy, which computes them later\. Give frame\.collect",
        ),
    ],
)
def test_what_does_not_have_the_columns_is_refused(path, given, match):
    with pytest.raises(ValueError, match=match):
        export.load(path).score(given)


def test_an_array_is_taken_in_the_order_of_the_training_and_refused_in_another_width(path):
    with pytest.raises(ValueError, match=r"^inputs: expected 3 columns; received an array of shape \(50, 2\)\.$"):
        export.load(path).score(ROWS[:, :2])
    np.testing.assert_allclose(export.load(path).reconstruct(ROWS).shape, (50, 3))


def test_names_that_are_no_text_are_taken_as_files_and_arrow_write_them():
    assert take_columns(Frame({1: [3, 4], 0: [1, 2]}), ["0", "1"]) == {"0": [1, 2], "1": [3, 4]}
    assert take_columns(Frame({("x", "b"): [2]}), ["('x', 'b')"]) == {"('x', 'b')": [2]}


def test_a_frame_without_rows_gives_scores_of_none(path):
    assert export.load(path).score(pa.table({name: [] for name in NAMES})).shape == (0,)


def test_a_single_column_has_no_names():
    for column in (pa.chunked_array([[1.0], [2.0]]), ROWS[:, 0]):
        with pytest.raises(ValueError, match="which has no names"):
            take_columns(column, NAMES)
