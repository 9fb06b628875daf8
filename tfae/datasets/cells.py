"""The cells of text tables: which are numbers, and whether the first ones name the columns."""

from __future__ import annotations

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
    cell = cell.strip()
    if thousands:
        cell = cell.replace(thousands, "")
    if decimal != ".":
        cell = cell.replace(".", "x").replace(decimal, ".")
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def parse_numbers(texts: pa.Array, kind: str, decimal: str, thousands: str | None) -> tuple[pa.Array, dict[int, str]]:
    """Return the numbers that cells hold, null where there is none, and by its row each text that is another.

    Example:
        >>> numbers, texts = parse_numbers(pa.array(["1.234,5", None, "7?"]), "number", ",", ".")
        >>> numbers.to_pylist(), texts
        ([1234.5, None, None], {2: '7?'})
    """
    if kind == "yes/no":
        is_right = pc.is_in(pc.utf8_lower(texts), pa.array(["true", "false", "1", "0"]))
    else:
        digits = rf"(\d[\d{re.escape(thousands or '')}]*({re.escape(decimal)}\d*)?|{re.escape(decimal)}\d+)"
        is_right = pc.match_substring_regex(texts, rf"^[-+]?({digits}([eE][-+]?\d+)?|(?i:inf(inity)?|nan))$")
    is_wrong = pc.fill_null(pc.invert(is_right), False)
    right = pc.if_else(is_wrong, pa.scalar(None, pa.string()), texts)
    found = {row: texts[row].as_py() for row in np.flatnonzero(is_wrong).tolist()}
    if kind == "yes/no":
        return pc.cast(pc.cast(right, pa.bool_()), pa.float64()), found
    if thousands:
        right = pc.replace_substring(right, thousands, "")
    return pc.cast(pc.replace_substring(right, decimal, "."), pa.float64()), found


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
