"""Labels of tables: of the type that they have, and missing where they are."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from tfae.datasets import open_source


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
    assert labels is not None
    assert pa.array(labels).to_pylist() == expected
    assert (labels.dtype == object) == (None in expected)
    ((_, streamed),) = open_source(path, label="y").parts["all"].batches(10)
    assert streamed is not None
    assert pa.array(streamed).to_pylist() == [cell or None for cell in cells]
