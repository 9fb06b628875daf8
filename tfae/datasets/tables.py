"""Tables: .parquet files, and data frames that speak Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from tfae.datasets import defects
from tfae.datasets.columns import choose_features
from tfae.datasets.source import Batch, Part, Source


@final
@dataclass(kw_only=True, eq=False, repr=False)
class TablePart(Part):
    """Rows of a table, streamed.

    Attributes:
        record_batches: Opens the table anew, each time it is called.
        where: What holds the table, for errors.
        feature_names: The columns that are x, in this order.
        label: The column that is the label, or None.
    """

    record_batches: Callable[[], Iterable[pa.RecordBatch]]
    where: str
    feature_names: tuple[str, ...]
    label: str | None

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield rows in blocks of ``size``, whatever the blocks of the file are; an empty cell becomes NaN."""
        first, self.first_empty = 0, None
        for batch in _rebatch(self.record_batches(), size):
            columns = [batch.column(name) for name in self.feature_names]
            empty = [
                (first + pc.index(pc.is_null(column), True).as_py(), index)
                for index, column in enumerate(columns)
                if column.null_count
            ]
            if empty and self.first_empty is None:
                self.first_empty = min(empty)
            samples = np.empty(
                (len(batch), *self.shape), np.result_type(self.dtype, np.float64) if empty else self.dtype
            )
            for index, column in enumerate(columns):
                column = pc.cast(column, pa.float64()) if column.null_count else column
                samples[:, index] = column.to_numpy(zero_copy_only=False)
            yield samples, None if self.label is None else _labels(batch.column(self.label))
            first += len(batch)
        if first == 0:
            below = " below its header" if self.num_samples is None else ""  # It is a .csv file.
            raise ValueError(f"source: expected a table with rows; received {self.where}, which holds none{below}.")

    def whole_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return labels that are all numbers as numbers: a .csv file has no types."""
        is_missing = np.array([label is None for label in labels], bool)
        present = labels[~is_missing]
        if not all(isinstance(label, str) for label in present):
            return labels
        for dtype in (np.int64, np.float64):
            try:
                numbers = present.astype(str).astype(dtype)
            except ValueError:
                continue
            if not is_missing.any():
                return numbers
            converted = np.full(labels.shape, None, object)
            converted[~is_missing] = numbers
            return converted
        return labels


def from_parquet(
    path: Path,
    *,
    columns: Sequence[int | str] | None = None,
    label: str | None = None,
    drop: Sequence[int | str] | None = None,
) -> Source:
    """Open a .parquet file; the columns are converted to the one NumPy dtype that holds them all."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, num_rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"source: expected a .parquet file; received {str(path)!r}: {defects.reason(error)}."
        ) from None
    where = repr(str(path))
    features = choose_features(_names(schema), columns, label, where, drop=drop)

    def record_batches() -> Iterator[pa.RecordBatch]:
        # Otherwise whole columns of a row group are in memory, and these can be as large as the file.
        with pyarrow.parquet.ParquetFile(path, buffer_size=2**16, pre_buffer=False) as file:
            columns = [*features, *([] if label is None else [label])]
            yield from file.iter_batches(max(1, min(2**16, 2**20 // len(columns))), columns=columns)

    part = TablePart(
        shape=(len(features),),
        dtype=_common_dtype(schema, features, where),
        num_samples=num_rows,
        feature_names=features,
        record_batches=record_batches,
        where=where,
        label=label,
    )
    return Source(path.stem, {"all": part})


def from_frame(
    frame: Any,
    *,
    columns: Sequence[int | str] | None = None,
    label: str | None = None,
    drop: Sequence[int | str] | None = None,
) -> Source:
    """Open a data frame of pandas, polars or pyarrow, or of any library that exports Arrow streams."""
    try:
        table = pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:  # columns of mixed types, or a series
        raise ValueError(
            f"source: expected a data frame; received {type(frame).__name__}: {defects.reason(error)}."
        ) from None
    where = "the data frame"
    features = choose_features(_names(table.schema), columns, label, where, drop=drop)
    part = TablePart(
        shape=(len(features),),
        dtype=_common_dtype(table.schema, features, where),
        num_samples=table.num_rows,
        feature_names=features,
        record_batches=table.to_batches,
        where=where,
        label=label,
    )
    return Source("table", {"all": part})


def _rebatch(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of batches in batches of ``size``; only the last is smaller."""
    pending: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        pending = table if pending is None else pa.concat_tables([pending, table])
        while len(pending) >= size:
            yield from pending.slice(0, size).combine_chunks().to_batches()
            pending = pending.slice(size)
    if pending is not None and len(pending):
        yield from pending.combine_chunks().to_batches()


def _names(schema: pa.Schema) -> list[str]:
    """Return the names of the columns, without those that pandas keeps its index in."""
    index = (schema.pandas_metadata or {}).get("index_columns", ())
    return [name for name in schema.names if name not in index]


def _common_dtype(schema: pa.Schema, features: Sequence[str], where: str) -> np.dtype:
    types = {name: schema.field(name).type for name in features}
    others = [
        f"{name!r} ({kind})"
        for name, kind in types.items()
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
    ]
    if others:
        raise ValueError(
            f"source: expected numeric columns; received {', '.join(others)} in {where}. "
            "Choose others with columns=, or take one out with drop= or label=."
        )
    return np.result_type(*(pa.array([], kind).to_numpy(zero_copy_only=False).dtype for kind in types.values()))


def _labels(column: pa.Array) -> np.ndarray:
    if column.null_count:
        labels = np.empty(len(column), object)
        labels[:] = column.to_pylist()
        return labels
    labels = column.to_numpy(zero_copy_only=False)
    return labels.astype(str) if labels.dtype == object else labels
