"""Rows of a table, which become numbers as they are read."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfae.columns import REST_CODE, Column
from tfae.datasets.cells import MISSING, is_number, parse_numbers
from tfae.datasets.columns import is_text, kind_of, validate_known
from tfae.datasets.file_rows import FileRows
from tfae.datasets.source import Batch, Part
from tfae.load_options import ReadOptions

#: Categories of a column that are no error without ``max_categories``.
MAX_CATEGORIES = 100
#: What record batches call the column of text that says what is wrong with a row.
DEFECT = "\0defect"


RecordBatches = Callable[[Mapping[str, str], bool], Iterable[pa.RecordBatch]]


@final
@dataclass(frozen=True, kw_only=True)
class Table:
    """A table in one file, or a data frame.

    Attributes:
        where: What holds it, for errors.
        kinds: What is found in each column: "number", "yes/no", "text", "time", "missing" where there is nothing, or
            the name of another type.
        record_batches: Opens the table anew, and yields the columns that are asked for by name, as what their kind, or
            "label" or "kept", says; numbers as texts where some are none. If it is to be tolerant, a column ``DEFECT``
            may say which rows are none.
        cut: Yields what opens its pieces likewise, each with the row that it begins with; None where only the rows
            before tell which row is in the middle.
        is_file: Whether another process can open it, too.
        types: Those that Arrow stores the columns in; None for a text file, whose numbers are all float64.
        num_rows, max_rows: How many rows there are; or, where only reading tells, how many there can be at most.
        has_header: Whether the names are in the file.
        keys: Columns beside those in the file, in each of which all cells are the same.
    """

    where: str
    names: Sequence[str]
    kinds: Mapping[str, str]
    record_batches: RecordBatches
    cut: Callable[[], Iterable[tuple[int, RecordBatches]]] | None = None
    is_file: bool = True
    types: Mapping[str, pa.DataType] | None = None
    num_rows: int | None = None
    max_rows: int | None = None
    has_header: bool = True
    keys: Mapping[str, pa.Scalar] = dataclasses.field(default_factory=dict)

    def with_keys(self, keys: Mapping[str, pa.Scalar]) -> Table:
        """Return the table with keys."""
        types = {name: key.type for name, key in keys.items()}
        return dataclasses.replace(
            self,
            names=[*self.names, *keys],
            kinds={**self.kinds, **{name: kind_of(dtype) for name, dtype in types.items()}},
            types=None if self.types is None else {**self.types, **types},
            keys=keys,
        )


@final
@dataclass(kw_only=True, eq=False, repr=False)
class TablePart(Part):
    """Rows of tables, one after the other, streamed.

    Attributes:
        tables, file_rows: What the rows are read from, and which file each is from.
        where: What holds the tables, for errors.
        types: Of all columns that are in each table, as Arrow gives them; None in text files.
        found_columns: The columns that are x, in this order, read as ``options`` say.
        codes: Of the categories of each column that holds some, in the order in which they have come.
        is_closed: Whether other categories than those get the code of the rest.
    """

    tables: Sequence[Table]
    file_rows: FileRows
    where: str
    types: Mapping[str, pa.DataType | None]
    found_columns: tuple[Column, ...]
    options: ReadOptions
    codes: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    is_closed: bool = False

    def __post_init__(self) -> None:
        self.feature_names = tuple(column.name for column in self.found_columns)
        self.codes = {column.name: {} for column in self.found_columns if column.kind == "category"}
        self._missing = pa.array(["", *(self.options.missing or ())])
        self._missing_numbers = [float(text) for text in self.options.missing or () if is_number(text, ".", None)]
        if (self.options.gaps or self._missing_numbers) and self.dtype.kind != "f":
            self.dtype = np.dtype(np.float64)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the columns hold, and the categories that have been read so far."""
        return tuple(Column(c.name, c.kind, tuple(self.codes.get(c.name, ()))) for c in self.found_columns)

    def keep(self, names: Sequence[str]) -> None:
        """Carry columns along, beside the samples."""
        for name in names:
            validate_known("keep", name, list(self.types), self.where)
        self.kept_names = tuple(names)

    def name_sample(self, place: int) -> int | str:
        """Say which row of which file it is, counted from 0."""
        if self.sample_names is not None:
            return self.file_rows.describe(place)
        return f"row {place} of {self.where} (rows count from 0)"

    def use_vocabularies(self, columns: Sequence[Column]) -> None:
        """Give categories the codes that they have in other data; those that it has not get the code of the rest."""
        self.codes = {
            own.name: {text: code for code, text in enumerate(other.vocabulary)}
            for own, other in zip(self.found_columns, columns, strict=True)
        }
        self.is_closed = True

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield rows in blocks of ``size``, whatever the blocks of the file are; an empty cell becomes NaN."""
        first, label = 0, self.options.label
        read = [column.name for column in self.found_columns] + ([] if label is None else [label])
        read += [name for name in self.kept_names if name not in read]
        for batch in _rebatch(self._record_batches(read), size):
            columns = [self._clean(column, batch.column(column.name)) for column in self.found_columns]
            texts: dict[str, dict[int, str]] = {}
            for index, column in enumerate(self.found_columns):
                if column.kind != "category" and is_text(columns[index].type):
                    columns[index], texts[column.name] = parse_numbers(columns[index], column.kind)
            defects = self._find_defects(texts, first)
            if DEFECT in batch.schema.names:
                found = batch.column(DEFECT)
                defects |= {row: found[row].as_py() for row in np.flatnonzero(found.is_valid()).tolist()}
            has_gaps = any(column.null_count for column in columns)
            dtype = np.result_type(self.dtype, np.float64) if has_gaps else self.dtype
            samples = np.empty((len(batch), *self.shape), dtype)
            for index, (column, cells) in enumerate(zip(self.found_columns, columns, strict=True)):
                samples[:, index] = self._to_numbers(column, cells)
            if self._missing_numbers and dtype.kind == "f":
                is_number = np.array([column.kind == "number" for column in self.found_columns])
                samples[np.isin(samples, self._missing_numbers) & is_number] = np.nan
            # Numbers as such in all batches, even where texts among them came in this one.
            known = {column.name: cells for column, cells in zip(self.found_columns, columns, strict=True)}
            kept = {name: known[name] if name in texts else batch.column(name) for name in self.kept_names}
            kept = {
                name: cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells
                for name, cells in kept.items()
            }
            yield Batch(samples, None if label is None else _labels(batch.column(label)), kept, defects)
            first += len(batch)
        if first == 0 and not self.may_be_empty:
            below = " below its header" if self.num_samples is None else ""  # It is a text file.
            raise ValueError(f"source: expected a table with rows; received {self.where}, which holds none{below}.")

    def _record_batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield the columns of some names, of the same types in all batches."""
        kinds = {column.name: column.kind for column in self.found_columns} | {self.options.label: "label"}
        asked = {name: kinds.get(name, "kept") for name in names}

        def read(table: Table) -> Iterator[pa.RecordBatch]:
            stored = {name: kind for name, kind in asked.items() if name not in table.keys}
            # Without a column of the file there is no telling how many rows it has.
            for batch in table.record_batches(stored or {table.names[0]: "label"}, self.is_tolerant):
                found = dict(zip(batch.schema.names, batch.columns, strict=True))
                found |= {name: pa.repeat(key, len(batch)) for name, key in table.keys.items()}
                cells = {name: _cast(found[name], self.types[name], kind) for name, kind in asked.items()}
                yield pa.RecordBatch.from_pydict(cells | ({DEFECT: found[DEFECT]} if DEFECT in found else {}))

        return self.file_rows.join(map(read, self.tables))

    def _clean(self, column: Column, cells: pa.Array) -> pa.Array:
        """Texts without white space around them, in which what is missing is null; numbers as they are."""
        if column.kind != "category" and not is_text(cells.type):
            return cells
        texts = pc.utf8_trim_whitespace(_as_text(cells))
        is_missing = pc.is_in(texts, self._missing)
        if column.kind != "category":
            is_missing = pc.or_(is_missing, pc.is_in(pc.utf8_lower(texts), pa.array(MISSING)))
        return pc.if_else(is_missing, pa.scalar(None, pa.string()), texts)

    def _find_defects(self, texts: dict[str, dict[int, str]], first: int) -> dict[int, str]:
        """Say for each row of a block which texts are no numbers, or raise ValueError."""
        defects: dict[int, str] = {}
        for name, found in texts.items():
            for row, text in found.items():
                defects.setdefault(row, f"{text!r} in column {name!r}, where a number is expected")
        if not defects or self.is_tolerant:
            return defects
        first_texts = [(name, *next(iter(found.items()))) for name, found in texts.items() if found]
        where = self.where
        if self.sample_names is not None:  # Of several files, one is told.
            (name, row, text), *_ = first_texts
            file, row = self.file_rows.place(first + row)
            where, first, first_texts = repr(file), 0, [(name, row, text)]
        listed = ", ".join(f"{name!r} ({text!r} in row {first + row})" for name, row, text in first_texts)
        name, _, text = first_texts[0]
        raise ValueError(
            f"source: expected numbers; received text in {listed} of {where}, rows counted from 0. If it stands "
            f"for a missing value, missing=[{text!r}]; if the column holds categories, category=[{name!r}]; else leave "
            f"the column out, drop=[{name!r}]."
        )

    def _to_numbers(self, column: Column, cells: pa.Array) -> np.ndarray:
        if column.kind == "category":
            return self._encode(column.name, cells)
        if pa.types.is_decimal(cells.type) or cells.null_count:
            cells = pc.cast(cells, pa.float64())
        return cells.to_numpy(zero_copy_only=False)

    def _encode(self, name: str, texts: pa.Array) -> np.ndarray:
        """Return the code of each category, float64; NaN where it is missing."""
        encoded, codes = texts.dictionary_encode(), self.codes[name]
        if not self.is_closed:
            for text in encoded.dictionary.to_pylist():
                codes.setdefault(text, len(codes))
            if self.options.max_categories is None and len(codes) > MAX_CATEGORIES:
                listed = ", ".join(map(repr, list(codes)[:3]))
                raise ValueError(
                    f"source: expected numbers, or columns of at most {MAX_CATEGORIES} categories; received more in "
                    f"{name!r} of {self.where}, such as {listed}. Leave it out, drop=[{name!r}], or have the most "
                    f"frequent ones told apart and the rest not, max_categories={MAX_CATEGORIES}."
                )
        numbers = np.array([codes.get(text, REST_CODE) for text in encoded.dictionary.to_pylist()] + [np.nan])
        return numbers[pc.fill_null(encoded.indices, len(numbers) - 1).to_numpy(zero_copy_only=False)]

    def whole_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return labels that are all numbers as numbers: a text file has no types."""
        is_there = np.array([label is not None for label in labels], bool)
        if not all(isinstance(label, str) for label in labels[is_there]):
            return labels
        for dtype in (np.int64, np.float64):
            with contextlib.suppress(ValueError):
                numbers = np.full(labels.shape, None, object)
                numbers[is_there] = labels[is_there].astype(str).astype(dtype)
                return numbers.astype(dtype) if is_there.all() else numbers
        return labels


def _rebatch(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows of batches in batches of ``size``; only the last, and the last before texts come, is smaller."""
    pending: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch])
        if pending is not None and pending.schema != table.schema:
            yield from pending.combine_chunks().to_batches()
            pending = None
        pending = table if pending is None else pa.concat_tables([pending, table])
        while len(pending) >= size:
            yield from pending.slice(0, size).combine_chunks().to_batches()
            pending = pending.slice(size)
    if pending is not None and len(pending):
        yield from pending.combine_chunks().to_batches()


def _cast(cells: pa.Array, dtype: pa.DataType | None, kind: str) -> pa.Array:
    if dtype is None or cells.type == dtype:
        return cells
    return _as_text(cells) if kind == "category" else pc.cast(cells, dtype, safe=False)


def _as_text(cells: pa.Array) -> pa.Array:
    """Return what is written for categories that are numbers, true and false."""
    if pa.types.is_boolean(cells.type):
        return pc.if_else(cells, "true", "false")
    if pa.types.is_floating(cells.type):  # Codes that a gap has made floats: 8001, and not 8001.0.
        whole = pc.equal(cells, pc.floor(cells))
        return pc.if_else(
            whole, pc.cast(pc.cast(cells, pa.int64(), safe=False), pa.string()), pc.cast(cells, pa.string())
        )
    return pc.cast(cells, pa.string())


def _labels(column: pa.Array) -> np.ndarray:
    if pa.types.is_dictionary(column.type):
        column = _as_text(column)
    if column.null_count:
        labels = np.empty(len(column), object)
        labels[:] = column.to_pylist()
        return labels
    labels = column.to_numpy(zero_copy_only=False)
    return labels.astype(str) if labels.dtype == object else labels
