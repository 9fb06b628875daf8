"""Lists, patterns and folders of files, hive partitions and splits: one table, by the names of its columns."""

import gzip
import itertools
import json
import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from tests.commands import run, train
from tfae import export, models, scoring
from tfae.atomic_write import validate_apart
from tfae.datasets import load, open_source
from tfae.datasets.tables import TablePart
from tfae.losses import SquaredError

ROWS = np.arange(24.0).reshape(12, 2) ** 1.5


def write(path, columns):
    """A table as a text or a Parquet file, as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pa.parquet.write_table(pa.table(columns), path)
        return path
    rows = [list(columns), *zip(*(np.asarray(cells).tolist() for cells in columns.values()), strict=True)]
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(source, **options):
    return open_source(source, **options).parts["all"].read()[0]


def columns_of(rows):
    return {"a": rows[:, 0], "b": rows[:, 1]}


@pytest.fixture(params=["csv", "parquet"])
def folder(request, tmp_path):
    """Three files, the second with its columns in another order, beside what is no data."""
    for number, rows in enumerate(np.split(ROWS, [5, 6])):
        columns = columns_of(rows)
        columns = dict(reversed(columns.items())) if number == 1 else columns
        write(tmp_path / "logs" / f"part-{number}.{request.param}", columns)
    for name in ("_SUCCESS", ".part-0.crc", "_temporary/part-9.csv", f"beam-temp-part-1/a.part.{request.param}"):
        (tmp_path / "logs" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "logs" / name).write_text("nothing")
    return tmp_path / "logs"


@pytest.mark.parametrize("given", ["folder", "pattern", "recursive", "list"])
def test_several_files_are_one_table_whose_columns_are_matched_by_name(folder, given, monkeypatch):
    monkeypatch.chdir(folder.parent)
    suffix = next(folder.glob("part-0.*")).suffix
    source = {
        "folder": "logs/",
        "pattern": f"logs/part-?{suffix}",
        "recursive": f"**/*{suffix}",
        "list": [f"logs/part-{number}{suffix}" for number in (2, 0, 1)],
    }[given]
    opened = open_source(source)
    part = opened.parts["all"]
    assert opened.feature_names == ("a", "b")
    np.testing.assert_array_equal(part.read()[0], ROWS)
    assert [len(batch.samples) for batch in part.batches(7)] == [7, 5]
    prefix = "logs/" if given == "recursive" else ""
    assert part.sample_names[4:7] == [f"{prefix}part-{number}{suffix}" for number in (0, 1, 2)]
    data = load(source, batch_size=4)
    arguments = json.loads(json.dumps(data.arguments))
    monkeypatch.chdir("/")
    assert load(**arguments).digest == data.digest
    assert sorted(np.concatenate(data.origins).tolist()) == list(range(12))


@pytest.mark.parametrize("suffix", ["csv", "parquet", "csv.gz"])
def test_hive_partitions_are_columns_as_pyarrow_has_them(tmp_path, suffix):
    for year, country in ((2020, "DE"), (2020, "FR"), (2021, "New%20York")):
        write(
            tmp_path / f"year={year}" / f"country={country}" / f"part-0.{suffix}", {"x": np.arange(4.0) + year % 2020}
        )
    part = open_source(tmp_path).parts["all"]
    assert [(column.name, column.kind) for column in part.columns] == [
        ("x", "number"),
        ("year", "number"),
        ("country", "category"),
    ]
    samples, _ = part.read()
    table = pa.dataset.dataset(tmp_path, format=suffix.split(".")[0], partitioning="hive").to_table()
    np.testing.assert_array_equal(samples[:, 0], table["x"].to_numpy())
    np.testing.assert_array_equal(samples[:, 1], table["year"].to_numpy())
    vocabulary = np.array(part.columns[2].vocabulary)
    assert vocabulary[samples[:, 2].astype(int)].tolist() == table["country"].to_pylist()
    assert open_source(tmp_path / "year=2020").feature_names == ("x", "country")
    # What is above the folder, where it is asked for; alone, too, and as a category.
    np.testing.assert_array_equal(read(tmp_path / "year=2021", columns=["year", "x"])[:, 0], [2021] * 4)
    np.testing.assert_array_equal(read(f"{tmp_path}/*=2020/*/*", columns=["year"]), [[2020]] * 8)
    _, labels = open_source(tmp_path, label="country").parts["all"].read()
    assert labels.tolist() == table["country"].to_pylist()


def test_a_key_that_is_a_category_is_as_it_is_written(tmp_path):
    write(tmp_path / "month=01" / "0.csv", {"x": [1, 2]})
    part = open_source(tmp_path, category=["month"]).parts["all"]
    part.read()
    assert part.columns[1].vocabulary == ("01",)
    assert read(tmp_path).tolist() == [[1, 1], [2, 1]]
    write(tmp_path / "month=__HIVE_DEFAULT_PARTITION__" / "0.csv", {"x": [3]})
    np.testing.assert_array_equal(read(tmp_path, gaps="mask"), [[1, 1], [2, 1], [3, np.nan]])


@pytest.mark.parametrize(
    ("layout", "validation"),
    [
        ("{}.csv", "val"),
        ("{}.csv.gz", "valid"),
        ("{}/part-0.csv", "validation"),
        ("{}/year=2020/part-0.parquet", "val"),
    ],
)
def test_files_and_folders_of_splits_are_the_splits_with_one_vocabulary(tmp_path, layout, validation):
    kinds = {"train": ["a", "b"], validation: ["c", "b"], "test": ["b", "d"]}
    for number, (split, texts) in enumerate(kinds.items()):
        x = np.arange(30.0 + number) * 7 % 31 + 100 * number
        columns = {"x": x, "kind": np.array(texts * 20)[: 30 + number], "weight": x + 1}
        write(tmp_path / layout.format(split), columns)
    source = open_source(tmp_path, drop=["year"] if "year" in layout else None)
    assert list(source.parts) == ["train", "validation", "test"]
    samples = {name: part.read()[0] for name, part in source.parts.items()}
    vocabulary = source.columns[1].vocabulary
    for split, texts in zip(samples, kinds.values(), strict=True):
        assert [vocabulary[int(code)] for code in samples[split][:2, 1]] == texts
    data = load(tmp_path, drop=["year"] if "year" in layout else None, sample_weight="weight")
    np.testing.assert_array_equal(data.sample_weight.test, data.raw.test[:, 0].astype("float32") + 1)
    assert [len(samples) for samples in data.raw] == [30, 31, 32]
    assert data.paths == [tmp_path]


@pytest.mark.parametrize(
    "names",
    [
        ["train.csv"],
        ["test.csv", "train"],
        ["train.csv", "tst.csv"],
        ["train", "Test2"],
        ["train.csv", "test.csv", "valid.csv", "val.csv"],
        ["train.csv", "test.csv", "more.csv"],
        ["trainA.csv", "testA.csv"],
    ],
)
def test_what_is_nearly_named_after_splits_is_refused(tmp_path, names):
    for name in names:
        write(tmp_path / (name if name.endswith("csv") else f"{name}/part.csv"), columns_of(ROWS))
    entries = ", ".join(sorted(name.removesuffix(".csv") for name in names))
    if names == ["test.csv", "train"]:
        assert set(open_source(tmp_path).parts) == {"train", "test"}
        return
    with pytest.raises(ValueError, match=rf"train, test and perhaps val for the splits, .*; received {entries} in"):
        open_source(tmp_path)
    assert len(read(f"{tmp_path}/**/*.csv")) == 12 * len(names)


def test_names_that_only_begin_like_one_split_are_none(tmp_path):
    for name in ("device_1.csv", "device_2.csv"):
        write(tmp_path / name, columns_of(ROWS))
    assert len(read(tmp_path)) == 24


A, B = {"a": [1.5, 2], "b": [3, 4]}, {"a": [5.5, 6], "c": [7, 8]}


@pytest.mark.parametrize(
    ("first", "second", "match", "remedy", "expected"),
    [
        (A, {"a": [5.5]}, r"without 'b'\. .*: drop=\['b'\]", {"drop": ["b"]}, [1.5, 2, 5.5]),
        ({"a": [5.5]}, A, r"with 'b'\. .*: drop=\['b'\]", {"drop": ["b"]}, [5.5, 1.5, 2]),
        (A, B, r"without 'b' and with 'c'\. .*: drop=\['b', 'c'\]", {"columns": ["a"]}, [1.5, 2, 5.5, 6]),
        (
            {"a": [1, 2, 3]},
            {"a": ["x", "y", "z"]},
            r"received number in 'a' of '.*0\.X' and text in that of '.*1\.X'\. .*category=\['a'\] or number=\['a'\]",
            {"category": ["a"]},
            [0, 1, 2, 3, 4, 5],
        ),
        (
            {"a": ["?", "1", "x"]},
            {"a": [2, 3.5, 4]},
            r"text in 'a' of '.*0\.X' and number in",
            {"number": ["a"], "missing": ["?", "x"], "gaps": "drop"},
            [1, 2, 3.5, 4],
        ),
        (
            {"a": ["x", "y", "x"]},
            {"a": [True, False, True]},
            r"text in 'a' of '.*0\.X' and yes/no in .*: category=\['a'\] or drop=\['a'\]",
            {"category": ["a"]},
            [0, 1, 0, 2, 3, 2],
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.filterwarnings("ignore:left out")
def test_files_that_differ_are_named_with_the_column_and_the_option(
    tmp_path, suffix, first, second, match, remedy, expected
):
    for number, columns in enumerate((first, second)):
        write(tmp_path / f"{number}.{suffix}", columns)
    with pytest.raises(ValueError, match=match.replace("X", suffix)):
        open_source(tmp_path)
    assert read(tmp_path, **remedy)[:, 0].tolist() == expected


@pytest.mark.parametrize(
    ("types", "common"),
    [(["int8", "uint8"], "int16"), (["int64", "float32"], "float64"), (["float32", "float32"], "float32")],
)
def test_parquet_files_of_several_types_have_the_dtype_that_holds_them_all(tmp_path, types, common):
    for number, dtype in enumerate(types):
        write(tmp_path / f"{number}.parquet", {"x": np.array([number, 100], dtype)})
    samples = read(tmp_path)
    assert (samples.dtype, samples[:, 0].tolist()) == (common, [0, 100, 1, 100])


def test_columns_without_a_value_and_files_without_rows_go_with_all_others(tmp_path):
    for suffix, nothing in (("parquet", pa.nulls(2)), ("csv", ["", ""])):
        folder = tmp_path / suffix
        write(folder / f"0.{suffix}", {"x": [1.0, 2.0], "kind": nothing, "y": nothing})
        write(folder / f"1.{suffix}", {"x": np.zeros(0), "kind": np.zeros(0, str), "y": np.zeros(0)})
        write(folder / f"2.{suffix}", {"x": [3.0], "kind": ["a"], "y": [7]})
        part = open_source(folder, gaps="mask").parts["all"]
        samples, _ = part.read()
        assert [column.kind for column in part.columns] == ["number", "category", "number"]
        np.testing.assert_array_equal(samples, [[1, np.nan, np.nan], [2, np.nan, np.nan], [3, 0, 7]])
        assert part.sample_names[1:3] == [f"0.{suffix}", f"2.{suffix}"]


def test_texts_and_labels_may_be_stored_in_several_types(tmp_path):
    texts = [pa.nulls(2), pa.array(["a"]).dictionary_encode(), pa.array(["b"], pa.large_string()), pa.array(["a"])]
    for number, (kind, y) in enumerate(zip(texts, (["u", "v"], [3], ["w"], pa.nulls(1)), strict=True)):
        write(tmp_path / f"{number}.parquet", {"kind": kind, "y": y})
    part = open_source(tmp_path, label="y", gaps="mask").parts["all"]
    samples, labels = part.read()
    assert (part.columns[0].vocabulary, labels.tolist()) == (("a", "b"), ["u", "v", "3", "w", None])
    np.testing.assert_array_equal(samples[:, 0], [np.nan, np.nan, 0, 1, 0])


def test_each_file_has_its_dialect_and_options_count_for_all(tmp_path):
    texts = ["a,b\n1.5,2\n", "a;b\n1,5;2\n", "# new\n# and cold\nb\ta\n2\t1.5\n"]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
    np.testing.assert_array_equal(read(tmp_path), [[1.5, 2]] * 3)
    with pytest.raises(ValueError, match=r"delimiter: expected None for a \.parquet file; received ';'"):
        open_source([write(tmp_path / "other" / "p.parquet", A)], delimiter=";")
    (tmp_path / "3.txt").write_text("a;b\n1,500;2\n")
    with pytest.raises(ValueError, match=r"received '1,500' in '.*3\.txt', .* decimal=\",\""):
        open_source(f"{tmp_path}/*.txt")
    assert read(f"{tmp_path}/[13].txt", decimal=",").tolist() == [[1.5, 2], [1.5, 2]]


def test_texts_among_numbers_are_told_by_the_signs_of_their_file(tmp_path):
    texts = ["a,b\n1.5,2\n2.5,1\nx,3\n", "a;b\n1,5;2\ny;1\n2,5;1\n"]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.csv").write_text(text)
    part = open_source(tmp_path, number=["a"]).parts["all"]
    part.is_tolerant = True
    batches = list(part.batches(10))
    np.testing.assert_array_equal(
        np.concatenate([batch.samples for batch in batches]),
        [[1.5, 2], [2.5, 1], [np.nan, 3], [1.5, 2], [np.nan, 1], [2.5, 1]],
    )
    reasons = [reason for batch in batches for reason in batch.defects.values()]
    assert reasons == [f"{text} in column 'a', where a number is expected" for text in ("'x'", "'y'")]


@pytest.mark.parametrize(
    ("second", "match"),
    [
        ("1.5,2,3\n", r"received '.*0\.csv', and '.*1\.csv' with 'column_2'\. Of text files, header=True or"),
        (
            "a,b\n1.5,2\n",
            r"received '.*0\.csv', and '.*1\.csv' without 'column_0', 'column_1' and with 'a', 'b'\. .* header=True or",
        ),
    ],
)
def test_files_without_a_header_are_as_wide_as_each_other(tmp_path, second, match):
    (tmp_path / "0.csv").write_text("1.5,2\n3,4\n")
    (tmp_path / "1.csv").write_text("5,6.5\n")
    with pytest.warns(UserWarning, match="has no header") as warned:
        assert read(tmp_path, columns=["1"]).tolist() == [[2], [4], [6.5]]
    assert len(warned) == 1
    (tmp_path / "1.csv").write_text(second)
    with pytest.raises(ValueError, match=match), pytest.warns(UserWarning, match="has no header"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("cell", "options", "match"),
    [
        ("oops", {}, r"text in 'b' \('oops' in row 1\) of '.*1\.csv'"),
        ("", {}, r"a missing value in column 'b', row 1 of '1\.csv' \(rows count from 0\)"),
        ("inf", {}, r"received inf in column 'b', row 1 of '1\.csv'"),
        ("oops", {"number": ["b"]}, r"'oops' in row 1\) of '.*1\.csv'"),
        ("1e300", {}, r"received 1e\+300 in column 'b', row 1 of '1\.csv'"),
        ("1,2", {}, r"2 in each row; received 3 in row 1 of '.*1\.csv', '2\.0,1,2'"),
    ],
)
def test_cells_and_lines_are_named_by_file_and_the_row_in_there(tmp_path, cell, options, match):
    for number in range(3):
        rows = "".join(f"{row}.0,{row * row + 10 * number}\n" for row in range(3))
        (tmp_path / f"{number}.csv").write_text("a,b\n" + rows)
    rows = ["a,b", "1.0,5", f"2.0,{cell}", *(f"{row}.0,7" for row in range(1000))]
    (tmp_path / "1.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match=match):
        load(tmp_path, **options)


def test_a_text_in_a_parquet_file_and_a_damaged_page_are_named_by_file(tmp_path):
    for number in range(2):
        write(tmp_path / f"{number}.parquet", {"x": ["1", "2", "x" if number else "3"]})
    with pytest.raises(ValueError, match=r"'x' in row 2\) of '1\.parquet'"):
        read(tmp_path, number=["x"])
    path = tmp_path / "1.parquet"
    pa.parquet.write_table(
        pa.table({"x": np.arange(1000.0)}), path, write_page_checksum=True, use_dictionary=False, compression="none"
    )
    content = bytearray(path.read_bytes())
    content[4000] ^= 1
    path.write_bytes(content)
    write(tmp_path / "0.parquet", {"x": [1.0]})
    with pytest.raises(ValueError, match=r"1\.parquet', which is damaged: .*CRC"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("files", "source", "match"),
    [
        (["a.csv", "b.parquet"], "", r"text, \.parquet or \.tfrecord files, .*; received '.*a.csv' and '.*b.parquet'"),
        (["a.csv", "notes.md"], "/*", r"and nothing else; received '.*a\.csv' and '.*notes\.md'\..*/\*\.csv'"),
        (["2020/a.csv"], "", r"sub-folders called COLUMN=VALUE, .*; received '2020/a\.csv'\. Give .*/\*\*/\*\.csv'"),
        (["notes.md"], "", r"expected images in .*, or tables, which end with \.csv, .*; received 'notes\.md'"),
        (["_SUCCESS"], "", r"expected images in .*, or tables, .*; received '_SUCCESS'"),
        (["a.npy"], "", r"received 'a\.npy'\. Of \.npy and \.npz files, give one"),
        (["a.npy"], "/*.npy", r"expected files that end with .*; received '.*a\.npy'\. Of \.npy"),
        (["_a.csv"], "/*.csv", r"a pattern that files fit to; received '.*\*\.csv', which none does\. Names that"),
    ],
)  # fmt: skip
def test_what_is_no_table_of_several_files_is_named(tmp_path, files, source, match):
    for name in files:
        write(tmp_path / name, A)
    with pytest.raises(ValueError, match=match):
        open_source(f"{tmp_path}{source}")


def test_what_else_a_folder_of_tables_holds_is_named(tmp_path):
    write(tmp_path / "a.csv", A)
    (tmp_path / "notes.md").touch()
    with pytest.warns(UserWarning, match=r"skipped what is not a table, by its suffix, in .*: notes\.md"):
        assert len(read(tmp_path)) == 2


def test_lists_hold_existing_files_once(tmp_path):
    path = write(tmp_path / "a.csv", A)
    assert len(read([path])) == 2
    with pytest.raises(ValueError, match=r"expected a list of existing files; received '.*b\.csv'"):
        open_source([path, tmp_path / "b.csv"])
    with pytest.raises(ValueError, match=r"expected each file once; received 2 paths of 1 files"):
        open_source([path, str(path)])


def test_a_folder_whose_name_has_wildcards_is_one(tmp_path, monkeypatch):
    write(tmp_path / "[x]" / "a.csv", columns_of(ROWS))
    monkeypatch.chdir(tmp_path / "[x]")
    data = load("*.csv", batch_size=4)
    assert data.name == "[x]"
    monkeypatch.chdir("/")
    assert load(**data.arguments).digest == data.digest
    assert len(read(tmp_path / "[x]")) == 12


@pytest.mark.parametrize(
    ("pattern", "output", "is_refused"),
    [
        ("logs/*.csv", "logs/a.csv", True),
        ("logs/*.csv", "logs/new.csv", True),
        ("logs/*.csv", "link.csv", True),
        ("logs/*", "logs/scores/1.csv", True),
        ("logs/**/*.csv", "logs/scores/1.csv", True),
        ("logs/*.csv", "logs/new.parquet", False),
        ("logs/*.csv", "new.csv", False),
        ("*/a.csv", "other/scores.csv", False),
    ],
)
def test_nothing_is_written_where_a_pattern_reads(tmp_path, monkeypatch, pattern, output, is_refused):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "logs" / "a.csv", A)
    (tmp_path / "link.csv").symlink_to("logs/a.csv")
    if not is_refused:
        validate_apart("output", output, pattern)
        return
    with pytest.raises(ValueError, match=re.escape(f"outside of what is read, {pattern}; received {output}")):
        validate_apart("output", output, pattern)
    assert "--output: expected a place outside of" in run("score", ".", pattern, "-o", output, code=2).stderr


def test_a_model_scores_folders_and_patterns_with_the_file_of_each_row(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    suffix = next(folder.glob("part-0.*")).suffix
    data = load(folder, batch_size=4)
    model = models.dense(data.shape, latent_dim=1)
    model.compile(loss=SquaredError())
    export.save(model, "saved_models/logs", data=data)
    expected = export.load("saved_models/logs").score(ROWS)
    for source in ("logs", f"logs/*{suffix}"):
        run("score", "saved_models/logs", source, "-o", "scores.csv")
        table = pa.csv.read_csv("scores.csv")
        assert table.column_names == ["part", "index", "file", "instance_score", "reason"]
        numbers = [0] * 5 + [1] + [2] * 6
        assert table["file"].to_pylist() == [f"part-{number}{suffix}" for number in numbers]
        np.testing.assert_allclose(table["instance_score"].to_numpy(), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="directory: expected a place outside of what is read"):
        export.save(model, folder / "model", data=data)


def test_keys_are_kept_beside_scores_and_an_interrupted_score_knows_each_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, rows in enumerate(np.split(ROWS, 2)):
        columns = {**columns_of(rows), "id": np.arange(6) + number} | ({"more": np.zeros(6)} if number else {})
        write(tmp_path / "logs" / f"country={'DF'[number]}" / "0.csv", columns)
    data = load("logs", columns=["a", "b"], batch_size=4)
    model = models.dense(data.shape, latent_dim=1)
    model.compile(loss=SquaredError())
    export.save(model, "saved_models/logs", data=data)
    arguments = ["score", "saved_models/logs", "logs", "-o", "scores.csv", "--keep", "country,id"]
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "CHUNK", 4)
        patch.setattr(scoring.score_file, "SECONDS", 0)

        def fail(part, size):
            yield from itertools.islice(batches(part, size), 2)
            raise KeyboardInterrupt

        batches = TablePart.batches
        patch.setattr(TablePart, "batches", fail)
        run(*arguments, code=130)
        patch.setattr(TablePart, "batches", batches)
        assert (tmp_path / ".scores.csv.partial").exists()
        os.utime(tmp_path / "logs" / "country=F" / "0.csv", (0, 0))
        assert "goes on" not in run(*arguments).stderr
    table = pa.csv.read_csv("scores.csv")
    assert table["country"].to_pylist() == ["D"] * 6 + ["F"] * 6
    assert table["id"].to_pylist() == [0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6]
    message = run("score", "saved_models/logs", "logs", "-o", "other.csv", "--keep", "more", code=2).stderr
    assert "--keep: expected a column of" in message


def test_windows_are_cut_from_the_rows_of_several_files(folder):
    data = load(folder, window=2, splits=(0.5, 0.25, 0.25), batch_size=2)
    assert (data.shape, data.window) == ((2, 2), 2)
    np.testing.assert_array_equal(data.raw.train[4], ROWS[4:6])  # Of two files.
    write(folder / f"part-3{next(folder.glob('part-0.*')).suffix}", {**columns_of(ROWS), "t": np.arange(12)})
    with pytest.raises(ValueError, match=r"part-3\..*' with 't'"):
        open_source(folder, columns=["a"], window=2, time="t")


def test_a_pattern_is_trained_on_advised_on_and_evaluated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    for number, part in enumerate(np.split(rows, 3)):
        write(tmp_path / "logs" / f"{number}.csv", columns_of(part))
    assert "squared error" in run("advise", "logs/*.csv").output
    message = run("train", "logs/*.csv", "--export-dir", "logs/model.csv", code=2).stderr
    assert "--export-dir: expected a place outside of what is read" in message
    output = train("logs/*.csv", "--epochs", 1, "--latent-dim", 1, "--run-dir", "run").output
    assert "logs: table data of shape (2,), float64; 48 train, 6 validation, 6 test" in output
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["arguments"]["source"].endswith("/*.csv")
    monkeypatch.chdir("/")
    run("evaluate", tmp_path / "run")
    assert json.loads(run("evaluate", tmp_path / "run", tmp_path / "logs", "--json").stdout)["num_samples"] == 60
