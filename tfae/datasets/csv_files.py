"""Tables in text files, which say neither what their columns hold nor whether they have a header."""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tfae.datasets import defects
from tfae.datasets.cells import MISSING
from tfae.datasets.dialect import DELIMITERS, Dialect, encoding_error, find_dialect
from tfae.datasets.joined_tables import Table, open_files
from tfae.datasets.source import Source
from tfae.datasets.table_files import COMPRESSED, TableFiles
from tfae.load_options import ReadOptions

#: How the words for what is missing are written.
_SPELLINGS = sorted({spell(word) for word in (*MISSING, "NaN", "NaT") for spell in (str, str.upper, str.capitalize)})
#: Arrow drops white space around numbers only after it has looked for those.
_SPELLINGS += [f" {word}" for word in _SPELLINGS]


def from_csv(files: TableFiles, options: ReadOptions) -> Source:
    """Open text files; numbers are float64, for text has no dtype.

    Without ``options.header``, the first row is one unless all of it are numbers.
    """
    return open_files(files, options, functools.partial(_open, options))


def _open(options: ReadOptions, path: Path, is_first: bool) -> Table:
    with warnings.catch_warnings():
        if not is_first:
            warnings.simplefilter("ignore")  # What is said of one is said of all.
        dialect = find_dialect(path, options)
    names = dialect.names
    # What Arrow calls the columns, where it reads the header itself.
    reads_header = dialect.is_plain and dialect.has_header
    stored = dict(zip(names, dialect.stored_names if reads_header else names, strict=True))

    def record_batches(types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        with (
            dialect.open(path) as file,
            pyarrow.csv.open_csv(
                file,
                read_options=pyarrow.csv.ReadOptions(column_names=None if reads_header else names),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=dialect.delimiter, newlines_in_values=dialect.has_line_breaks
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types={stored[name]: kind for name, kind in types.items()},
                    include_columns=[stored[name] for name in types],
                    null_values=[*_SPELLINGS, *(options.missing or ())],
                    decimal_point=dialect.decimal,
                ),
            ) as reader,
        ):
            for batch in reader:
                yield batch.rename_columns(list(types))

    def typed(kinds: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        number = pa.string() if dialect.thousands else pa.float64()
        types = {name: {"number": number, "yes/no": pa.bool_()}.get(kind, pa.string()) for name, kind in kinds.items()}
        try:
            for batch in record_batches(types):
                for index, name in enumerate(types):
                    if kinds[name] == "label":
                        labels = batch.column(index)
                        batch = batch.set_column(index, name, pc.if_else(pc.equal(labels, ""), None, labels))
                yield _without_thousands(batch, kinds, dialect) if dialect.thousands else batch
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error) or "UTF-8" in str(error):
                raise encoding_error(path) from None
            known = {*(options.missing or ())}
            _raise_for_texts(
                lambda: record_batches(
                    {name: pa.string() for name, kind in kinds.items() if kind not in ("category", "label")}
                ),
                lambda cell: cell in known or dialect.is_number(cell),
                path,
            )
            raise _line_error(error, dialect, path) from None

    return Table(
        where=repr(str(path)),
        names=names,
        kinds=dict(zip(names, dialect.kinds, strict=True)),
        record_batches=typed,
        max_rows=None if path.suffix in COMPRESSED else path.stat().st_size // (2 * len(names)) + 1,
        has_header=dialect.has_header,
    )


def _line_error(error: Exception, dialect: Dialect, path: Path) -> ValueError:
    """What is said of a line that is no row of the table."""
    received = f"{str(path)!r}: {defects.reason(error)}"
    remedy = 'If it is another sign, say which: delimiter=";".'
    if found := dialect.find_ragged(path):
        number, num_cells, line = found
        received = f"{num_cells} in line {number} of {str(path)!r}, {line[:80]!r}"
        if (sign := line.lstrip()[:1]) in ("#", "%"):
            remedy = f"If such lines are comments, say so: comment={sign!r}."
        else:
            remedy = f"Correct or remove the line; a cell that holds the sign stands in quotes. {remedy}"
    separator = DELIMITERS.get(dialect.delimiter, repr(dialect.delimiter))
    return ValueError(
        f"source: expected a table whose cells are separated by {separator}, {len(dialect.names)} in each row; "
        f"received {received}. {remedy}"
    )


def _without_thousands(batch: pa.RecordBatch, kinds: Mapping[str, str], dialect: Dialect) -> pa.RecordBatch:
    def to_numbers(name: str, column: pa.Array) -> pa.Array:
        if kinds.get(name) != "number":
            return column
        digits = pc.replace_substring(pc.utf8_trim_whitespace(column), dialect.thousands, "")
        digits = pc.replace_substring(digits, dialect.decimal, ".")
        return pc.cast(pc.if_else(pc.is_in(digits, pa.array(_SPELLINGS)), None, digits), pa.float64())

    names = batch.schema.names
    return pa.RecordBatch.from_arrays(list(map(to_numbers, names, batch.columns)), names=names)


def _raise_for_texts(
    read_as_text: Callable[[], Iterator[pa.RecordBatch]], is_number: Callable[[str], bool], path: Path
) -> None:
    """Raise ValueError that names every column with text in the first block that has any, and where it is first."""
    first = 0
    with contextlib.suppress(pa.ArrowInvalid):  # Not the cells but the lines are at fault, and Arrow has said how.
        for batch in read_as_text():
            found: list[tuple[str, int, str]] = []
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                texts = ((row, cell) for row, cell in enumerate(column.to_pylist()) if not is_number(cell))
                found += [(name, first + row, cell) for row, cell in itertools.islice(texts, 1)]
            if found:
                listed = ", ".join(f"{name!r} ({cell!r} in row {row})" for name, row, cell in found)
                name, _, cell = found[0]
                raise ValueError(
                    f"source: expected numbers; received text in {listed} of {str(path)!r}, rows counted from 0. If "
                    f"it stands for a missing value, missing=[{cell!r}]; if the column holds categories, "
                    f"category=[{name!r}]; else leave the column out, drop=[{name!r}]."
                )
            first += batch.num_rows
