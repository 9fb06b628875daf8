"""Tables: .csv and .parquet files, and data frames that speak Arrow."""

from __future__ import annotations

import collections
import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from tfae.datasets import defects
from tfae.datasets.source import Batch, Part, Source, rebatched
from tfae.preprocessing import declared_range

Opener = Callable[[], Iterable[pa.RecordBatch]]


class TablePart(Part):
    """Rows of a table, streamed.

    Args:
        record_batches: Opens the table anew, each time it is called.
        feature_names: The columns that are x, in this order.
        label: The column that is the label, or None.
        dtype: That all columns of x are converted to.
        num_samples: The number of rows where it is known.
    """

    def __init__(
        self,
        record_batches: Opener,
        feature_names: tuple[str, ...],
        label: str | None,
        dtype: np.dtype,
        num_samples: int | None,
    ) -> None:
        self.num_samples = num_samples
        self.feature_names = feature_names
        self._record_batches = record_batches
        self._label = label
        self._dtype = dtype

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield rows in blocks of ``size``, whatever the blocks of the file are."""
        return rebatched(self._stored_blocks(), size)

    def read(self) -> Batch:
        """Return all rows, with labels that are all numbers as numbers: a .csv file has no types."""
        samples, labels = super().read()
        if labels is not None and labels.dtype.kind == "U":
            for dtype in (np.int64, np.float64):
                try:
                    return samples, labels.astype(dtype)
                except ValueError:
                    continue
        return samples, labels

    def _stored_blocks(self) -> Iterator[Batch]:
        first = 0
        for batch in self._record_batches():
            samples = np.empty((batch.num_rows, len(self.feature_names or ())), self._dtype)
            for index, name in enumerate(self.feature_names or ()):
                column = batch.column(name)
                if column.null_count:
                    row = first + pc.index(pc.is_null(column), True).as_py()
                    raise ValueError(
                        f"expected finite numbers; received an empty cell in column {name!r}, row {row} (rows count "
                        "from 0); remove or fill such values first"
                    )
                samples[:, index] = column.to_numpy(zero_copy_only=False)
            yield samples, None if self._label is None else _labels(batch.column(self._label))
            first += batch.num_rows


def from_csv(path: Path, *, columns: Sequence[str] | None = None, label: str | None = None) -> Source:
    """Open a .csv file: with a header, or all numbers without one; every column is float64, for text has no dtype.

    Args:
        path: Of the file, comma-separated UTF-8.
        columns: Names of the columns to take; by default all but the label.
        label: Name of the column that is taken out of x, as labels; it may be text.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = next((row for row in csv.reader(file) if row), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"expected a .csv file in UTF-8; received {str(path)!r}: {error}") from None
    has_header = _is_header(header, path)
    names = header if has_header else [f"column_{index}" for index in range(len(header))]
    features = _chosen(names, columns, label, path)

    def record_batches(types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        with pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=None if has_header else names),
            convert_options=pyarrow.csv.ConvertOptions(column_types=types, include_columns=list(types)),
        ) as reader:
            yield from reader

    def numbers() -> Iterator[pa.RecordBatch]:
        types = dict.fromkeys(features, pa.float64())
        text = {} if label is None else {label: pa.string()}
        try:
            yield from record_batches(types | text)
        except pa.ArrowInvalid as error:
            _refuse_text(record_batches(dict.fromkeys(features, pa.string())), path)
            raise ValueError(f"expected a comma-separated table; received {str(path)!r}: {error}") from None

    return _opened(path.stem, numbers, features, label, np.dtype(np.float64), None)


def _is_header(row: list[str], path: Path) -> bool:
    """Whether the first row of a file names its columns, and does not hold their first numbers."""
    if row in ([str(index) for index in range(len(row))], ["", *(str(index) for index in range(len(row) - 1))]):
        return True  # What pandas writes for a frame without names, without and with its index.
    missing = [cell for cell in row if cell.strip().lower() in ("", "na", "nan", "null", "none")]
    numbers = [cell for cell in row if _is_number(cell) and cell not in missing]
    if numbers and missing and len(numbers) + len(missing) == len(row):
        raise ValueError(
            f"expected a header or complete numbers in the first row; received {','.join(row)!r} in {str(path)!r}; "
            "fill the empty cells in, or write a header above"
        )
    return not (numbers and len(numbers) == len(row))


def from_parquet(path: Path, *, columns: Sequence[str] | None = None, label: str | None = None) -> Source:
    """Open a .parquet file; the columns are converted to the one NumPy dtype that holds them all.

    Args:
        path: Of the file.
        columns: Names of the columns to take; by default all but the label and a stored pandas index.
        label: Name of the column that is taken out of x, as labels.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, num_rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"expected a .parquet file; received {str(path)!r}: {error}") from None
    features = _chosen(_names(schema), columns, label, path)

    def record_batches() -> Iterator[pa.RecordBatch]:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield from file.iter_batches(columns=[*features, *([] if label is None else [label])])

    return _opened(path.stem, record_batches, features, label, _common_dtype(schema, features, path), num_rows)


def from_frame(frame: Any, *, columns: Sequence[str] | None = None, label: str | None = None) -> Source:
    """Open a data frame of pandas, polars or pyarrow, or of any library that exports Arrow streams."""
    table = pa.table(frame)
    features = _chosen(_names(table.schema), columns, label, "the data frame")
    dtype = _common_dtype(table.schema, features, "the data frame")
    return _opened("table", table.to_batches, features, label, dtype, table.num_rows)


def _opened(
    name: str,
    record_batches: Opener,
    features: tuple[str, ...],
    label: str | None,
    dtype: np.dtype,
    num_rows: int | None,
) -> Source:
    return Source(
        name=name,
        kind="table",
        shape=(len(features),),
        dtype=dtype.name,
        parts={"all": TablePart(record_batches, features, label, dtype, num_rows)},
        feature_names=features,
        value_range=declared_range("table", dtype),
    )


def _names(schema: pa.Schema) -> list[str]:
    """Return the names of the columns, without those that pandas keeps its index in."""
    index = (schema.pandas_metadata or {}).get("index_columns", ())
    return [name for name in schema.names if name not in index]


def _chosen(
    names: Sequence[str], columns: Sequence[str] | None, label: str | None, path: Path | str
) -> tuple[str, ...]:
    """Return the names of the columns that are x."""
    repeated = sorted(name for name, count in collections.Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(f"expected columns with names of their own; received {repeated} more than once in {path}")
    if isinstance(columns, str):
        columns = [columns]
    for argument, asked in (("columns", columns or ()), ("label", () if label is None else (label,))):
        for name in asked:
            if name not in names:
                raise ValueError(
                    f"expected {argument}= to name a column of {path}; received {name!r}; "
                    f"{defects.close_matches(name, names)}"
                )
    if columns is None and "" in names:
        raise ValueError(
            f"expected a name for every column; received none for column {list(names).index('')} of {path}, which may "
            "be the index that pandas writes; write the file with index=False, or choose columns with columns="
        )
    if columns is not None and label in columns:
        raise ValueError(f"expected the label apart from the columns; received {label!r} as both label= and columns=")
    features = tuple(name for name in (names if columns is None else columns) if name != label)
    if not features:
        raise ValueError(f"expected at least one column beside the label; received {list(names)} in {path}")
    return features


def _common_dtype(schema: pa.Schema, features: Sequence[str], path: Path | str) -> np.dtype:
    types = {name: schema.field(name).type for name in features}
    others = [
        f"{name!r} ({kind})"
        for name, kind in types.items()
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
    ]
    if others:
        raise ValueError(
            f"expected numeric columns; received {', '.join(others)} in {path}; "
            "choose others with columns=, or take one out with label="
        )
    return np.result_type(*(pa.array([], kind).to_numpy(zero_copy_only=False).dtype for kind in types.values()))


def _refuse_text(batches: Iterator[pa.RecordBatch], path: Path) -> None:
    """Raise ValueError that names every column with text in the first block that has any, and where it is first."""
    first = 0
    try:
        for batch in batches:
            found = []
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                texts = ((row, cell) for row, cell in enumerate(column.to_pylist()) if cell and not _is_number(cell))
                row, cell = next(texts, (None, None))
                if row is not None:
                    found.append(f"{name!r} ({cell!r} in row {first + row})")
            if found:
                raise ValueError(
                    f"expected numeric columns; received text in {', '.join(found)} of {path}, rows counted from 0; "
                    "choose others with columns=, or take one out with label="
                )
            first += batch.num_rows
    except pa.ArrowInvalid:
        return  # not the cells but the lines are at fault, and the first reading said how


def _labels(column: pa.Array) -> np.ndarray:
    labels = column.to_numpy(zero_copy_only=False)
    return labels.astype(str) if labels.dtype == object else labels


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
