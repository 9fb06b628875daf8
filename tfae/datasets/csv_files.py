"""Tables in text files, which say neither what their columns hold nor whether they have a header."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tfae.datasets import defects
from tfae.datasets.cells import MISSING
from tfae.datasets.columns import choose_features
from tfae.datasets.dialect import DELIMITERS, encoding_error, find_dialect
from tfae.datasets.kinds import find_columns
from tfae.datasets.source import Source
from tfae.datasets.tables import DEFECT, TablePart
from tfae.load_options import ReadOptions

#: How the words for what is missing are written.
_SPELLINGS = sorted({spell(word) for word in (*MISSING, "NaN", "NaT") for spell in (str, str.upper, str.capitalize)})
#: Arrow drops white space around numbers only after it has looked for those.
_SPELLINGS += [f" {word}" for word in _SPELLINGS]


def from_csv(path: Path, options: ReadOptions) -> Source:
    """Open a text file; numbers are float64, for text has no dtype.

    Without ``options.header``, the first row is one unless all of it are numbers.
    """
    dialect = find_dialect(path, options)
    names = dialect.names
    if not dialect.has_header:
        options = options.by_position()
    features = choose_features(names, options, repr(str(path)))
    columns = find_columns(dict(zip(names, dialect.kinds, strict=True)), features, options, repr(str(path)))
    kinds = {column.name: column.kind for column in columns}
    # What Arrow calls the columns, where it reads the header itself.
    reads_header = dialect.is_plain and dialect.has_header
    stored = dict(zip(names, dialect.stored_names if reads_header else names, strict=True))

    def record_batches(types: dict[str, pa.DataType], is_tolerant: bool) -> Iterator[pa.RecordBatch]:
        lines = _OddLines(1 + reads_header)
        with (
            dialect.open(path) as file,
            pyarrow.csv.open_csv(
                file,
                # The number of a line is known in one thread alone.
                read_options=pyarrow.csv.ReadOptions(
                    column_names=None if reads_header else names, use_threads=not is_tolerant
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    newlines_in_values=dialect.has_line_breaks,
                    invalid_row_handler=lines.skip if is_tolerant else None,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={stored[name]: kind for name, kind in types.items()},
                    include_columns=[stored[name] for name in types],
                    null_values=[*_SPELLINGS, *(options.missing or ())],
                    decimal_point=dialect.decimal,
                ),
            ) as reader,
        ):
            last = pa.RecordBatch.from_pylist([], reader.schema)  # Behind which there may be lines that are left out.
            for batch in itertools.chain(reader, [last] if is_tolerant else ()):
                batch = batch.rename_columns(list(types))
                if options.label in types:
                    labels = batch.column(options.label)
                    place = batch.schema.get_field_index(options.label)
                    batch = batch.set_column(place, options.label, pc.if_else(pc.equal(labels, ""), None, labels))
                yield from lines.put_back(batch) if is_tolerant else [batch]

    def typed(names: Sequence[str], is_tolerant: bool) -> Iterator[pa.RecordBatch]:
        arrow = {"number": pa.string() if dialect.thousands else pa.float64(), "yes/no": pa.bool_()}
        types = {name: arrow.get(kinds.get(name, ""), pa.string()) for name in names}
        num_rows = 0
        try:
            for batch in record_batches(types, is_tolerant):
                num_rows += len(batch)
                yield batch
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error) or "UTF-8" in str(error):
                raise encoding_error(path) from None
            try:  # Once more with numbers as texts, for all that can tell which of them are none.
                for batch in record_batches(dict.fromkeys(types, pa.string()), is_tolerant):
                    rest = batch.slice(max(0, num_rows))
                    num_rows -= len(batch)
                    yield rest
            except pa.ArrowInvalid:  # Not the cells but the lines are at fault, and Arrow has said how.
                separator = DELIMITERS.get(dialect.delimiter, repr(dialect.delimiter))
                remedy = 'If it is another sign, say which: delimiter=";".'
                if found := re.search(r"got 1: ([#%])", str(error)):
                    remedy = f"If such lines are comments, say so: comment={found[1]!r}."
                raise ValueError(
                    f"source: expected a table whose cells are separated by {separator}; received {str(path)!r}: "
                    f"{defects.reason(error)}. {remedy}"
                ) from None

    part = TablePart(
        shape=(len(columns),),
        dtype=np.dtype(np.float64),
        max_samples=None if path.suffix in (".gz", ".bz2") else path.stat().st_size // (2 * len(columns)) + 1,
        found_columns=columns,
        record_batches=typed,
        names=names,
        where=repr(str(path)),
        options=options,
        signs=(dialect.decimal, dialect.thousands),
    )
    return Source(path.name.split(".")[0], {"all": part})


class _OddLines:
    """Lines with another number of cells than the others, which Arrow leaves out."""

    def __init__(self, first: int) -> None:
        self._first, self._num_rows = first, 0  # Of the lines that Arrow counts from 1; given so far.
        self._found: dict[int, str] = {}

    def skip(self, line: pyarrow.csv.InvalidRow) -> str:
        """Take in a line; Arrow's handler."""
        self._found[line.number - self._first] = f"{line.actual_columns} cells in place of {line.expected_columns}"
        return "skip"

    def put_back(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Yield a batch with the lines that were left out before or among its rows, as rows without values."""
        fields = [*batch.schema, pa.field(DEFECT, pa.string())]
        batch = pa.RecordBatch.from_arrays(
            [*batch.columns, pa.nulls(len(batch), pa.string())], schema=pa.schema(fields)
        )
        for place in sorted(self._found):
            num_before = place - self._num_rows
            if num_before > len(batch):
                break
            values = [pa.nulls(1, field.type) for field in fields[:-1]] + [pa.array([self._found.pop(place)])]
            yield batch.slice(0, num_before)
            yield pa.RecordBatch.from_arrays(values, schema=batch.schema)
            batch = batch.slice(num_before)
            self._num_rows = place + 1
        self._num_rows += len(batch)
        yield batch
