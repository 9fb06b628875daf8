"""Scores in files: a row for every sample, with what is kept, what explains it, and why there is none."""

import csv
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.commands import run
from tfae import datasets, export, losses, models, scoring, training
from tfae.cli.score import _tell
from tfae.scoring import ScoreFile
from tfae.scoring import score_file as of_files

NAMES = ("id", "when", "amount", "country", "age")


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def make_table(num=60, seed=0):
    rng = np.random.default_rng(seed)
    country = np.tile(["DE", "FR", "US"], num)[:num]
    columns = [[f"{i:03}" for i in range(num)], [f"2026-01-{1 + i % 28:02}" for i in range(num)]]
    return pa.table([*columns, rng.gamma(2, 50, num), country, rng.integers(18, 80, num).astype(float)], NAMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With ``table.csv``, ``table.parquet`` and an export ``model``, which knows three of the columns."""
    folder = tmp_path_factory.mktemp("scoring")
    pa.csv.write_csv(make_table(), folder / "table.csv")
    pa.parquet.write_table(make_table(), folder / "table.parquet")
    data = datasets.load(folder / "table.csv", drop=["id", "when"])
    keras.utils.set_random_seed(0)
    model = models.dense(data.shape, latent_dim=2, widths=(4,))
    training.compile(model, losses.for_table(losses.SquaredError(), data.preprocessing), data, epochs=1)
    export.save(model, folder / "model", data=data)
    return folder


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_are_kept_and_those_that_contribute_most_are_named(folder, tmp_path, kind):
    output = tmp_path / f"scores.{kind}"
    run("score", folder / "model", folder / f"table.{kind}", "-o", output, "--keep", "id,when", "--explain", 2)
    table = (pa.csv if kind == "csv" else pa.parquet).__dict__[f"read_{'csv' if kind == 'csv' else 'table'}"](output)
    of_each = ("feature_{}", "feature_score_{}", "feature_value_{}", "feature_expected_{}")
    explained = [name.format(place) for place in (1, 2) for name in of_each]
    assert table.column_names == ["part", "index", "id", "when", "instance_score", *explained, "reason"]
    given = make_table()
    if kind == "parquet":
        assert table["id"].to_pylist() == given["id"].to_pylist()
    else:
        assert [row["id"] for row in rows_of(output)] == given["id"].to_pylist()
    assert list(map(str, table["when"].to_pylist())) == given["when"].to_pylist()
    expected = export.load(folder / "model").explain(given)
    np.testing.assert_allclose(table["instance_score"], expected["instance_score"], rtol=1e-5)
    order = np.argsort(-expected["feature_score"], axis=1)
    for place in range(2):
        assert table[f"feature_{place + 1}"].to_pylist() == [NAMES[2 + index] for index in order[:, place]]
        assert None not in table[f"feature_value_{place + 1}"].to_pylist()
        np.testing.assert_allclose(
            table[f"feature_score_{place + 1}"], np.sort(expected["feature_score"])[:, -1 - place], rtol=1e-5
        )
    assert set(table["reason"].to_pylist()) <= {None, ""}


def test_a_row_that_can_not_be_scored_has_a_reason_and_the_others_their_score(folder, tmp_path):
    expected = export.load(folder / "model").score(make_table())
    lines = (folder / "table.csv").read_text().splitlines()
    reasons = {
        3: ('"003","x",n/a,"DE",30', "a missing value in column 'amount'"),
        4: ('"004","x",12 EUR,"DE",30', "'12 EUR' in column 'amount', where a number is expected"),
        5: ('"005","x",12,"DE"', "4 cells in place of 5"),
        6: ('"006","x",12,"DE",30,5', "6 cells in place of 5"),
        7: ('"007","x",inf,"DE",30', "inf in column 'amount'"),
        8: ('"008","x",1e300,"DE",30', "1e+300 in column 'amount'"),
        9: ('"009","x",5,"",30', "a missing value in column 'country'"),
        59: ("?", "1 cells in place of 5"),
    }
    for row, (line, _) in reasons.items():
        lines[1 + row] = line
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    said = run("score", folder / "model", tmp_path / "bad.csv", "-o", tmp_path / "scores.csv", "--keep", "id").stderr
    assert "60 samples" in said
    assert "8 of them have no score; the first is sample 3 of all: a missing value in column 'amount'" in said
    rows = rows_of(tmp_path / "scores.csv")
    assert [int(row["index"]) for row in rows] == list(range(60))
    for index, row in enumerate(rows):
        if index in reasons:
            assert row["instance_score"] == ""
            assert reasons[index][1] in row["reason"], row
            assert row["id"] in (f"{index:03}", "")
        else:
            assert (row["id"], row["reason"]) == (f"{index:03}", "")
            np.testing.assert_allclose(float(row["instance_score"]), expected[index], rtol=1e-5)


def test_numbers_that_are_kept_stay_numbers_where_a_later_one_is_a_text(folder, tmp_path):
    rows = [f"{index}.5,DE,{index}" for index in range(100_000)]
    rows[90_000] = "oops,DE,3"
    (tmp_path / "long.csv").write_text("amount,country,age\n" + "\n".join(rows))
    run("score", folder / "model", tmp_path / "long.csv", "-o", tmp_path / "scores.parquet", "--keep", "amount,country")
    table = pa.parquet.read_table(tmp_path / "scores.parquet")
    assert table["amount"].type == pa.float64()
    assert table["amount"].to_pylist() == [None if i == 90_000 else i + 0.5 for i in range(100_000)]
    (reason,) = set(table["reason"].to_pylist()) - {None}
    assert reason == "'oops' in column 'amount', where a number is expected"
    assert [i for i, score in enumerate(table["instance_score"].to_pylist()) if score is None] == [90_000]


def test_a_file_none_of_whose_rows_can_be_scored_is_an_error(folder, tmp_path):
    (tmp_path / "bad.csv").write_text("amount,country,age\n?,DE,3\n?,FR,4\n")
    said = run("score", folder / "model", tmp_path / "bad.csv", "-o", tmp_path / "scores.csv", code=2).stderr
    assert "expected samples that the model can score; received none. The first is sample 0 of all: '?' in" in said
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--keep", "idd"), "--keep: expected a column of .*'idd'. Did you mean 'id'"),
        (("--explain", 4), "--explain: expected at most 3, the number of features; received 4"),
        (("--explain", -1), "--explain"),
    ],
)
def test_what_can_not_be_kept_or_explained_is_named(folder, tmp_path, options, message):
    import re

    said = run("score", folder / "model", folder / "table.csv", "-o", tmp_path / "scores.csv", *options, code=2).stderr
    assert re.search(message, " ".join(said.split()))


def test_what_is_kept_must_not_be_called_as_what_is_written(folder, tmp_path):
    table = make_table().append_column("index", pa.array(range(60)))
    pa.parquet.write_table(table, tmp_path / "table.parquet")
    arguments = ("score", folder / "model", tmp_path / "table.parquet", "-o", tmp_path / "scores.csv")
    assert (
        "otherwise than those that are written; received 'index'" in run(*arguments, "--keep", "index", code=2).stderr
    )
    said = run("score", folder / "model", "digits", "-o", tmp_path / "scores.csv", "--keep", "id", code=2).stderr
    assert "expected samples of shape (3,)" in said


def test_an_interrupted_command_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "CHUNK", 8)
    monkeypatch.setattr(of_files, "SECONDS", 0)
    arguments = ("score", folder / "model", folder / "table.csv", "-o", tmp_path / "scores.csv", "--keep", "id")
    run(*arguments)
    whole = (tmp_path / "scores.csv").read_text()
    (tmp_path / "scores.csv").unlink()
    asked = []
    score = export.SavedAutoencoder.score

    def fail(model, samples):
        asked.append(len(samples))
        if len(asked) == 6:
            raise KeyboardInterrupt
        return score(model, samples)

    monkeypatch.setattr(export.SavedAutoencoder, "score", fail)
    run(*arguments, code=130)
    assert [path.name for path in tmp_path.iterdir()] == [".scores.csv.partial"]
    assert "goes on after 40 samples" in run(*arguments).stderr
    assert sum(asked) - 8 == 40 + 20
    assert (tmp_path / "scores.csv").read_text() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_counts_of_a_command_that_went_on_are_told_as_those_of_the_rest(capsys):
    model = SimpleNamespace(description={"calibration": {"false_alarm_rate": 0.05}})
    summary = scoring.Summary(1000, 2, "sample 600 of all: why", 7)
    _tell(summary, "a.csv", model)
    whole = capsys.readouterr().err
    assert "\n7 alarms, at a false-alarm rate of 0.05\n2 of them have no score" in whole
    _tell(summary, "a.csv", model, 600)
    rest = capsys.readouterr().err
    assert "\n7 alarms in the 400 that were left, at" in rest
    assert "\n2 of the 400 that were left have no score; the first is sample 600" in rest


def test_what_another_command_left_is_not_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(of_files, "SECONDS", 0)

    def write_and_fail(about, expected):
        with ScoreFile(tmp_path / "scores.csv", about=about) as file:
            assert file.num_rows == expected
            file.write(pa.table({"index": [0, 1]}))
            raise RuntimeError("interrupted")

    for about, expected in (({"seed": 0}, 0), ({"seed": 0}, 2), ({"seed": 1}, 0)):
        with pytest.raises(RuntimeError, match="interrupted"):
            write_and_fail(about, expected)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_labels_may_be_missing_in_the_first_batch(tmp_path, suffix):
    path = tmp_path / f"scores.{suffix}"
    with ScoreFile(path) as file:
        file.write(pa.table({"index": [0, 1], "label": [None, None]}))
        file.write(pa.table({"index": [2], "label": [7]}))
    if suffix == "csv":
        assert path.read_text().splitlines() == ['"index","label"', "0,", "1,", '2,"7"']
    else:
        assert pa.parquet.read_table(path)["label"].to_pylist() == [None, None, "7"]


@pytest.mark.parametrize("cell", [[1.0, 2.0], {"a": 1}, b"\xff"])
def test_what_no_csv_can_hold_is_refused_before_all_is_scored(tmp_path, cell):
    table = pa.table({"index": [0], "kept": [cell]})
    with ScoreFile(tmp_path / "scores.parquet") as file:
        file.write(table)
    assert pa.parquet.read_table(tmp_path / "scores.parquet")["kept"].to_pylist() == [cell]
    with ScoreFile(tmp_path / "scores.csv") as file:
        with pytest.raises(ValueError, match=r"received 'kept', of .*\.parquet"):
            file.write(table)
        file.write(table.select(["index"]))


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ends with \.csv or \.parquet; received .*scores\.txt"):
        ScoreFile(tmp_path / "scores.txt")


def test_a_broken_picture_has_a_reason_and_the_others_their_score(tmp_path):
    from PIL import Image

    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype="uint8")
    data = datasets.load(images)
    model = models.dense(data.shape, latent_dim=2, widths=(4,))
    training.compile(model, losses.SquaredError(), data, epochs=1, ignore=("range",))
    export.save(model, tmp_path / "model", data=data)
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "0.png").write_bytes(b"no picture")
    whole = (tmp_path / "photos" / "3.png").read_bytes()
    (tmp_path / "photos" / "3.png").write_bytes(whole[: len(whole) // 2])
    run("score", tmp_path / "model", tmp_path / "photos", "-o", tmp_path / "scores.csv")
    rows = rows_of(tmp_path / "scores.csv")
    expected = export.load(tmp_path / "model").score(images)
    for index, row in enumerate(rows):
        assert row["file"] == f"{index}.png"
        if index in (0, 3):
            assert (row["instance_score"], f"{index}.png" in row["reason"]) == ("", True)
        else:
            np.testing.assert_allclose(float(row["instance_score"]), expected[index], rtol=1e-5)
    with pytest.raises(ValueError, match=r"0\.png"):
        datasets.load(tmp_path / "photos")


def test_pictures_of_tables_leave_categories_out(folder, tmp_path):
    said = run("reconstruct", folder / "model", folder / "table.csv", "-o", tmp_path / "picture.png").stderr
    assert "left out, since they hold categories: country" in said


def test_a_runner_without_the_extra_is_refused_with_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "tfae.scoring.beam", raising=False)
    given = ("score", folder / "model", folder / "table.csv", "-o", tmp_path / "part.parquet")
    said = " ".join(run(*given, "--runner", "DirectRunner", code=2).stderr.split())
    assert "Error: --runner: expected Apache Beam, which is not installed (apache_beam is missing). Install it" in said
    assert "pip install 'tfae[beam]'" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", [("more.csv",), ("--", "--parallelism=2")])
def test_what_follows_the_source_is_refused_without_a_runner(folder, tmp_path, more):
    said = " ".join(
        run("score", folder / "model", "-o", tmp_path / "a.csv", folder / "table.csv", *more, code=2).stderr.split()
    )
    assert f"unexpected extra arguments ({more[-1]})" in said
    assert not list(tmp_path.iterdir())
