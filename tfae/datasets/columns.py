"""Columns of a table: which are taken, by name or by index."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from tfae.datasets import defects
from tfae.datasets.source import Batch, Part, Source


@final
@dataclass(kw_only=True, eq=False, repr=False)
class ColumnsPart(Part):
    """Some columns of another part."""

    part: Part
    indices: list[int]

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield the columns of the other part's blocks."""
        for samples, labels in self.part.blocks(size):
            yield samples[:, self.indices], labels

    def whole_labels(self, labels: np.ndarray) -> np.ndarray:
        """Convert labels as the other part does."""
        return self.part.whole_labels(labels)


def select(source: Source, columns: Sequence[int | str]) -> Source:
    """Take columns of a table that is opened.

    Args:
        source: A table.
        columns: The names of the columns; or, where they have none, indices as integers or text. Those taken from a
            table without names are called ``column_<index>``, by which they can be taken too.

    Raises:
        ValueError: The source is no table, or has no such column.
    """
    if source.kind != "table":
        raise ValueError(
            f"columns: expected None for samples of shape {source.shape}, which have no columns; "
            f"received {list(columns)}."
        )
    num_columns = source.shape[0]
    if source.feature_names is None:
        names = tuple(f"column_{index}" for index in range(num_columns))
        indices = [_index(column, num_columns) for column in columns]
    else:
        names = source.feature_names
        for column in columns:
            validate_known("columns", column, names, source.name)
        indices = [names.index(str(column)) for column in columns]
    repeated = [index for index, count in collections.Counter(indices).items() if count > 1]
    if repeated:
        raise ValueError(f"columns: expected each column once; received {names[repeated[0]]!r} more than once.")
    parts = {
        name: ColumnsPart(
            shape=(len(indices),),
            dtype=part.dtype,
            num_samples=part.num_samples,
            max_samples=part.max_samples,
            label_names=part.label_names,
            feature_names=tuple(names[index] for index in indices),
            part=part,
            indices=indices,
        )
        for name, part in source.parts.items()
    }
    return Source(source.name, parts, value_range=source.value_range)


def leave_out(source: Source, drop: Sequence[int | str]) -> Source:
    """Take the columns of a table that is opened but for some, by name or index as of :func:`select`."""
    left_out = set(next(iter(select(source, drop).parts.values())).feature_names or ())
    names = source.feature_names or tuple(f"column_{index}" for index in range(*source.shape))
    return select(source, [name for name in names if name not in left_out])


def choose_features(
    names: Sequence[str],
    columns: Sequence[int | str] | None,
    label: str | None,
    where: str,
    *,
    drop: Sequence[int | str] | None = None,
) -> tuple[str, ...]:
    """Return the names of the columns of a table that are x; ``where`` is what holds it, for errors."""
    repeated = sorted(name for name, count in collections.Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(
            f"source: expected columns with names of their own; received {repeated} more than once in {where}."
        )
    for argument, asked in (
        ("columns", columns or ()),
        ("label", () if label is None else (label,)),
        ("drop", drop or ()),
    ):
        for name in asked:
            validate_known(argument, name, names, where)
    if columns is None and "" in names:
        raise ValueError(
            f"source: expected a name for every column; received none for column {list(names).index('')} of {where}, "
            "which may be the index that pandas writes. Write the file with index=False, or choose with columns=."
        )
    if columns is not None and label in columns:
        raise ValueError(f"label: expected another column than those in columns=; received {label!r} in both.")
    left_out = {label, *(drop or ())}
    features = tuple(str(name) for name in (names if columns is None else columns) if name not in left_out)
    if not features:
        raise ValueError(
            f"source: expected at least one column beside the label; received {list(names)} in {where}, and "
            f"{sorted(map(str, left_out - {None}))} to leave out."
        )
    return features


def validate_known(argument: str, name: int | str, names: Sequence[str], where: str) -> None:
    """Raise ValueError unless ``name`` is one of a table's names."""
    if name not in names:
        raise ValueError(
            f"{argument}: expected a column of {where}; received {name!r}. {defects.close_matches(str(name), names)}"
        )


def _index(column: int | str, num_columns: int) -> int:
    text = str(column).removeprefix("column_")
    if not text.isdecimal() or int(text) >= num_columns:
        raise ValueError(
            f"columns: expected indices from 0 to {num_columns - 1}, for no column has a name; received {column!r}."
        )
    return int(text)
