"""Time series: windows of the rows of a table, splits in time, and a score for every step."""

import csv
import datetime
import re

import keras
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.commands import begin, run
from tfae import datasets, export, losses, models, training

START = datetime.datetime(2026, 1, 1)


def make_table(num=200, *, step=300, group="a", seed=0):
    """Two channels, a time and a group."""
    x = np.random.default_rng(seed).normal(size=(num, 2)).cumsum(0).round(3)
    when = [str(START + datetime.timedelta(seconds=step * i)) for i in range(num)]
    return pa.table({"when": when, "machine": [group] * num, "load": x[:, 0], "heat": x[:, 1]})


def matrix(table):
    return np.stack([table["load"].to_numpy(), table["heat"].to_numpy()], axis=1)


def write(path, table):
    (pa.csv.write_csv if path.suffix == ".csv" else pa.parquet.write_table)(table, path)
    return path


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_samples_are_windows_and_splits_follow_each_other_in_time(tmp_path, suffix, in_memory):
    path = write(tmp_path / f"series{suffix}", make_table().drop(["machine"]))
    data = datasets.load(path, window=6, time="when", in_memory=in_memory, batch_size=16)
    rows = matrix(make_table())
    assert (data.kind, data.shape, data.feature_names, data.window) == ("sequence", (6, 2), ("load", "heat"), 6)
    for split, (first, last) in (
        data.raw._replace(train=(0, 160), validation=(160, 180), test=(180, 200))._asdict().items()
    ):
        expected = np.stack([rows[start : start + 6] for start in range(first, last - 5)])
        np.testing.assert_array_equal(np.asarray(getattr(data.raw, split)), expected)
        np.testing.assert_array_equal(getattr(data.origins, split), range(first, last - 5))
    np.testing.assert_allclose(data.preprocessing.offset, rows[:160].mean(0))
    np.testing.assert_allclose(data.preprocessing.scale, rows[:160].std(0))
    np.testing.assert_array_equal(data.bounds.test[:, 0], [rows[180:].min(0), rows[180:].max(0)])
    scaled = data.preprocessing(np.asarray(data.raw.train)).numpy()
    for _ in range(2):  # Each epoch has each window once.
        batches = [x for x, _ in data.train.as_numpy_iterator()]
        assert [len(x) for x in batches[:-1]] == [16] * (len(batches) - 1)
        seen = np.concatenate(batches)
        assert not np.array_equal(seen, scaled)
        np.testing.assert_allclose(np.sort(seen[:, 0, 0]), np.sort(scaled[:, 0, 0]), atol=1e-6)
    (x, _), *_ = data.test.as_numpy_iterator()
    np.testing.assert_allclose(x, data.preprocessing(np.asarray(data.raw.test)), atol=1e-6)
    assert "155 train, 15 validation, 15 test, which follow each other in time" in data.summary()


def test_windows_take_the_memory_of_their_rows_and_are_the_same_streamed(tmp_path):
    path = write(tmp_path / "series.parquet", make_table().drop(["machine", "when"]))
    options = {"window": 50, "stride": 7, "splits": (0.5, 0.25, 0.25)}
    held, stored = (datasets.load(path, **options, in_memory=each) for each in (True, False))
    assert held.raw.train.rows is held.raw.test.rows
    assert held.raw.train.rows.shape == (200, 2)
    assert held.digest == stored.digest
    for each in zip(held.raw, stored.raw, strict=True):
        np.testing.assert_array_equal(*map(np.asarray, each))
    np.testing.assert_array_equal(held.raw.train.starts, [*range(0, 50, 7), 50])  # The last rows are in one too.
    assert datasets.load(**held.arguments).digest == held.digest
    assert datasets.load(path, **{**options, "stride": 8}).digest != held.digest


def test_no_window_goes_across_a_gap_a_group_or_a_row_that_is_not_whole(tmp_path):
    machines = [make_table(120, group=name, seed=seed) for seed, name in enumerate("ab")]
    machines[0] = pa.concat_tables([machines[0][:50], machines[0][53:]])  # 15 minutes are missing.
    table = pa.concat_tables(machines).sort_by("when")
    load = table["load"].to_pylist()
    load[40] = None
    table = table.set_column(2, "load", pa.array(load))
    path = write(tmp_path / "series.csv", table)
    with pytest.warns(
        UserWarning, match=r"1 of 235 steps of 'when' are not the usual 300 s.*: 1 of 1200 s \(first before"
    ):
        data = datasets.load(path, window=5, time="when", group="machine", gaps="drop")
    rows, times = matrix(table), np.array(table["when"].to_pylist(), "datetime64[s]")
    names = np.array(table["machine"].to_pylist())
    found = 0
    for split, samples in data.raw._asdict().items():
        for sample, place in zip(np.asarray(samples), getattr(data.origins, split), strict=True):
            same = np.flatnonzero(names == names[place])
            places = same[np.searchsorted(same, place) :][:5]
            np.testing.assert_array_equal(sample, rows[places])
            assert set(np.diff(times[places]).astype(int)) == {300}
            assert np.isfinite(sample).all()
            found += 1
    last = {split: times[getattr(data.origins, split)].max() for split in data.raw._fields}
    assert last["train"] < last["validation"] < last["test"]
    # Of 120 rows there would be 116 windows; by hand: those across two borders, the gap, and the missing cell.
    assert found == 2 * (116 - 2 * 4) - (3 + 4) - 5


@pytest.mark.parametrize("times", ["text", "numbers", "timestamps", "zone"])
def test_rows_come_in_the_order_of_their_times(tmp_path, times):
    table = make_table(100).drop(["machine"])
    column = {
        "text": table["when"],
        "numbers": pa.array(np.arange(100) / 2),
        "timestamps": pa.array([START + datetime.timedelta(minutes=i) for i in range(100)]),
        "zone": pa.array([f"{text}Z" for text in table["when"].to_pylist()]),
    }[times]
    table = table.set_column(0, "when", column)
    path = write(tmp_path / "series.parquet", table.take(np.arange(100)[::-1]))
    for in_memory in (True, False):
        data = datasets.load(path, window=5, time="when", in_memory=in_memory)
        np.testing.assert_array_equal(np.asarray(data.raw.train)[:, 0], matrix(table)[:76])
        np.testing.assert_array_equal(data.origins.train[:3], [99, 98, 97])


def test_arrays_are_series_too_and_splits_of_their_own_stay():
    rows = np.random.default_rng(0).normal(size=(100, 3))
    data = datasets.load(rows, window=4)
    np.testing.assert_array_equal(np.asarray(data.raw.test), [rows[start : start + 4] for start in range(90, 97)])
    data = datasets.load({"train": rows, "test": rows + 1}, window=4)
    assert [len(samples) for samples in data.raw] == [86, 8, 97]
    np.testing.assert_array_equal(np.asarray(data.raw.test)[0], rows[:4] + 1)


def test_a_window_has_the_greatest_label_of_its_rows(tmp_path):
    table = make_table(100).drop(["machine"]).append_column("fault", pa.array([int(i in (50, 97)) for i in range(100)]))
    path = write(tmp_path / "series.csv", table)
    data = datasets.load(path, window=4, time="when", label="fault")
    np.testing.assert_array_equal(np.flatnonzero(data.labels.train), [47, 48, 49, 50])
    np.testing.assert_array_equal(np.flatnonzero(data.labels.test), [4, 5, 6])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "when"}, "time: expected None without a window"),
        ({"stride": 2}, "stride: expected None without a window"),
        ({"window": 1}, "window: expected an integer of at least 2; received 1"),
        ({"window": 5, "time": "wen"}, "time: expected a column of .*'wen'. Did you mean 'when'"),
        ({"window": 5, "group": "load", "columns": ["load"]}, "at least one column"),
        (
            {"window": 5, "time": "machine", "drop": ["when"]},
            "dates and times such as 2026-01-31.*received 'a' in column 'machine'",
        ),
        ({"window": 5, "drop": ["when"]}, "window: expected columns of numbers; received categories in 'machine'"),
        ({"window": 5, "drop": ["when", "machine"], "gaps": "mask"}, 'gaps: expected None or "drop" beside window'),
        ({"window": 30, "time": "when", "group": "machine"}, "none of 30 rows in validation, where at most 20 follow"),
        ({"window": 5, "time": "when", "group": "machine", "inputs": "x.npy"}, "inputs: expected None beside window"),
    ],
)
@pytest.mark.filterwarnings("ignore:left out when")
def test_what_makes_no_series_is_told(tmp_path, options, message):
    path = write(tmp_path / "series.csv", make_table())
    with pytest.raises(ValueError, match=message):
        datasets.load(path, **options)
    with pytest.raises(ValueError, match="window: expected a table"):
        datasets.load(np.zeros((9, 8, 8), "uint8"), window=3)
    rows = np.full((50, 2), np.nan)
    with pytest.raises(ValueError, match=r"none of 3 rows in train, where at most 0 follow"):
        datasets.load(rows, window=3, gaps="drop")
    with pytest.raises(ValueError, match=r"times that rise; received none in 'load'.*group="):
        datasets.load(pa.table({"load": [1.0] * 50, "heat": np.arange(50.0)}), window=3, time="load")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A folder with ``series.csv``, and the untrained ``model`` of its windows."""
    folder = tmp_path_factory.mktemp("series")
    path = write(folder / "series.csv", make_table(80))
    data = datasets.load(path, window=8, time="when", drop=["machine"])
    keras.utils.set_random_seed(0)
    model = models.convolutional(data.shape, latent_dim=2, filters=(4,))
    training.compile(model, losses.SquaredError(), data, epochs=1)
    export.save(model, folder / "model", data=data)
    return folder


@pytest.mark.parametrize("reduction", ["mean", "min", "max"])
def test_every_step_is_scored_by_all_windows_that_cover_it(exported, tmp_path, reduction):
    # Other columns in another order; two machines, of which one has a cell that can not be read.
    table = pa.concat_tables([make_table(30, group="a", seed=1), make_table(30, group="b", seed=2)]).sort_by("when")
    table = table.select(["heat", "machine", "when", "load"])
    lines = write(tmp_path / "new.csv", table).read_text().splitlines()
    lines[1 + 20] = re.sub(r"^[^,]*", "broken", lines[1 + 20])
    (tmp_path / "new.csv").write_text("\n".join(lines))
    options = ("--group", "machine", "--step-reduction", reduction, "--explain", 1)
    said = run("score", exported / "model", tmp_path / "new.csv", "-o", tmp_path / "scores.csv", *options).stderr
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["when"], row["machine"]) for row in rows] == list(
        zip(table["when"].to_pylist(), table["machine"].to_pylist(), strict=True)
    )
    x, model = matrix(table), export.load(exported / "model")
    expected, shares = {}, {}
    for first in (0, 1):
        places = np.arange(first, 60, 2)
        for start in range(23):
            covered = places[start : start + 8]
            if 20 not in covered:
                of_steps = model.explain(x[None, covered])["feature_score"][0]
                for place, of_step in zip(covered.tolist(), of_steps, strict=True):
                    expected.setdefault(place, []).append(of_step.sum())
                    shares.setdefault(place, []).append(of_step)
    for place, row in enumerate(rows):
        if place == 20:
            assert row["reason"] == "'broken' in column 'heat', where a number is expected"
        if place not in expected:
            assert row["instance_score"] == row["feature_1"] == ""
            continue
        merge = {"mean": np.mean, "min": np.min, "max": np.max}[reduction]
        np.testing.assert_allclose(float(row["instance_score"]), merge(expected[place]), rtol=1e-4)
        share = np.mean(shares[place], axis=0)
        assert row["feature_1"] == ("load", "heat")[share.argmax()]
        np.testing.assert_allclose(float(row["feature_score_1"]), share.max(), rtol=1e-4)
    assert 60 - len(expected) == 1  # The rows before the broken one are enough for windows, and so are those behind it.
    assert "1 of them have no score; the first is sample 20 of all: 'broken'" in said


def test_a_series_that_is_shorter_than_a_window_has_no_score(exported, tmp_path):
    for num in (1, 5):
        write(tmp_path / "short.csv", make_table(num))
        said = run("score", exported / "model", tmp_path / "short.csv", "-o", tmp_path / "scores.csv", code=2).stderr
        assert "no window of 8 rows, which follow each other without a break, covers it" in said


def test_a_run_of_a_series_is_convolutional_by_default_and_evaluates_other_series(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = (exported / "series.csv", "--window", 8, "--time", "when", "--drop", "machine", "--epochs", 1)
    run("train", *arguments, "--run-dir", "run", "--ignore", "constant", "--export-dir", "model")
    assert keras.models.load_model("run/model.keras").name == "convolutional_autoencoder"
    assert "on 73 samples" in run("evaluate", "run", exported / "series.csv").stdout
    assert "dense_autoencoder" in begin(*arguments, "--model", "dense", "--run-dir", "dense").output
