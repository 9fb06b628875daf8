"""Tables in .tfrecord files, each record of which is a tf.train.Example."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import tensorflow as tf
from google.protobuf.message import DecodeError

from tfae.datasets.columns import kind_of, validate_distinct
from tfae.datasets.joined_tables import open_files
from tfae.datasets.source import Source
from tfae.datasets.table_files import TableFiles
from tfae.datasets.tables import DEFECT, Table
from tfae.graph_messages import summarize
from tfae.load_options import ReadOptions

#: Records that tell which features there are: a file of TFRecord has no schema.
SCHEMA_RECORDS = 1000
_BLOCK = 4096
#: Bytes of a record beside what it holds.
_FRAME = 16
_BYTES = "bytes"
_GZIP = b"\x1f\x8b\x08"
_TYPES = {
    "float_list": (tf.float32, pa.float32()),
    "int64_list": (tf.int64, pa.int64()),
    "bytes_list": (tf.string, pa.string()),
}


def from_tfrecord(files: TableFiles, options: ReadOptions) -> Source:
    """Open .tfrecord files; a feature that an Example lacks, or has no value of, is a missing cell."""
    found = {path: _find_features(path) for path in files.paths}
    # A shard without records says nothing of its columns either.
    parts = {name: [path for path in paths if found[path]] for name, paths in files.parts.items()}
    for name, paths in files.parts.items():
        if not parts[name]:
            raise ValueError(
                f"source: expected records that are tf.train.Example; received {str(paths[0])!r}, which holds none. "
                "Images of TensorFlow Datasets have a name and data_dir=."
            )
    return open_files(dataclasses.replace(files, parts=parts), options, lambda path: _table(path, found[path]))


@final
@dataclass(frozen=True)
class _Feature:
    """What Examples hold under a name.

    Attributes:
        stored: The list of an Example that its values are in.
        length: How many values there are where there are some; None if that varies.
        kind: What it is called if it is nothing that a column of x can hold, else None.
    """

    name: str
    stored: str
    length: int | None
    kind: str | None

    @property
    def columns(self) -> list[str]:
        """Their names, one for each value."""
        if self.length in (None, 1):
            return [self.name]
        return [f"{self.name}[{place}]" for place in range(self.length or 0)]

    @property
    def arrow_type(self) -> pa.DataType:
        """That of each column."""
        dtype = pa.binary() if self.kind == _BYTES else _TYPES[self.stored][1]
        return dtype if self.length else pa.list_(dtype)

    def split(self, values: np.ndarray, ends: np.ndarray) -> list[pa.Array]:
        """Return the columns of values whose rows end there; ValueError if a row is unlike the others."""
        cells = pa.array(values, pa.binary() if self.stored == "bytes_list" else None)
        if self.stored == "bytes_list" and self.kind != _BYTES:
            try:
                cells = cells.cast(pa.string())
            except pa.ArrowInvalid:
                raise ValueError(f"bytes that are no UTF-8 in {self.name!r}") from None
        if self.length is None:
            return [pa.ListArray.from_arrays(pa.array(ends, pa.int32()), cells)]
        lengths = np.diff(ends)
        is_empty = lengths == 0
        if (odd := lengths[~is_empty & (lengths != self.length)]).size:
            raise ValueError(f"{odd[0]} values in {self.name!r}, where there are {self.length} before")
        return [cells.take(pa.array(ends[:-1] + place, mask=is_empty)) for place in range(self.length)]


def _find_features(path: Path) -> list[_Feature]:
    """Return those of the first records, sorted; none where there is no Example."""
    lists: dict[str, list[tuple[str, Any]]] = {}
    for record in next(_read_records(path, SCHEMA_RECORDS), ()):
        with contextlib.suppress(DecodeError):  # What it is then, is said where it is read.
            if tf.train.SequenceExample.FromString(
                record
            ).feature_lists.feature_list:  # Whose context is as an Example.
                raise ValueError(
                    "source: expected records that are tf.train.Example, with one row each; received "
                    f"{str(path)!r}, which holds tf.train.SequenceExample. Write a record for each step, and its "
                    "sequence in a column for group=."
                )
            for name, feature in tf.train.Example.FromString(record).features.feature.items():
                if (stored := feature.WhichOneof("kind")) and (values := getattr(feature, stored).value):
                    lists.setdefault(name, []).append((stored, values))
    features = []
    for name, found in sorted(lists.items()):
        lengths = sorted({len(values) for _, values in found})
        kind = None if len(lengths) == 1 else f"lists of {lengths[0]} to {lengths[-1]} values"
        stored = found[0][0]
        if stored == "bytes_list":
            try:
                b"\n".join(value for held, values in found if held == stored for value in values).decode()
            except UnicodeDecodeError:
                kind = _BYTES
        features.append(_Feature(name, stored, lengths[0] if len(lengths) == 1 else None, kind))
    return features


def _table(path: Path, features: Sequence[_Feature]) -> Table:
    owners = {column: feature for feature in features for column in feature.columns}
    # "x" with two values has a column "x[0]", which may be the name of another feature.
    validate_distinct([column for feature in features for column in feature.columns], repr(str(path)))
    types = {column: feature.arrow_type for column, feature in owners.items()}
    return Table(
        where=repr(str(path)),
        names=list(owners),
        kinds={column: owners[column].kind or kind_of(dtype) for column, dtype in types.items()},
        types=types,
        record_batches=_Examples(path, owners),
        max_rows=None if _is_compressed(path) else path.stat().st_size // _FRAME,
    )


@final
@dataclass(frozen=True)
class _Examples:
    """The rows of a file; ``owners`` are the features that columns are of."""

    path: Path
    owners: Mapping[str, _Feature]

    def __call__(self, asked: Iterable[str], is_tolerant: bool) -> Iterator[pa.RecordBatch]:
        """Yield the rows; one that can not be read is an error, or has no values and says why."""
        names, first = list(asked), 0
        for records in _read_records(self.path, _BLOCK):
            for rows in self._read(records, names, first, is_tolerant):
                yield rows
                first += len(rows)

    def _read(self, records: np.ndarray, names: list[str], first: int, is_tolerant: bool) -> Iterator[pa.RecordBatch]:
        """Yield the rows of records: by halves, until what can not be read is alone."""
        try:
            yield self._parse(records, names)
        except ValueError as error:
            if len(records) > 1:
                half = len(records) // 2
                yield from self._read(records[:half], names, first, is_tolerant)
                yield from self._read(records[half:], names, first + half, is_tolerant)
            elif is_tolerant:
                cells = [self._parse_cell(records, name) for name in names]
                yield pa.RecordBatch.from_arrays([*cells, pa.array([str(error)])], names=[*names, DEFECT])
            else:
                raise ValueError(
                    f"source: expected records like the first ones of the file; received {error} in row {first} of "
                    f"{str(self.path)!r} (rows count from 0)."
                ) from None

    def _parse_cell(self, records: np.ndarray, name: str) -> pa.Array:
        """Return what a record has in one column; missing where that can not be read."""
        try:
            return self._parse(records, [name]).column(0)
        except ValueError:
            return pa.nulls(1, self.owners[name].arrow_type)

    def _parse(self, records: np.ndarray, names: list[str]) -> pa.RecordBatch:
        """Return the rows of records, or raise ValueError that says what is received."""
        features = {self.owners[name].name: self.owners[name] for name in names}
        asked = {
            name: tf.io.RaggedFeature(_TYPES[feature.stored][0], row_splits_dtype=tf.int64)
            for name, feature in features.items()
        }
        try:
            parsed = tf.io.parse_example(records, asked)
        except tf.errors.InvalidArgumentError as error:
            found = re.search(r"Key: (.*), Index: .*Expected type: (\w+), Actual type: (\w+)", error.message)
            if found is None:
                raise ValueError("what is no tf.train.Example") from None
            name, expected, received = found.groups()
            raise ValueError(f"{received} in {name!r}, where {expected} is expected") from None
        cells: dict[str, pa.Array] = {}
        for name, feature in features.items():
            split = feature.split(parsed[name].flat_values.numpy(), parsed[name].row_splits.numpy())
            cells |= zip(feature.columns, split, strict=True)
        return pa.RecordBatch.from_arrays([cells[name] for name in names], names=names)


def _read_records(path: Path, size: int) -> Iterator[np.ndarray]:
    """Yield the records of a file, ``(size,)`` bytes at a time; ValueError if it is damaged."""
    records = tf.data.TFRecordDataset(str(path), "GZIP" if _is_compressed(path) else "")
    try:
        yield from records.batch(size).as_numpy_iterator()
    except (tf.errors.DataLossError, tf.errors.OpError) as error:
        raise ValueError(
            f"source: expected a .tfrecord file; received {str(path)!r}, which is damaged: {summarize(error)}."
        ) from None


def _is_compressed(path: Path) -> bool:
    """Whether a file begins as those of gzip do, whatever it is called."""
    with path.open("rb") as file:
        return file.read(len(_GZIP)) == _GZIP
