"""Tables in text files, which say neither what their columns hold nor whether they have a header."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tfae.datasets import defects
from tfae.datasets.cells import MISSING, write_plainly
from tfae.datasets.dialect import DELIMITERS, Dialect, encoding_error, find_dialect
from tfae.datasets.joined_tables import open_files
from tfae.datasets.source import Source
from tfae.datasets.table_files import COMPRESSED, TableFiles
from tfae.datasets.tables import DEFECT, Table
from tfae.load_options import ReadOptions

#: How the words for what is missing are written.
_SPELLINGS = sorted({spell(word) for word in (*MISSING, "NaN", "NaT") for spell in (str, str.upper, str.capitalize)})
#: Arrow drops white space around numbers only after it has looked for those.
_SPELLINGS += [f" {word}" for word in _SPELLINGS]

#: Bytes of text that are parsed at once.
_PIECE = 2**23


def from_csv(files: TableFiles, options: ReadOptions) -> Source:
    """Open text files; numbers are float64, for text has no dtype."""
    return open_files(files, options, functools.partial(_open, options))


def _open(options: ReadOptions, path: Path) -> Table:
    dialect = find_dialect(path, options)
    return Table(
        where=repr(str(path)),
        names=dialect.names,
        kinds=dict(zip(dialect.names, dialect.kinds, strict=True)),
        record_batches=_TextRows(path, dialect, tuple(options.missing or ())),
        max_rows=None if path.suffix in COMPRESSED else path.stat().st_size // (2 * len(dialect.names)) + 1,
        has_header=dialect.has_header,
    )


@final
@dataclass(frozen=True)
class _TextRows:
    """The rows of a text file, whose columns are read as what their kind says; ``missing`` cells have no value."""

    path: Path
    dialect: Dialect
    missing: tuple[str, ...]

    def __call__(self, kinds: Mapping[str, str], is_tolerant: bool) -> Iterator[pa.RecordBatch]:
        """Yield the rows; with numbers as texts from where one of them is none."""
        dialect, path = self.dialect, self.path
        arrow = {"number": pa.string() if dialect.thousands else pa.float64(), "yes/no": pa.bool_()}
        types = {name: arrow.get(kind, pa.string()) for name, kind in kinds.items()}
        lines = _OddLines(1 + self._reads_header, are_left_out=is_tolerant)
        num_rows = 0
        try:
            for batch in self._record_batches(types, lines if is_tolerant else None):
                num_rows += len(batch)
                yield _finish(batch, kinds, dialect)
        except UnicodeDecodeError:
            raise encoding_error(path) from None
        except pa.ArrowInvalid as error:
            if "UTF8" in str(error) or "UTF-8" in str(error):
                raise encoding_error(path) from None
            lines = _OddLines(1 + self._reads_header, are_left_out=is_tolerant)
            try:  # Once more with numbers as texts, for all that can tell which of them are none.
                for batch in self._record_batches(dict.fromkeys(types, pa.string()), lines):
                    rest = batch.slice(max(0, num_rows))
                    num_rows -= len(batch)
                    yield _finish(rest, kinds, dialect)
            except pa.ArrowInvalid:  # Not the cells but the lines are at fault.
                raise _line_error(error, lines, dialect, path) from None

    @property
    def _reads_header(self) -> bool:
        """Whether Arrow reads the header itself, and calls the columns what is written there."""
        return self.dialect.is_plain and self.dialect.has_header

    def _record_batches(self, types: Mapping[str, pa.DataType], lines: _OddLines | None) -> Iterator[pa.RecordBatch]:
        dialect, names, reads_header = self.dialect, self.dialect.names, self._reads_header
        stored = dict(zip(names, dialect.stored_names if reads_header else names, strict=True))
        parse = pyarrow.csv.ParseOptions(
            delimiter=dialect.delimiter,
            newlines_in_values=dialect.has_line_breaks,
            invalid_row_handler=None if lines is None else lines.add,
        )
        convert = pyarrow.csv.ConvertOptions(
            column_types={stored[name]: kind for name, kind in types.items()},
            include_columns=[stored[name] for name in types],
            null_values=[*_SPELLINGS, *self.missing],
            decimal_point=dialect.decimal,
        )
        with dialect.open(self.path) as file:
            if lines is None and not dialect.has_line_breaks:

                def tables() -> Iterator[pa.Table]:
                    reading = pyarrow.csv.ReadOptions(column_names=None if reads_header else names)
                    for piece in _cut(file):
                        yield pyarrow.csv.read_csv(piece, reading, parse, convert)
                        reading = pyarrow.csv.ReadOptions(column_names=list(stored.values()))

                for table in _read_ahead(tables()):
                    yield from table.rename_columns(list(types)).to_batches()
                return
            # Which line it is, is known in one thread alone.
            reading = pyarrow.csv.ReadOptions(column_names=None if reads_header else names, use_threads=lines is None)
            with pyarrow.csv.open_csv(file, reading, parse, convert) as reader:
                # Behind the last batch there may be lines that are left out.
                last = pa.RecordBatch.from_pylist([], reader.schema)
                for batch in itertools.chain(reader, [last]):
                    batch = batch.rename_columns(list(types))
                    yield from lines.put_back(batch) if lines is not None and lines.are_left_out else [batch]


def _cut(file: pa.NativeFile) -> Iterator[pa.Buffer]:
    """Yield a text in pieces of whole lines: Arrow parses what is in memory in all threads, and a stream in one."""
    rest = b""
    while block := file.read(_PIECE):
        end = block.rfind(b"\n") + 1
        if end and not (piece := rest + block[:end]).isspace():
            yield pa.py_buffer(piece)
        rest = block[end:] if end else rest + block
    if rest and not rest.isspace():
        yield pa.py_buffer(rest)


def _read_ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables, and have the next one read meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = thread.submit(next, tables, None)
            yield table


def _finish(batch: pa.RecordBatch, kinds: Mapping[str, str], dialect: Dialect) -> pa.RecordBatch:
    """Write numbers that are texts as Arrow does, and make nothing of labels that are empty."""
    columns = list(batch.columns)
    for index, kind in enumerate(kinds.values()):
        if kind == "label":
            columns[index] = pc.if_else(pc.equal(columns[index], ""), None, columns[index])
        elif kind == "number" and pa.types.is_string(columns[index].type):
            columns[index] = write_plainly(columns[index], dialect.decimal, dialect.thousands)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _line_error(error: Exception, lines: _OddLines, dialect: Dialect, path: Path) -> ValueError:
    """What is said of a line that is no row of the table."""
    received = f"{str(path)!r}: {defects.reason(error)}"
    remedy = 'If it is another sign, say which: delimiter=";".'
    if lines.last is not None:
        row, text, num_cells = lines.last
        received = f"{num_cells} in row {row} of {str(path)!r}, {text[:80]!r} (rows count from 0)"
        if (sign := text.lstrip()[:1]) in ("#", "%"):
            remedy = f"If such lines are comments, say so: comment={sign!r}."
        else:
            remedy = f"Correct or remove the line; a cell that holds the sign stands in quotes. {remedy}"
    separator = DELIMITERS.get(dialect.delimiter, repr(dialect.delimiter))
    return ValueError(
        f"source: expected a table whose cells are separated by {separator}, {len(dialect.names)} in each row; "
        f"received {received}. {remedy}"
    )


class _OddLines:
    """Lines with another number of cells than the header; ``first`` is the number of the first row, as Arrow counts."""

    def __init__(self, first: int, *, are_left_out: bool) -> None:
        self.are_left_out = are_left_out
        self.last: tuple[int, str, int] | None = None  # Row, text and number of cells.
        self._first, self._num_rows = first, 0
        self._found: dict[int, str] = {}

    def add(self, line: pyarrow.csv.InvalidRow) -> str:
        """Take in a line; Arrow's handler."""
        row = line.number - self._first
        self.last = row, line.text, line.actual_columns
        self._found[row] = f"{line.actual_columns} cells in place of {line.expected_columns}"
        return "skip" if self.are_left_out else "error"

    def put_back(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Yield a batch with the lines that were left out before or among its rows, as rows without values."""
        fields = [*batch.schema, pa.field(DEFECT, pa.string())]
        batch = pa.RecordBatch.from_arrays(
            [*batch.columns, pa.nulls(len(batch), pa.string())], schema=pa.schema(fields)
        )
        for row in sorted(self._found):
            num_before = row - self._num_rows
            if num_before > len(batch):
                break
            values = [pa.nulls(1, field.type) for field in fields[:-1]] + [pa.array([self._found.pop(row)])]
            yield batch.slice(0, num_before)
            yield pa.RecordBatch.from_arrays(values, schema=batch.schema)
            batch = batch.slice(num_before)
            self._num_rows = row + 1
        self._num_rows += len(batch)
        yield batch
