"""Pieces of tables in files: read in any order and in another process, they are the table."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from tests.samples import write_examples
from tfae.datasets import open_source, parquet_files
from tfae.datasets.pieces import cut

SIZES = (25, 0, 7)


@pytest.fixture(params=["parquet", "csv", "tfrecord"])
def source(request, tmp_path):
    """Of three files, the second of which has no rows, with a category, a gap, a key, and a cell that is no number."""
    for number, size in enumerate(SIZES):
        path = tmp_path / f"day={number}" / f"rows.{request.param}"
        path.parent.mkdir()
        amounts = [None if row == 3 else row + 0.5 for row in range(size)]
        table = pa.table(
            {
                "id": pa.array([f"{number}-{row}" for row in range(size)], pa.string()),
                "amount": pa.array(amounts, pa.float64()),
                "country": pa.array([["DE", "FR"][row % 2] for row in range(size)], pa.string()),
            }
        )
        if request.param == "parquet":
            pa.parquet.write_table(table, path, row_group_size=4)
        elif request.param == "tfrecord":
            rows = [{name: [cell] for name, cell in row.items() if cell is not None} for row in table.to_pylist()]
            if len(rows) > 20:
                rows[20]["amount"] = ["oops"]
            write_examples(path, rows)
        else:
            pa.csv.write_csv(table, path)
            path.write_text(path.read_text().replace("20.5", "oops"))
    source = open_source(tmp_path, drop=["id"], gaps="mask", number=["amount"], category=["country"])
    part = source.parts["all"]
    part.is_tolerant = True
    part.keep(["id"])
    return source


def describe(batches):
    """The rows by what is kept of them: samples, and what is wrong."""
    found = {}
    for batch in batches:
        for row, name in enumerate(batch.kept["id"].to_pylist()):
            assert name not in found
            found[name] = (*np.nan_to_num(batch.samples[row], nan=-1).tolist(), batch.defects.get(row))
    return found


def test_pieces_hold_each_row_once_and_say_where_it_is(source, monkeypatch):
    monkeypatch.setattr(parquet_files, "PIECE", 6)
    whole = describe(source.parts["all"].batches(5))
    assert len(whole) == sum(SIZES)
    reader, pieces = pickle.loads(pickle.dumps(cut(source)))
    is_parquet = pieces[0].file.endswith(".parquet")
    # Of row groups of 4 rows, 2 make a piece; of others a file does. One without records has no columns to read.
    expected = [(0, 0), (0, 8), (0, 16), (0, 24), (2, 0)] if is_parquet else [(0, 0), (1, 0), (2, 0)]
    expected = [place for place in expected if not (pieces[0].file.endswith(".tfrecord") and place[0] == 1)]
    assert [(int(piece.file[4]), piece.first) for piece in pieces] == expected
    found = {}
    for piece in reversed(pieces):
        with reader.open(piece) as (name, first, part):
            assert name == "all"
            for batch in part.batches(3):
                size = len(batch.samples)
                names = [f"{piece.file[4]}-{row}" for row in range(first, first + size)]
                assert batch.kept["id"].to_pylist() == names
                assert part.sample_names[first : first + size] == [piece.file] * size
                found |= describe([batch])
                first += size
    assert found == whole


def test_a_piece_is_small_whatever_the_number_of_columns(tmp_path):
    for number in range(2):
        columns = {f"a column with a long name {index}": [1.0, 2.0] for index in range(500)}
        pa.parquet.write_table(pa.table(columns), tmp_path / f"{number}.parquet")
    reader, pieces = cut(open_source(tmp_path))
    assert len(pieces) == 2
    assert max(len(pickle.dumps(piece)) for piece in pieces) < 1500 < len(pickle.dumps(reader))


def test_the_source_is_as_it_was(source):
    before = describe(source.parts["all"].batches(5))
    cut(source)
    assert describe(source.parts["all"].batches(5)) == before
    assert source.parts["all"].sample_names is not None


@pytest.mark.parametrize("kind", ["array", "images", "frame", "windows", "selected"])
def test_what_is_no_table_in_files_has_no_pieces(tmp_path, kind):
    frame = pa.table({"a": np.arange(8.0), "b": np.arange(8.0) ** 2})
    pa.csv.write_csv(frame, tmp_path / "series.csv")
    source = {
        "array": lambda: open_source(np.ones((4, 3))),
        "images": lambda: open_source(np.zeros((4, 8, 8), "uint8")),
        "frame": lambda: open_source(frame),
        "windows": lambda: open_source(tmp_path / "series.csv", window=2),
        "selected": lambda: open_source(tmp_path / "series.csv", gaps="drop"),
    }[kind]()
    expected = (
        "received windows of a time series"
        if kind == "windows"
        else "expected a table in .parquet, .tfrecord or text files"
    )
    with pytest.raises(ValueError, match=expected.replace(".", r"\.")):
        cut(source)
