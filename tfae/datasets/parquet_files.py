"""Tables that say what their columns hold: .parquet files, and data frames that speak Arrow."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tfae.datasets import defects
from tfae.datasets.columns import kind_of
from tfae.datasets.joined_tables import join, open_files
from tfae.datasets.source import Source
from tfae.datasets.table_files import TableFiles
from tfae.datasets.tables import RecordBatches, Table
from tfae.load_options import ReadOptions

#: Rows that are worth a piece of their own.
PIECE = 2**16


def from_parquet(files: TableFiles, options: ReadOptions) -> Source:
    """Open .parquet files; the columns are converted to the one NumPy dtype that holds them all."""
    return open_files(files, options, _open)


def from_frame(frame: Any, options: ReadOptions) -> Source:
    """Open a data frame of pandas, polars or pyarrow, or of any library that exports Arrow streams."""
    try:
        table = pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:  # columns of mixed types, or a series
        raise ValueError(
            f"source: expected a data frame; received {type(frame).__name__}: {defects.reason(error)}."
        ) from None
    where = "the data frame"
    opened = _table(table.schema, where, table.num_rows, lambda asked, _: table.select(list(asked)).to_batches())
    return Source("table", join({"all": [opened]}, options, where))


def _open(path: Path) -> Table:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"source: expected a .parquet file; received {str(path)!r}: {defects.reason(error)}."
        ) from None
    read = functools.partial(_record_batches, path, None)
    return _table(schema, repr(str(path)), sum(sizes), read, functools.partial(_cut, path, sizes))


def _record_batches(
    path: Path, groups: Sequence[int] | None, asked: Iterable[str], is_tolerant: bool
) -> Iterator[pa.RecordBatch]:
    names = list(asked)
    # Otherwise whole columns of a row group are in memory, and these can be as large as the file.
    try:
        with pyarrow.parquet.ParquetFile(
            path, buffer_size=2**16, pre_buffer=False, page_checksum_verification=True
        ) as file:
            yield from file.iter_batches(max(1, min(2**16, 2**20 // len(names))), row_groups=groups, columns=names)
    except OSError as error:
        raise ValueError(
            f"source: expected a .parquet file; received {str(path)!r}, which is damaged: {defects.reason(error)}."
        ) from None


def _cut(path: Path, sizes: Sequence[int]) -> Iterator[tuple[int, RecordBatches]]:
    """Yield pieces of as many row groups as hold ``PIECE`` rows."""
    first, begin, num_rows = 0, 0, 0
    for stop, size in enumerate(sizes, 1):
        num_rows += size
        if num_rows and (num_rows >= PIECE or stop == len(sizes)):
            yield first, functools.partial(_record_batches, path, range(begin, stop))
            first, begin, num_rows = first + num_rows, stop, 0


def _table(schema: pa.Schema, where: str, num_rows: int, record_batches: RecordBatches, cut: Any = None) -> Table:
    # Without those that pandas keeps its index in.
    index = (schema.pandas_metadata or {}).get("index_columns", ())
    names = [name for name in schema.names if name not in index]
    types = dict(zip(schema.names, schema.types, strict=True))
    return Table(
        where=where,
        names=names,
        kinds={name: kind_of(types[name]) for name in names},
        types=types,
        num_rows=num_rows,
        record_batches=record_batches,
        cut=cut,
        is_file=cut is not None,
    )
