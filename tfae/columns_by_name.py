"""Data frames and records as matrices, by the names of their columns. Imports no TensorFlow."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def is_named(given: Any) -> bool:
    """Whether something has names of columns: a data frame, a structured array, or records in a list or a dict."""
    if isinstance(given, np.ndarray):
        return given.dtype.names is not None
    if isinstance(given, list | tuple):
        return bool(given) and isinstance(given[0], Mapping)
    return isinstance(given, Mapping) or hasattr(given, "columns") or hasattr(given, "__arrow_c_stream__")


def arrange_columns(given: Any, names: Sequence[str] | None, *, name: str = "inputs") -> Any:
    """Return the columns of a data frame or of records in the order of a model, ``(n, len(names))``.

    Args:
        given: A data frame of pandas, Polars or PyArrow, a structured array, a list of dicts, or a dict of columns.
            Columns that the model does not know are left out. Anything without names is returned as it is.
        names: Of the columns that the model takes, in its order; None where it knows none.
        name: The argument, for errors.

    Raises:
        ValueError: If a column is missing or there twice, or the model knows no names.

    Example:
        >>> arrange_columns([{"b": 2, "a": 1, "label": "x"}], ["a", "b"]).tolist()
        [[1, 2]]
    """
    if not is_named(given):
        return given
    if names is None:
        raise ValueError(
            f"{name}: expected an array, since the names of the model's columns are not known here; received "
            f"{type(given).__name__}. Give the columns in the order of the training data, frame[names].to_numpy(); a "
            "Client takes the names as feature_names=."
        )
    if isinstance(given, list | tuple):
        columns: Any = {key: [_cell(row, key, index, name) for index, row in enumerate(given)] for key in names}
        received: list[Any] = [*names]
    else:
        columns = given
        if isinstance(given, np.ndarray):
            received = list(given.dtype.names or ())
        elif isinstance(given, Mapping):
            received = list(given)
        else:  # The columns of a PyArrow table are no names.
            received = list(given.column_names if hasattr(given, "column_names") else getattr(given, "columns", []))
    for key in names:
        if received.count(key) != 1:
            close = difflib.get_close_matches(key, [each for each in received if isinstance(each, str)], n=1)
            hint = f" Did you mean {close[0]!r}?" if close and key not in received else ""
            raise ValueError(
                f"{name}: expected each of the columns {', '.join(names)} once; received {key!r} "
                f"{received.count(key)} times.{hint}"
            )
    arrays = [np.asarray(columns[key]) for key in names]
    if len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 1:
        raise ValueError(
            f"{name}: expected columns of one length; received {', '.join(map(str, map(np.shape, arrays)))}."
        )
    return np.stack(arrays, axis=1)


def _cell(row: Any, key: str, index: int, name: str) -> Any:
    if not isinstance(row, Mapping) or key not in row:
        received = ", ".join(map(repr, row)) if isinstance(row, Mapping) else type(row).__name__
        raise ValueError(
            f"{name}: expected a value of {key!r} in every record; received record {index} with {received}."
        )
    return row[key]
