"""What the numbers of a table's columns mean. Imports neither TensorFlow nor Keras, as the REST client does without."""

from __future__ import annotations

import dataclasses
from typing import Any, final

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
    """

    name: str
    kind: str = "number"
    vocabulary: tuple[str, ...] = ()

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


def are_numbers(columns: tuple[Column, ...] | None) -> bool:
    """Whether all columns of a table, or of data that has none, are numbers."""
    return all(column.kind == "number" for column in columns or ())
