"""Tables: .parquet files, and data frames that speak Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from tfae.datasets import defects
from tfae.datasets.columns import chosen
from tfae.datasets.source import Batch, Part, Source, rebatch
from tfae.preprocessing import declared_range

Opener = Callable[[], Iterable[pa.RecordBatch]]


class TablePart(Part):
    """Rows of a table, streamed.

    Args:
        record_batches: Opens the table anew, each time it is called.
        where: What holds the table, for errors.
        feature_names: The columns that are x, in this order.
        label: The column that is the label, or None.
        dtype: That all columns of x are converted to.
        num_samples: The number of rows where it is known.
        max_samples: What it can be at most where it is not.
    """

    def __init__(
        self,
        record_batches: Opener,
        where: str,
        feature_names: tuple[str, ...],
        label: str | None,
        dtype: np.dtype,
        num_samples: int | None,
        max_samples: int | None = None,
    ) -> None:
        self.num_samples = num_samples
        self.max_samples = max_samples
        self.feature_names = feature_names
        self._record_batches = record_batches
        self._where = where
        self._label = label
        self._dtype = dtype

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield rows in blocks of ``size``, whatever the blocks of the file are."""
        return rebatch(self._stored_blocks(), size)

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

    def _stored_blocks(self) -> Iterator[Batch]:
        first, self.first_empty = 0, None
        for batch in self._record_batches():
            # An empty cell becomes NaN, and is refused as such.
            has_empty = any(batch.column(name).null_count for name in self.feature_names or ())
            dtype = np.result_type(self._dtype, np.float64) if has_empty else self._dtype
            samples = np.empty((batch.num_rows, len(self.feature_names or ())), dtype)
            empty: list[tuple[int, int]] = []
            for index, name in enumerate(self.feature_names or ()):
                column = batch.column(name)
                if column.null_count:
                    empty.append((first + pc.index(pc.is_null(column), True).as_py(), index))
                    column = pc.cast(column, pa.float64())
                samples[:, index] = column.to_numpy(zero_copy_only=False)
            if empty and self.first_empty is None:
                self.first_empty = min(empty)
            yield samples, None if self._label is None else _labels(batch.column(self._label))
            first += batch.num_rows
        if first == 0:
            below = " below its header" if self.num_samples is None else ""  # It is a .csv file.
            raise ValueError(f"source: expected a table with rows; received {self._where}, which holds none{below}.")


def from_parquet(path: Path, *, columns: Sequence[int | str] | None = None, label: str | None = None) -> Source:
    """Open a .parquet file; the columns are converted to the one NumPy dtype that holds them all."""
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, num_rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(
            f"source: expected a .parquet file; received {str(path)!r}: {defects.reason(error)}."
        ) from None
    features = chosen(_names(schema), columns, label, repr(str(path)))

    def record_batches() -> Iterator[pa.RecordBatch]:
        # Otherwise whole columns of a row group are in memory, and these can be as large as the file.
        with pyarrow.parquet.ParquetFile(path, buffer_size=2**16, pre_buffer=False) as file:
            columns = [*features, *([] if label is None else [label])]
            yield from file.iter_batches(max(1, min(2**16, 2**20 // len(columns))), columns=columns)

    dtype = _common_dtype(schema, features, repr(str(path)))
    return source_of(path.stem, record_batches, repr(str(path)), features, label, dtype, num_rows)


def from_frame(frame: Any, *, columns: Sequence[int | str] | None = None, label: str | None = None) -> Source:
    """Open a data frame of pandas, polars or pyarrow, or of any library that exports Arrow streams."""
    try:
        table = pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:  # columns of mixed types, or a series
        raise ValueError(
            f"source: expected a data frame; received {type(frame).__name__}: {defects.reason(error)}."
        ) from None
    where = "the data frame"
    features = chosen(_names(table.schema), columns, label, where)
    dtype = _common_dtype(table.schema, features, where)
    return source_of("table", table.to_batches, where, features, label, dtype, table.num_rows)


def source_of(
    name: str,
    record_batches: Opener,
    where: str,
    features: tuple[str, ...],
    label: str | None,
    dtype: np.dtype,
    num_rows: int | None,
    max_rows: int | None = None,
) -> Source:
    """Return the source of a table; the arguments are those of ``TablePart``."""
    return Source(
        name=name,
        kind="table",
        shape=(len(features),),
        dtype=dtype.name,
        parts={"all": TablePart(record_batches, where, features, label, dtype, num_rows, max_rows)},
        feature_names=features,
        value_range=declared_range("table", dtype),
    )


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
            "Choose others with columns=, or take one out with label=."
        )
    return np.result_type(*(pa.array([], kind).to_numpy(zero_copy_only=False).dtype for kind in types.values()))


def _labels(column: pa.Array) -> np.ndarray:
    if column.null_count:
        labels = np.empty(len(column), object)
        labels[:] = column.to_pylist()
        return labels
    labels = column.to_numpy(zero_copy_only=False)
    return labels.astype(str) if labels.dtype == object else labels
