"""Tables as people hold them, frames and records, as arrays by name of the column. Imports no TensorFlow."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

#: Problems of columns that an error lists.
_NUM_LISTED = 5


def is_named(given: Any) -> bool:
    """Whether something has names of columns: a data frame, a structured array, or records in a list or a dict."""
    if isinstance(given, np.ndarray):
        return given.dtype.names is not None
    if isinstance(given, list | tuple):
        return bool(given) and isinstance(given[0], Mapping)
    return isinstance(given, Mapping) or hasattr(given, "columns")


def take_columns(given: Any, names: Sequence[str], *, name: str = "inputs") -> dict[str, Any]:
    """Return the columns of a data frame or of records by name, ``(n,)`` each.

    Given is a data frame of pandas, Polars or PyArrow, a structured array, a list of dicts, or a dict of columns. Other
    columns, such as the label, are left out. Names that are no text, as the integers of a frame without names, are
    taken as text. Errors call the argument ``name``.

    Raises:
        ValueError: If a column is missing or there twice, or ``given`` is a row of a frame, whose names would be lost,
            or has no names.

    Example:
        >>> take_columns([{"b": 2, "a": 1, "label": "x"}], ["a", "b"])
        {'a': [1], 'b': [2]}
    """
    if names and set(names) <= {str(label) for label in _labels(given)}:
        raise ValueError(f"{name}: expected a frame of rows; received one row, as a series. Give frame.iloc[[0]].")
    if not is_named(given):
        listed = ", ".join(names[:_NUM_LISTED]) + (", …" if len(names) > _NUM_LISTED else "")
        raise ValueError(
            f"{name}: expected the columns {listed} by name, as a data frame, records or a dict; received "
            f"{type(given).__name__}, which has no names."
        )
    if isinstance(given, list | tuple):
        given = {key: [_cell(row, key, index, name) for index, row in enumerate(given)] for key in names}
    if isinstance(given, np.ndarray):
        received = list(given.dtype.names or ())
    elif isinstance(given, Mapping):
        received = list(given)
    else:
        received = list(given.column_names if hasattr(given, "column_names") else given.columns)
    keys = {str(key): key for key in received}
    problems = _find_problems(names, [str(key) for key in received])
    if problems:
        listed = ", ".join(problems[:_NUM_LISTED])
        more = f" and {len(problems) - _NUM_LISTED} more" if len(problems) > _NUM_LISTED else ""
        raise ValueError(f"{name}: expected each of the model's {len(names)} columns once; received {listed}{more}.")
    try:
        columns = {key: given[keys[key]] for key in names}
    except TypeError:
        raise ValueError(
            f"{name}: expected a data frame that holds its rows; received {type(given).__name__}, which computes them "
            "later. Give frame.collect()."
        ) from None
    shapes = {np.shape(column) for column in columns.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != 1:
        remedy = " Give a single record in a list: [record]." if shapes == {()} else ""
        listed = ", ".join(map(str, sorted(shapes)))
        raise ValueError(f"{name}: expected columns of one length; received shapes {listed}.{remedy}")
    return columns


def expand_inputs(
    given: Mapping[str, Any], names: Collection[str], take: Callable[[Any, list[str]], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return inputs of a signature by name, with the columns of a table in place of samples that are called "inputs".

    Where none of the signature's ``names`` is called so, they are columns but for those given, which ``take`` returns
    of the samples.

    Example:
        >>> expand_inputs({"inputs": [{"b": 2, "a": 1}], "limit": [5]}, ["a", "b", "limit"], take_columns)
        {'a': [1], 'b': [2], 'limit': [5]}
    """
    if "inputs" not in given or "inputs" in names:
        return dict(given)
    others = {name: value for name, value in given.items() if name != "inputs"}
    return {**take(given["inputs"], [name for name in names if name not in others]), **others}


def to_numbers(column: Any, name: str) -> np.ndarray:
    """Return a column as an array of numbers; None is NaN."""
    array = np.asarray(column)
    if not array.size:
        return array.astype("float32")  # Of no dtype, perhaps.
    if array.dtype == object:
        odd = next((each for each in array.tolist() if not isinstance(each, int | float | None)), None)
        if odd is not None:
            raise ValueError(f"{name}: expected numbers; received {odd!r}.")
        return array.astype("float64")
    if array.dtype.kind not in "biufc":
        raise ValueError(
            f"{name}: expected numbers; received {array.dtype}, such as {array.ravel()[:1].tolist()[0]!r}."
        )
    return array


def to_texts(given: Any, name: str) -> np.ndarray:
    """Return an object array of bytes: text in UTF-8, numbers as they are written, and nothing for None and NaN."""
    array = given.astype(object) if isinstance(given, np.ndarray) else np.array(given, dtype=object)
    encoded = np.empty(array.shape, dtype=object)
    for index, element in np.ndenumerate(array):
        if isinstance(element, str):
            try:
                element = element.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"{name}: expected text that UTF-8 can hold; received {element!r}.") from error
        elif element is None or element != element:
            element = b""
        elif isinstance(element, int):
            element = str(element).encode()
        if not isinstance(element, bytes):
            raise ValueError(f"{name}: expected bytes or text; received {type(element).__name__}.")
        encoded[index] = element
    return encoded


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


def _cell(row: Any, key: str, index: int, name: str) -> Any:
    if not isinstance(row, Mapping) or key not in row:
        received = ", ".join(map(repr, row)) if isinstance(row, Mapping) else type(row).__name__
        raise ValueError(
            f"{name}: expected a value of {key!r} in every record; received record {index} with {received}."
        )
    return row[key]
