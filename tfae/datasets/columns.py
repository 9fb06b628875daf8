"""Columns of a table: which are taken, by name or by index."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from tfae.columns import Column
from tfae.datasets import defects
from tfae.datasets.source import Batch, Part, Source
from tfae.load_options import ReadOptions


@final
@dataclass(kw_only=True, eq=False, repr=False)
class ColumnsPart(Part):
    """Some columns of another part."""

    part: Part
    indices: list[int]

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those of the other part."""
        names = self.feature_names or ()
        return tuple(
            replace(self.part.columns[index], name=names[position]) for position, index in enumerate(self.indices)
        )

    def keep(self, names: Sequence[str]) -> None:
        """Have the other part carry columns along."""
        self.part.keep(names)

    def use_vocabularies(self, columns: Sequence[Column]) -> None:
        """Pass them on to the other part, which may have more columns."""
        own = {self.indices[index]: column for index, column in enumerate(columns)}
        self.part.use_vocabularies([own.get(index, column) for index, column in enumerate(self.part.columns)])

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield the columns of the other part's blocks."""
        for batch in self.part.blocks(size):
            yield batch._replace(samples=batch.samples[:, self.indices])

    def name_sample(self, place: int) -> int | str:
        """Name it as the other part does."""
        return self.part.name_sample(place)

    def whole_labels(self, labels: np.ndarray) -> np.ndarray:
        """Convert labels as the other part does."""
        return self.part.whole_labels(labels)


@final
class CompleteRows(Part):
    """The rows of another part without gaps."""

    def __init__(self, part: Part) -> None:
        names = {name: getattr(part, name) for name in ("shape", "dtype", "feature_names", "label_names")}
        super().__init__(**names, max_samples=part.num_samples or part.max_samples)
        self.part = part
        self._kept: list[np.ndarray] = []

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those of the other part."""
        return self.part.columns

    def use_vocabularies(self, columns: Sequence[Column]) -> None:
        """Pass them on to the other part."""
        self.part.use_vocabularies(columns)

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield the rows of the other part's blocks that have no gaps, and tell at the end how many have."""
        first = 0
        self._kept = [np.zeros(0, np.int64)]
        gaps = np.zeros(self.shape, np.int64)
        for samples, labels, *_ in self.part.blocks(size):
            is_gap = np.isnan(samples) if samples.dtype.kind == "f" else np.zeros(samples.shape, bool)
            complete = np.flatnonzero(~is_gap.any(axis=1))
            self._kept.append(first + complete)
            gaps += is_gap.sum(axis=0)
            first += len(samples)
            if len(complete):
                yield Batch(samples[complete], None if labels is None else labels[complete])
        if left_out := first - sum(map(len, self._kept)):
            names = self.feature_names or range(len(gaps))
            worst = [index for index in np.argsort(-gaps, kind="stable")[:5].tolist() if gaps[index]]
            listed = ", ".join(f"{names[index]} {gaps[index]:,}" for index in worst)
            warnings.warn(f"left out {left_out:,} of {first:,} rows, which have gaps: {listed}", stacklevel=2)

    def places(self, num_samples: int) -> np.ndarray:
        """Return the rows that were kept."""
        return np.concatenate(self._kept)

    def name_sample(self, place: int) -> int | str:
        """Name it as the other part does."""
        return self.part.name_sample(int(self.places(0)[place]))

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
            allows_gaps=part.allows_gaps,
        )
        for name, part in source.parts.items()
    }
    return Source(source.name, parts, value_range=source.value_range)


def leave_out(source: Source, drop: Sequence[int | str]) -> Source:
    """Take the columns of a table that is opened but for some, by name or index as of :func:`select`."""
    left_out = set(next(iter(select(source, drop).parts.values())).feature_names or ())
    names = source.feature_names or tuple(f"column_{index}" for index in range(*source.shape))
    return select(source, [name for name in names if name not in left_out])


def take_gaps(source: Source, gaps: str) -> Source:
    """Take missing values of a table as what they are, ``gaps="mask"``, or leave out their rows, ``"drop"``."""
    if source.kind != "table":
        raise ValueError(
            f"gaps: expected None for samples of shape {source.shape}, which are no table; received {gaps!r}."
        )
    if gaps == "drop":
        parts = {name: CompleteRows(part) for name, part in source.parts.items()}
        return Source(source.name, parts, value_range=source.value_range)
    for part in source.parts.values():
        part.allows_gaps = True
    return source


def choose_features(names: Sequence[str], options: ReadOptions, where: str) -> tuple[str, ...]:
    """Return the names of the columns of a table that are x; ``where`` is what holds it, for errors."""
    columns, label, drop = options.columns, options.label, options.drop or ()
    labels = () if label is None else (label,)
    keys = {argument: name for argument in ("time", "group") if (name := getattr(options, argument)) is not None}
    asked = {"columns": columns or (), "label": labels, "drop": drop}
    for argument, chosen in (*asked.items(), *((argument, [name]) for argument, name in keys.items())):
        for name in chosen:
            validate_known(argument, name, names, where)
    if columns is None and "" in names and "" not in drop:
        raise ValueError(
            f"source: expected a name for every column; received none for column {list(names).index('')} of {where}, "
            "which may be the index that pandas writes. Leave it out, drop=[''], or write the file with index=False."
        )
    if columns is not None and label in columns:
        raise ValueError(f"label: expected another column than those in columns=; received {label!r} in both.")
    left_out = {label, *drop, *keys.values()}
    features = tuple(str(name) for name in (names if columns is None else columns) if name not in left_out)
    if not features:
        raise ValueError(
            f"source: expected at least one column beside the label; received {list(names)} in {where}, and "
            f"{sorted(map(str, left_out - {None}))} to leave out."
        )
    return features


def validate_distinct(names: Sequence[str], where: str) -> None:
    """Raise ValueError if two of a table's columns have one name."""
    repeated = sorted(name for name, count in collections.Counter(names).items() if count > 1)
    if repeated:
        raise ValueError(
            f"source: expected columns with names of their own; received {repeated} more than once in {where}. "
            "Rename them."
        )


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
