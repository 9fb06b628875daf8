"""The arguments of ``load`` and ``open_source``: checked, and made plain enough for JSON."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

#: What data can be given as, for error messages.
SOURCES = (
    'a name such as "digits" or "mnist", the path of a file or folder, an array (n, ...), a tuple or dict of arrays, '
    "or a data frame"
)

#: The value of ``columns`` that takes those that are not constant in the training split.
VARYING = "varying"


def refuse_unfit(
    *, seed: Any, batch_size: Any, splits: Any, value_range: Any, preprocessing: Any, in_memory: Any
) -> None:
    """Raise ValueError that names the first of these arguments of ``load`` that is not what it should be."""
    if not _is_integer(seed) or not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected an integer in [0, 2**32); received {seed!r}.")
    if not _is_integer(batch_size) or batch_size < 1:
        raise ValueError(f"batch_size: expected an integer of at least 1; received {batch_size!r}.")
    fractions = _numbers(splits, 3)
    if fractions is None or not all(fraction > 0 for fraction in fractions) or not math.isclose(sum(fractions), 1):
        raise ValueError(
            "splits: expected three positive fractions that sum to 1, for training, validation and test; "
            f"received {splits!r}."
        )
    if value_range is not None:
        bounds = _numbers(value_range, 2)
        if bounds is None or not bounds[0] < bounds[1] or not all(map(math.isfinite, bounds)):
            raise ValueError(f"value_range: expected (low, high) with low < high; received {value_range!r}.")
    if not isinstance(preprocessing, str):
        raise ValueError(f"preprocessing: expected the name of a method; received {preprocessing!r}.")
    if in_memory is not None and not isinstance(in_memory, bool):
        raise ValueError(f"in_memory: expected None, True or False; received {in_memory!r}.")


def refuse_unnamed(**names: Any) -> None:
    """Raise ValueError for an argument that is neither None nor text."""
    for argument, name in names.items():
        if name is not None and not isinstance(name, str):
            raise ValueError(f"{argument}: expected a name; received {name!r}.")


def column_list(columns: Any) -> list[int | str] | None:
    """Return ``columns`` as a list of names and indices, each once; None if it is None.

    Example:
        >>> column_list("height"), column_list(range(3))
        (['height'], [0, 1, 2])
    """
    if columns is None:
        return None
    asked = [columns] if isinstance(columns, str) else list(columns) if isinstance(columns, Iterable) else []
    if not asked or not all(isinstance(column, str) or _is_integer(column) for column in asked):
        raise ValueError(
            f'columns: expected a list of names, of indices for an array without names, or "{VARYING}"; '
            f"received {columns!r}."
        )
    plain = [column if isinstance(column, str) else int(column) for column in asked]
    repeated = [column for index, column in enumerate(plain) if column in plain[:index]]
    if repeated:
        raise ValueError(f"columns: expected each column once; received {repeated[0]!r} more than once.")
    return plain


def absolute(argument: str, folder: Any) -> str | None:
    """Return a folder as it can be found from another working directory; None if it is None."""
    if folder is None:
        return None
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise ValueError(f"{argument}: expected the path of a folder; received {folder!r}.")
    path = os.fspath(folder)
    return path if "://" in path else str(Path(path).expanduser().absolute())


def _is_integer(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and getattr(value, "shape", ()) == ()


def _numbers(values: Any, count: int) -> list[float] | None:
    """Return a sequence or array of so many numbers as a list, or None if it is something else."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != count:
        return None
    if not all(isinstance(value, Real) and not isinstance(value, bool) for value in values):
        return None
    return [float(value) for value in values]
