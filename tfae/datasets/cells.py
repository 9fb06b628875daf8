"""The cells of text tables: which are numbers, and whether the first ones name the columns."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: What programs write into a cell for a value that is missing, in small letters.
MISSING = ("", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "nat", "null", "none")


def is_number(cell: str, decimal: str, thousands: str | None) -> bool:
    """Whether a cell holds a number, with that decimal sign and that sign between thousands."""
    return re.fullmatch(_pattern(decimal, thousands), cell.strip(), re.ASCII) is not None


def write_plainly(texts: pa.Array, decimal: str, thousands: str | None) -> pa.Array:
    """Return numbers as :func:`parse_numbers` takes them, and in quotes what it would take for one otherwise."""
    texts = pc.utf8_trim_whitespace(texts)
    numbers = pc.replace_substring(texts, thousands, "") if thousands else texts
    numbers = pc.replace_substring(numbers, decimal, ".")
    quoted = pc.binary_join_element_wise("'", texts, "'", "")
    others = pc.if_else(pc.match_substring_regex(texts, _pattern(".", None)), quoted, texts)
    return pc.if_else(pc.match_substring_regex(texts, _pattern(decimal, thousands)), numbers, others)


def parse_numbers(texts: pa.Array, kind: str) -> tuple[pa.Array, dict[int, str]]:
    """Return the numbers that texts hold, null where there is none, and by its row each text that is another."""
    if kind == "yes/no":
        is_right = pc.is_in(pc.utf8_lower(texts), pa.array(["true", "false", "1", "0"]))
    else:
        is_right = pc.match_substring_regex(texts, _pattern(".", None))
    is_wrong = pc.fill_null(pc.invert(is_right), False)
    right = pc.if_else(is_wrong, pa.scalar(None, pa.string()), texts)
    found = {row: texts[row].as_py() for row in np.flatnonzero(is_wrong).tolist()}
    return pc.cast(pc.cast(right, pa.bool_()) if kind == "yes/no" else right, pa.float64()), found


@functools.cache  # A table is looked at cell by cell.
def _pattern(decimal: str, thousands: str | None) -> str:
    decimal = re.escape(decimal)
    digits = rf"(\d[\d{re.escape(thousands or '')}]*({decimal}\d*)?|{decimal}\d+)"
    return rf"^[-+]?({digits}([eE][-+]?\d+)?|(?i:inf(inity)?|nan))$"


def is_header(row: Sequence[str], path: Path, decimal: str, thousands: str | None) -> bool:
    """Whether the first row of a file names its columns, and does not hold their first numbers."""
    row = list(row)
    counted = row == [str(index) for index in range(len(row))]
    shown = ",".join(row)
    if counted and len(row) < 3:
        raise ValueError(
            f"source: expected a header of names, or numbers only; received {shown!r} as the first row of "
            f"{str(path)!r}, which may be either. Say which it is: header=True if these are names, and header=False if "
            "it is a sample."
        )
    if counted or row == ["", *(str(index) for index in range(len(row) - 1))]:
        return True  # What pandas writes for a frame without names, without and with its index.
    missing = [cell for cell in row if cell.strip().lower() in MISSING]
    numbers = [cell for cell in row if cell not in missing and is_number(cell, decimal, thousands)]
    if not numbers:
        return True
    if len(numbers) == len(row):
        warnings.warn(
            f"{str(path)!r} has no header: its first row, {shown!r}, is taken as a sample, and the columns are called "
            "column_0, column_1, …",
            stacklevel=3,
        )
        return False
    if 2 * len(numbers) > len(row) or len(numbers) + len(missing) == len(row):
        raise ValueError(
            f"source: expected a header of names, or a first sample of numbers; received {shown!r} as the first row of "
            f"{str(path)!r}. Say which it is: header=False if it is a sample, and header=True if these are names."
        )
    warnings.warn(
        f"the first row of {str(path)!r}, {shown!r}, is taken for a header, although some of it are numbers; "
        "header=False makes a sample of it",
        stacklevel=3,
    )
    return True
