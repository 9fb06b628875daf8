""".csv and .parquet files, and data frames."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from tfae.datasets import load, open_source

HEADER = "height,width,species\n"
ROWS = "".join(f"{i}.5,{i * i},{'ab'[i % 2]}\n" for i in range(30))
NUMBERS = np.array([[i + 0.5, i * i] for i in range(30)])


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    path = tmp_path / "flowers.csv"
    path.write_text(HEADER + ROWS)
    return path


def write(path: Path, **columns: Any) -> Path:
    pa.parquet.write_table(pa.table(columns), path)
    return path


def test_a_csv_file_is_float64_with_its_labels_and_its_columns_as_they_are_asked_for(flowers: Path) -> None:
    source = open_source(flowers, label="species")
    assert (source.name, source.kind, source.dtype, source.shape) == ("flowers", "table", "float64", (2,))
    assert source.feature_names == ("height", "width")
    assert source.parts["all"].num_samples is None
    samples, labels = source.parts["all"].read()
    np.testing.assert_array_equal(samples, NUMBERS)
    assert np.asarray(labels).tolist() == list("ab" * 15)
    source = open_source(str(flowers), columns=["width", "height"])
    assert source.feature_names == ("width", "height")
    np.testing.assert_array_equal(source.parts["all"].read()[0], NUMBERS[:, ::-1])


def test_a_table_is_streamed_in_batches_of_the_size_asked_for(tmp_path: Path) -> None:
    # 3 MB, which pyarrow reads in several blocks.
    values = np.random.RandomState(0).rand(80_000, 2)
    path = tmp_path / "long.csv"
    np.savetxt(path, values, delimiter=",", header="a,b", comments="", fmt="%.17g")
    batches = [batch.samples for batch in open_source(path).parts["all"].batches(30_000)]
    assert [len(batch) for batch in batches] == [30_000, 30_000, 20_000]
    np.testing.assert_array_equal(np.concatenate(batches), values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b,c\n1,2,3\n4,x,6\n7,8,y\n9,1,2\n",
            "received text in 'b' ('x' in row 1), 'c' ('y' in row 2) of ",
        ),
        ("a,b\n1,2\n3,\n", "source: expected finite numbers; received a missing value in column 'b', row 1"),
        ("a,b\n1,2\n3,NA\n", "source: expected finite numbers; received a missing value in column 'b', row 1"),
        ("a,b\n1,2\n3,NaN\n", "source: expected finite numbers; received a missing value in column 'b', row 1"),
        ("a,b\n1,2\n3,inf\n", "received inf in column 'b', row 1"),
        ("a,b\n1,2\n3,4,5\n", "expected a table whose cells are separated by commas"),
        ("a,b\n", "table.csv', which holds none below its header."),
        ("", "table.csv', which is empty."),
        ("\n\n", "table.csv', which is empty."),
        ("a,a\n1,2\n", "received ['a'] more than once"),
    ],
)
def test_what_is_no_table_of_numbers_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)):
        load(path)


def test_shares_and_rows_of_defects_are_those_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    rows = [f"{i}.123456789123456789,{i},{i}" for i in range(100_000)]
    message = r"4 of 300,000 values .* in 3 of 100,000 rows: 'b' 0\.003 %, 'c' 0\.001 %"
    for cell in ("", "NA"):
        for row in (10, 20, 90_000):
            rows[row] = f"1,{cell},{' ' + cell if row > 20 else 3}"
        path.write_text("a,b,c\n" + "\n".join(rows))
        with pytest.raises(ValueError, match=message):
            load(path)
    rows[10] = rows[20] = "1,2,3"
    for cell, message in (
        ("", "missing value in column 'b', row 90000 "),
        ("oops", r"text in 'b' \('oops' in row 90000\) .* missing=\['oops'\]; .* category=\['b'\]; .* drop=\['b'\]"),
    ):
        rows[90_000] = f"1,{cell},3"
        path.write_text("a,b,c\n" + "\n".join(rows))
        with pytest.raises(ValueError, match=message):
            load(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["heigth"]}, r"^columns: expected a column of .*flowers.csv'; .* Did you mean 'height'\?$"),
        ({"label": "specie"}, r"^label: expected a column of .*; received 'specie'\. Did you mean 'species'\?$"),
        ({"columns": ["width"], "label": "width"}, r"^label: expected another column .* received 'width' in both"),
    ],
)
def test_columns_that_are_not_there_are_named_with_what_is_close(
    flowers: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        open_source(flowers, **arguments)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    message = r"^source: expected text in UTF-8; .*latin.csv' in another encoding\. Say which, .*encoding=\"latin-1\""
    for text in ("größe,x\n1,2\n", "x,y\n" + "1,2\n" * 100_000 + "1,größe\n"):  # also far from the header
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match=message):
            open_source(path, columns=["x"], label="y" if text[0] == "x" else None).parts["all"].read()


@pytest.mark.parametrize(
    ("types", "common"),
    [
        (["uint8", "uint8"], "uint8"),
        (["int8", "uint8"], "int16"),
        (["float32", "float32"], "float32"),
        (["int64", "float32"], "float64"),
        (["bool", "bool"], "bool"),
        (["bool", "int32"], "int32"),
    ],
)
def test_a_parquet_file_keeps_the_dtype_that_holds_all_columns(tmp_path: Path, types: list[str], common: str) -> None:
    columns = {name: np.array([0, 1, 1, 0]).astype(dtype) for name, dtype in zip("ab", types, strict=True)}
    source = open_source(write(tmp_path / "t.parquet", **columns))
    samples, _ = source.parts["all"].read()
    assert (source.dtype, samples.dtype, source.parts["all"].num_samples) == (common, common, 4)
    assert samples[:, 0].tolist() == samples[:, 1].tolist() == [0, 1, 1, 0]


def test_a_parquet_file_has_labels_and_names_what_is_not_numeric(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", x=[1.0, 2.0], kind=["a", "b"], when=pa.array([1, 2], pa.timestamp("ms")))
    samples, labels = open_source(path, columns=["x"], label="kind").parts["all"].read()
    assert (samples.tolist(), np.asarray(labels).tolist()) == ([[1.0], [2.0]], ["a", "b"])
    with pytest.warns(UserWarning, match=r"left out when, which holds times; drop=\[\.\.\.\] says so"):
        assert open_source(path).feature_names == ("x", "kind")
    with pytest.raises(ValueError, match=re.escape("received 'when' (time) in ")):
        open_source(path, columns=["x", "when"])


def test_missing_values_of_a_parquet_file_are_located(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", x=pa.array([1, 2, None]), y=[1.0, float("nan"), 2.0])
    with pytest.raises(
        ValueError, match=r"a missing value in column 'y', row 1 .* in 2 of 3 rows: 'x' 33.3 %, 'y' 33.3 %\."
    ):
        load(path)
    for in_memory in (True, False):
        with pytest.raises(ValueError, match=r"a missing value in column 'x', row 2 .* 1 of 3 values"):
            load(path, columns=["x"], in_memory=in_memory)
    with pytest.raises(ValueError, match="a missing value in column 'y', row 1"):
        load(path, columns=["y"])


def test_white_space_around_names_is_none_of_theirs(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a, b , c\n1, 2, x\n3, 4, y\n")
    source = open_source(tmp_path / "table.csv", columns=["b", "a"], label="c")
    samples, labels = source.parts["all"].read()
    assert source.feature_names == ("b", "a")
    assert samples.tolist() == [[2, 1], [4, 3]]
    assert len(np.asarray(labels)) == 2


def test_what_is_no_table_or_has_no_rows_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "empty.parquet", x=np.zeros(0))
    with pytest.raises(ValueError, match=r"received '.*empty.parquet', which holds none\.$"):
        load(path)
    with pytest.raises(ValueError, match=r"received the data frame, which holds none\.$"):
        load(pa.table({"x": np.zeros(0)}))
    with pytest.raises(ValueError, match=r"^source: expected a data frame; received ChunkedArray"):
        open_source(pa.chunked_array([[1.0, 2.0]]))  # although it exports Arrow
    (tmp_path / "t.parquet").write_text("hello")
    with pytest.raises(ValueError, match=r"expected a .parquet file; received '.*t.parquet'"):
        open_source(tmp_path / "t.parquet")


def test_the_index_that_pandas_stores_is_no_feature(tmp_path: Path) -> None:
    table = pa.table({"x": [1.0, 2.0], "__index_level_0__": [7, 8]})
    metadata = {"pandas": json.dumps({"index_columns": ["__index_level_0__"], "columns": []})}
    pa.parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "t.parquet")
    assert open_source(tmp_path / "t.parquet").feature_names == ("x",)


def test_a_data_frame_is_a_table_with_names() -> None:
    frame = pa.table({"a": np.arange(5.0), "b": np.arange(5) ** 2, "c": list("vwxyz")})
    source = open_source(frame, label="c")
    samples, labels = source.parts["all"].read()
    assert (source.feature_names, source.dtype) == (("a", "b"), "float64")
    assert samples.tolist() == [[i, i * i] for i in range(5)]
    assert np.asarray(labels).tolist() == list("vwxyz")


def test_a_real_series_is_read(real_data: Path) -> None:
    data = load(real_data / "nab" / "art_daily_jumpsup.csv", columns=["value"])
    assert (data.shape, data.feature_names) == ((1,), ("value",))


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        ("0,1,2\n5,6,7\n7,9,8\n8,1,2\n", ("0", "1", "2"), [5, 6, 7]),
        ("5,6\n7,9\n8,1\n", ("column_0", "column_1"), [5, 6]),
        ("a,6\n7,9\n8,1\n", ("a", "6"), [7, 9]),
        ("1e3,-.5\n7,9\n8,1\n", ("column_0", "column_1"), [1000, -0.5]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*(has no header|is taken for a header)")
def test_a_header_is_told_from_the_first_numbers(
    tmp_path: Path, text: str, names: tuple[str, ...], first: list[float]
) -> None:
    (tmp_path / "table.csv").write_text(text)
    source = open_source(tmp_path / "table.csv")
    assert source.feature_names == names
    assert source.parts["all"].read()[0][0].tolist() == first


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (row, f"a header of names, or a first sample of numbers; received '{row}' .* Say which it is: header=False")
        for row in ("9.5,,3", "NA,2,3", "1,nan,2")
    ]
    + [(row, f"received '{row}' as the first row of .*, which may be either") for row in ("0", "0,1")],
)
def test_a_first_row_that_lacks_a_number_or_may_be_a_header_or_a_sample_is_refused(
    tmp_path: Path, row: str, message: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{row}\n" * 3 if "either" in message else f"{row}\n1,2,3\n4,5,6\n")
    with pytest.raises(ValueError, match=message):
        open_source(path)


def test_a_column_without_a_name_is_taken_only_if_it_is_chosen_and_a_missing_header_is_warned_of(
    tmp_path: Path,
) -> None:
    path = tmp_path / "with_index.csv"  # As pandas writes it with its index.
    path.write_text(",0,1\n0,5,6\n1,7,9\n2,8,1\n")
    with pytest.raises(ValueError, match=r"a name for every column.*column 0.*index=False"):
        open_source(path)
    assert open_source(path, columns=["0", "1"]).parts["all"].read()[0].tolist() == [[5, 6], [7, 9], [8, 1]]
    path.write_text("2019,2020\n0.1,0.2\n0.3,0.4\n")
    with pytest.warns(UserWarning, match="has no header: its first row, '2019,2020', is taken as a sample"):
        open_source(path)


@pytest.mark.parametrize("labels", [[1, None, 2], [1.5, None, 2.0], ["a", None, ""], [True, None, False]])
def test_missing_labels_of_a_parquet_file_are_missing(tmp_path: Path, labels: list) -> None:
    table = pa.table({"x": [1.0, 2.0, 3.0], "y": labels})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    for source in (open_source(tmp_path / "t.parquet", label="y"), open_source(table, label="y")):
        assert pa.array(source.parts["all"].read()[1]).to_pylist() == labels


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "", "2"], [1, None, 2]),
        (["1.5", "", "2"], [1.5, None, 2.0]),
        (["a", "", "1"], ["a", None, "1"]),
        (["1", "2", "3"], [1, 2, 3]),
    ],
)
def test_missing_labels_of_a_csv_file_are_missing(tmp_path: Path, cells: list[str], expected: list) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x,y\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells)))
    _, labels = open_source(path, label="y").parts["all"].read()
    assert pa.array(labels).to_pylist() == expected
    assert (np.asarray(labels).dtype == object) == (None in expected)
    ((_, streamed, *_),) = open_source(path, label="y").parts["all"].batches(10)
    assert pa.array(streamed).to_pylist() == [cell or None for cell in cells]
