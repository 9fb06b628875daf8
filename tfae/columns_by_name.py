"""Data frames and records as matrices, by the names of their columns. Imports no TensorFlow."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: Problems of columns that an error lists.
_NUM_LISTED = 5


def _is_named(given: Any) -> bool:
    """Whether something has names of columns: a data frame, a structured array, or records in a list or a dict."""
    if isinstance(given, np.ndarray):
        return given.dtype.names is not None
    if isinstance(given, list | tuple):
        return bool(given) and isinstance(given[0], Mapping)
    return isinstance(given, Mapping) or hasattr(given, "columns")


def arrange_columns(given: Any, names: Sequence[str] | None, *, name: str = "inputs") -> Any:
    """Return the columns of a data frame or of records in the order of a model, ``(n, len(names))``.

    Args:
        given: A data frame of pandas, Polars or PyArrow, a structured array, a list of dicts, or a dict of columns.
            Columns that the model does not know, such as the label, are left out. Names that are no text, as the
            integers of a frame without names, are taken as text. Anything without names is returned as it is.
        names: Of the columns that the model takes, in its order; None where it knows none.
        name: The argument, for errors.

    Raises:
        ValueError: If a column is missing, there twice or no numbers, the model knows no names, or ``given`` is a row
            of a frame, whose names would be lost.

    Example:
        >>> arrange_columns([{"b": 2, "a": 1, "label": "x"}], ["a", "b"]).tolist()
        [[1, 2]]
    """
    if names is not None and set(names) <= {str(label) for label in _labels(given)}:
        raise ValueError(f"{name}: expected a frame of rows; received one row, as a series. Give frame.iloc[[0]].")
    if not _is_named(given):
        return given
    if names is None:
        raise ValueError(
            f"{name}: expected an array, since the names of the model's columns are not known here; received "
            f"{type(given).__name__}. Give the columns in the order of the training data, frame[names].to_numpy(); a "
            "Client takes the names as feature_names=."
        )
    if isinstance(given, list | tuple):
        given = {key: [_cell(row, key, index, name) for index, row in enumerate(given)] for key in names}
    if isinstance(given, np.ndarray):
        received = list(given.dtype.names or ())
    elif isinstance(given, Mapping):
        received = list(given)
    else:  # The columns of a PyArrow table are no names.
        received = list(given.column_names if hasattr(given, "column_names") else given.columns)
    keys = {str(key): key for key in received}
    problems = _find_problems(names, [str(key) for key in received])
    if problems:
        listed = ", ".join(problems[:_NUM_LISTED])
        more = f" and {len(problems) - _NUM_LISTED} more" if len(problems) > _NUM_LISTED else ""
        raise ValueError(f"{name}: expected each of the model's {len(names)} columns once; received {listed}{more}.")
    try:
        columns = [given[keys[key]] for key in names]
    except TypeError:
        raise ValueError(
            f"{name}: expected a data frame that holds its rows; received {type(given).__name__}, which computes them "
            "later. Give frame.collect()."
        ) from None
    shapes = {np.shape(column) for column in columns}
    if len(shapes) > 1 or len(next(iter(shapes))) != 1:
        remedy = " Give a single record in a list: [record]." if shapes == {()} else ""
        listed = ", ".join(map(str, sorted(shapes)))
        raise ValueError(f"{name}: expected columns of numbers, of one length; received shapes {listed}.{remedy}")
    if shapes == {(0,)}:  # Of no dtype, perhaps.
        return np.zeros((0, len(names)), "float32")
    return np.stack([_numbers(column, key, name) for key, column in zip(names, columns, strict=True)], axis=1)


def _labels(given: Any) -> Any:
    """Those of the elements of a pandas series, else none; the index of a list is a method, that of a frame of rows."""
    index = None if hasattr(given, "columns") else getattr(given, "index", None)
    return () if index is None or callable(index) else index


def _find_problems(names: Sequence[str], received: Sequence[str]) -> list[str]:
    """What is wrong with the columns that were received, in words."""
    counts, lowered = Counter(received), {key.lower(): key for key in received if key not in names}
    problems = [f"{key!r} {counts[key]} times" for key in names if counts[key] > 1]
    for key in names:
        if key not in counts:
            close = difflib.get_close_matches(key.lower(), lowered, n=1)
            problems.append(f"no {key!r}" + (f" (is it {lowered[close[0]]!r}?)" if close else ""))
    return problems


def _numbers(column: Any, key: str, name: str) -> np.ndarray:
    """A column as an array of numbers."""
    array = np.asarray(column)
    if np.ma.is_masked(column):
        raise ValueError(f"{name}: expected column {key!r} without masked values; received some. Fill or drop them.")
    if array.dtype.kind not in "biuf":
        odd = next((each for each in array.tolist() if not isinstance(each, int | float)), array[0])
        raise ValueError(f"{name}: expected numbers in column {key!r}; received {array.dtype}, such as {odd!r}.")
    return array


def _cell(row: Any, key: str, index: int, name: str) -> Any:
    if not isinstance(row, Mapping) or key not in row:
        received = ", ".join(map(repr, row)) if isinstance(row, Mapping) else type(row).__name__
        raise ValueError(
            f"{name}: expected a value of {key!r} in every record; received record {index} with {received}."
        )
    return row[key]
