"""What the numbers of a table's columns mean. Imports neither TensorFlow nor Keras, as the REST client does without."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

#: What columns can hold: numbers; one of some texts; or true and false, which are 1 and 0.
KINDS = ("number", "category", "yes/no")
#: The code, and the text, of a category that has none of its own: one that is rare, or was not seen in training.
REST_CODE, REST = -1, "(rest)"


@final
@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: As in the header.
        kind: One of ``KINDS``.
        vocabulary: Of a category: code i, a number in the matrix, stands for the i-th of these texts.
        unit: What one step of model space is in data space; None where that is not known, and of a category.
        range: Least and greatest number in the training split, likewise.
    """

    name: str
    kind: str = "number"
    vocabulary: tuple[str, ...] = ()
    unit: float | None = None
    range: tuple[float, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The arguments of an equal column, JSON-able."""
        return {"name": self.name, "kind": self.kind, "vocabulary": list(self.vocabulary)}


@final
@dataclasses.dataclass(frozen=True)
class Block:
    """The elements that a column has in model space.

    Attributes:
        column: Name of the column.
        kind: Of the column.
        names: Of the elements; of a category one for each that has a place of its own, and one for the rest.
    """

    column: str
    kind: str
    names: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many elements there are."""
        return len(self.names)


def are_alike(columns: Sequence[Column]) -> bool:
    """Whether all columns are numbers, or all are yes and no, so that one scaling and one loss fit them."""
    return {column.kind for column in columns} in (set(), {"number"}, {"yes/no"})


def join_columns(values: Mapping[str, np.ndarray], columns: Sequence[Column]) -> np.ndarray:
    """Return a table's matrix ``(n, num_columns)``, float32, of its columns by name: codes in place of texts."""
    found = []
    for column in columns:
        array = values[column.name]
        if column.kind == "category":
            codes = {text.encode(): code for code, text in enumerate(column.vocabulary)}
            array = np.array([codes.get(text, REST_CODE) for text in array])
        found.append(np.asarray(array, "float32"))
    return np.stack(found, axis=1)


def split_matrix(samples: np.ndarray, columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """Return the columns of a table's matrix ``(n, num_columns)`` by name: texts in place of codes, "" for a gap.

    Texts are bytes in an array of objects.
    """
    found = {}
    for index, column in enumerate(columns):
        values = samples[:, index]
        if column.kind == "category":
            texts = np.array([*(text.encode() for text in column.vocabulary), REST.encode(), b""], object)
            codes = np.where(np.isnan(values), -1, np.where(values == REST_CODE, -2, values)).astype(int)
            values = texts[codes]
        found[column.name] = values
    return found
