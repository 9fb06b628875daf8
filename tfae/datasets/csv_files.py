"""Tables in .csv files, which say neither what their columns hold nor whether they have a header."""

from __future__ import annotations

import csv
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tfae.datasets import defects
from tfae.datasets.columns import choose_features
from tfae.datasets.source import Source
from tfae.datasets.tables import TablePart

#: Rows in which true and false are looked for.
_NUM_TRIED = 1000
# What programs write into a cell for a number that is missing.
_MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none")


def from_csv(
    path: Path,
    *,
    columns: Sequence[int | str] | None = None,
    label: str | None = None,
    drop: Sequence[int | str] | None = None,
    header: bool | None = None,
) -> Source:
    """Open a .csv file; every column is float64, for text has no dtype, with 1 for true and 0 for false.

    Without ``header``, the first row is one unless all of it is numbers.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first_rows = list(itertools.islice(filter(None, csv.reader(file)), _NUM_TRIED))
    except UnicodeDecodeError:
        raise _encoding_error(path) from None
    except csv.Error as error:
        raise _table_error(path, f": {defects.reason(error)}.") from None
    if not first_rows:
        raise ValueError(f"source: expected a table; received {str(path)!r}, which is empty.")
    first = first_rows[0]
    if first[0].lstrip().startswith(("#", "%")) and any(len(row) != len(first) for row in first_rows):
        raise _table_error(path, f", which begins with a comment, {first[0]!r}. Take such lines out.")
    if len(first) == 1 and (separator := next((sign for sign in ";\t| " if sign in first[0].strip()), None)):
        raise _separator_error(path, separator, first[0])
    has_header = _is_header(first, path) if header is None else header
    names = [cell.strip() for cell in first] if has_header else [f"column_{index}" for index in range(len(first))]
    if not has_header:
        columns, drop = ([*map(_name_of_position, chosen)] if chosen else chosen for chosen in (columns, drop))
        label = label and _name_of_position(label)
    features = choose_features(names, columns, label, repr(str(path)), drop=drop)
    stored = dict(zip(names, first if has_header else names, strict=True))
    flags = {
        name
        for row in first_rows[has_header:]
        for name, cell in zip(names, row, strict=False)
        if cell.strip().lower() in ("true", "false")
    }

    def record_batches(types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        with pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=None if has_header else names),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={stored[name]: kind for name, kind in types.items()},
                include_columns=[stored[name] for name in types],
                null_values=[""],
                strings_can_be_null=True,
            ),
        ) as reader:
            for batch in reader:
                yield batch.rename_columns(list(types))

    def to_numbers(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [pc.cast(column, pa.float64()) if pa.types.is_boolean(column.type) else column for column in batch]
        return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)

    def numbers() -> Iterator[pa.RecordBatch]:
        types = {name: pa.bool_() if name in flags else pa.float64() for name in features}
        text = {} if label is None else {label: pa.string()}
        try:
            yield from map(to_numbers, record_batches(types | text))
        except pa.ArrowInvalid as error:
            if "UTF8" in str(error) or "UTF-8" in str(error):
                raise _encoding_error(path) from None
            _validate_numbers(lambda: record_batches(dict.fromkeys(features, pa.string())), path)
            raise _table_error(path, f": {defects.reason(error)}.") from None

    part = TablePart(
        shape=(len(features),),
        dtype=np.dtype(np.float64),
        max_samples=path.stat().st_size // (2 * len(features)) + 1,  # A number is at least a digit and what ends it.
        feature_names=features,
        record_batches=numbers,
        where=repr(str(path)),
        label=label,
    )
    return Source(path.stem, {"all": part})


def _table_error(path: Path, reason: str) -> ValueError:
    return ValueError(f"source: expected a comma-separated table; received {str(path)!r}{reason}")


def _separator_error(path: Path, separator: str, text: str) -> ValueError:
    names = {";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
    return _table_error(
        path, f" with {names[separator]}, as in {text!r}. Save it with commas, and with points in its numbers."
    )


def _name_of_position(column: int | str) -> str:
    return f"column_{column}" if str(column).isdecimal() else str(column)


def _encoding_error(path: Path) -> ValueError:
    return ValueError(
        f"source: expected a .csv file in UTF-8; received {str(path)!r} in another encoding. Save it as UTF-8."
    )


def _is_header(row: list[str], path: Path) -> bool:
    """Whether the first row of a file names its columns, and does not hold their first numbers."""
    counted = row == [str(index) for index in range(len(row))]
    if counted and len(row) < 3:
        raise ValueError(
            f"source: expected a header of names, or numbers only; received {','.join(row)!r} as the first row of "
            f"{str(path)!r}, which may be either. Write names above."
        )
    if counted or row == ["", *(str(index) for index in range(len(row) - 1))]:
        return True  # What pandas writes for a frame without names, without and with its index.
    missing = [cell for cell in row if cell.strip().lower() in _MISSING]
    numbers = [cell for cell in row if _is_number(cell) and cell not in missing]
    if numbers and missing and len(numbers) + len(missing) == len(row):
        raise ValueError(
            f"source: expected a header or complete numbers in the first row; received {','.join(row)!r} in "
            f"{str(path)!r}. Fill in the cells that are empty or hold no number, or write a header above."
        )
    if not numbers:
        return True
    if len(numbers) < len(row):
        if 2 * len(numbers) > len(row):
            raise ValueError(
                f"source: expected a header of names, or a first sample of numbers; received {','.join(row)!r} as "
                f"the first row of {str(path)!r}, most of which are numbers. Say which it is: header=False if "
                "it is a sample, and header=True if these are names."
            )
        warnings.warn(
            f"the first row of {str(path)!r}, {','.join(row)!r}, is taken for a header, although some of it are "
            "numbers; header=False makes a sample of it",
            stacklevel=3,
        )
        return True
    warnings.warn(
        f"{str(path)!r} has no header: its first row, {','.join(row)!r}, is taken as a sample, and the columns are "
        "called column_0, column_1, …",
        stacklevel=2,
    )
    return False


def _validate_numbers(read_as_text: Callable[[], Iterator[pa.RecordBatch]], path: Path) -> None:
    """Raise ValueError that names every column with text in the first block that has any, and where it is first."""
    first = 0
    try:
        for batch in read_as_text():
            found: list[tuple[str, int, str]] = []
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                texts = ((row, cell) for row, cell in enumerate(column.to_pylist()) if cell and not _is_number(cell))
                found += [(name, first + row, cell) for row, cell in itertools.islice(texts, 1)]
            if found and all(cell.strip().lower() in _MISSING for _, _, cell in found):
                name, row, cell = found[0]
                where = f"{cell!r} in column {name!r}, row {row} (rows count from 0)"
                _validate_present(where, batch.schema.names, read_as_text())
            if found and batch.num_columns == 1 and ";" in found[0][2]:
                raise _separator_error(path, ";", found[0][2])
            if found:
                listed = ", ".join(f"{name!r} ({cell!r} in row {row})" for name, row, cell in found)
                raise ValueError(
                    f"source: expected numeric columns; received text in {listed} of {str(path)!r}, rows counted from "
                    "0. Choose others with columns=, or take one out with drop= or label=."
                )
            first += batch.num_rows
    except pa.ArrowInvalid:
        return  # not the cells but the lines are at fault, and the first reading said how


def _validate_present(where: str, names: list[str], batches: Iterator[pa.RecordBatch]) -> None:
    """Raise ValueError that says how many cells are empty or hold what stands for a missing number."""
    missing = defects.MissingValues(feature_names=names)
    for batch in batches:
        numbers = np.zeros((batch.num_rows, len(names)))
        for index, column in enumerate(batch.columns):
            cells = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(column, "")))
            numbers[pc.is_in(cells, pa.array(_MISSING)).to_numpy(zero_copy_only=False), index] = np.nan
        missing.add(numbers)
    missing.validate(where)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
