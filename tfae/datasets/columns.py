"""Columns of a table: which are taken, by name or by index, and what they hold."""

from __future__ import annotations

import collections
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import final

import numpy as np
import pyarrow as pa

from tfae.columns import Column
from tfae.datasets import defects
from tfae.datasets.source import Batch, Part, Source
from tfae.load_options import ReadOptions


@final
class PartOf(Part):
    """Some columns of another part, and of its rows all, or those alone that have no gaps."""

    def __init__(
        self, part: Part, indices: Sequence[int], names: tuple[str, ...] | None, *, is_complete: bool = False
    ) -> None:
        super().__init__(
            shape=(len(indices),),
            dtype=part.dtype,
            num_samples=None if is_complete else part.num_samples,
            max_samples=part.num_samples or part.max_samples,
            feature_names=names,
            label_names=part.label_names,
            allows_gaps=part.allows_gaps,
        )
        self._part, self._indices, self._is_complete = part, list(indices), is_complete
        self._kept: list[np.ndarray] = []

    @property
    def columns(self) -> tuple[Column, ...]:
        """Those of the other part."""
        return tuple(self._part.columns[index] for index in self._indices)

    def keep(self, names: Sequence[str]) -> None:
        """Have the other part carry columns along."""
        self._part.keep(names)

    def use_vocabularies(self, columns: Sequence[Column]) -> None:
        """Pass them on to the other part, which may have more columns."""
        own = dict(zip(self._indices, columns, strict=False))
        self._part.use_vocabularies([own.get(index, column) for index, column in enumerate(self._part.columns)])

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield the columns of the other part's blocks, and tell at the end how many rows have gaps."""
        first, self._kept, gaps = 0, [np.zeros(0, np.int64)], np.zeros(self.shape, np.int64)
        for batch in self._part.blocks(size):
            batch = batch._replace(samples=batch.samples[:, self._indices])
            if not self._is_complete:
                yield batch
                continue
            samples, labels, *_ = batch
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
        """Return the rows that are there."""
        return np.concatenate(self._kept) if self._is_complete else self._part.places(num_samples)

    def name_sample(self, place: int) -> int | str:
        """Name it as the other part does."""
        return self._part.name_sample(place)

    def whole_labels(self, labels: np.ndarray) -> np.ndarray:
        """Convert labels as the other part does."""
        return self._part.whole_labels(labels)


def select(source: Source, columns: Sequence[int | str]) -> Source:
    """Take columns of a table that is opened, by name; or, where they have none, by index or as column_<index>."""
    if source.kind != "table":
        raise ValueError(
            f"columns: expected None for samples of shape {source.shape}, which have no columns; "
            f"received {list(columns)}."
        )
    names = tuple(column.name for column in source.columns or ())
    if source.feature_names is None:
        indices = [_index(column, len(names)) for column in columns]
    else:
        for column in columns:
            validate_known("columns", column, names, source.name)
        indices = [names.index(str(column)) for column in columns]
    repeated = [index for index, count in collections.Counter(indices).items() if count > 1]
    if repeated:
        raise ValueError(f"columns: expected each column once; received {names[repeated[0]]!r} more than once.")
    parts = {
        name: PartOf(part, indices, tuple(names[index] for index in indices)) for name, part in source.parts.items()
    }
    return Source(source.name, parts, value_range=source.value_range)


def leave_out(source: Source, drop: Sequence[int | str]) -> Source:
    """Take the columns of a table that is opened but for some, by name or index as of :func:`select`."""
    left_out = set(next(iter(select(source, drop).parts.values())).feature_names or ())
    return select(source, [column.name for column in source.columns or () if column.name not in left_out])


def take_gaps(source: Source, gaps: str) -> Source:
    """Take missing values of a table as what they are, ``gaps="mask"``, or leave out their rows, ``"drop"``."""
    if source.kind != "table":
        raise ValueError(
            f"gaps: expected None for samples of shape {source.shape}, which are no table; received {gaps!r}."
        )
    if gaps == "drop":
        indices, names = range(*source.shape), source.feature_names
        parts = {name: PartOf(part, indices, names, is_complete=True) for name, part in source.parts.items()}
        return Source(source.name, parts, value_range=source.value_range)
    for part in source.parts.values():
        part.allows_gaps = True
    return Source(source.name, source.parts, value_range=source.value_range)


def choose_features(names: Sequence[str], options: ReadOptions, where: str) -> tuple[str, ...]:
    """Return the names of the columns of a table that are x; ``where`` is what holds it, for errors."""
    columns, label = options.columns, options.label
    beside = {each: [name] for each in ("label", "time", "group") if (name := getattr(options, each)) is not None}
    beside["drop"] = [*(options.drop or ())]
    for argument, chosen in {"columns": columns or (), **beside}.items():
        for name in chosen:
            validate_known(argument, name, names, where)
    if columns is None and "" in names and "" not in beside["drop"]:
        raise ValueError(
            f"source: expected a name for every column; received none for column {list(names).index('')} of {where}, "
            "which may be the index that pandas writes. Leave it out, drop=[''], or write the file with index=False."
        )
    if columns is not None and label in columns:
        raise ValueError(f"label: expected another column than those in columns=; received {label!r} in both.")
    left_out = {name for chosen in beside.values() for name in chosen}
    features = tuple(str(name) for name in (names if columns is None else columns) if name not in left_out)
    if not features:
        raise ValueError(
            f"source: expected at least one column beside the label; received {list(names)} in {where}, and "
            f"{sorted(map(str, left_out))} to leave out."
        )
    return features


def find_columns(
    found: Mapping[str, str], features: Sequence[str], options: ReadOptions, where: str
) -> tuple[Column, ...]:
    """Return what the columns of a table that are asked for hold, as ``found`` or as the options say.

    Times that are not asked for by name are left out; ``where`` is what holds the table, for errors.
    """
    category, number = options.category or (), options.number or ()
    for argument, asked in (("category", category), ("number", number)):
        for name in asked:
            validate_known(argument, name, list(found), where)
    if both := set(category) & set(number):
        raise ValueError(f"number: expected other columns than those of category; received {both.pop()!r} in both.")
    kinds = {name: "category" if name in category else "number" if name in number else found[name] for name in features}
    times = [name for name, kind in kinds.items() if kind == "time"]
    if times and options.columns is None:
        what = f"{', '.join(times)}, which hold{'s' if len(times) == 1 else ''} times"
        warnings.warn(f"left out {what}; drop=[...] says so, and category=[...] makes categories of them", stacklevel=2)
        kinds = {name: kind for name, kind in kinds.items() if kind != "time"}
    others = [
        f"{name!r} ({kind})" for name, kind in kinds.items() if kind not in ("number", "yes/no", "text", "category")
    ]
    if others or not kinds:
        raise ValueError(
            f"source: expected columns of numbers, categories, or true and false; received "
            f"{', '.join(others or map(repr, times))} in {where}. Leave these out, drop=[...], or take one for label=."
        )
    return tuple(Column(name, "category" if kind == "text" else kind) for name, kind in kinds.items())


def kind_of(dtype: pa.DataType) -> str:
    """What a column of that type of Arrow holds."""
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype):
        return "number"
    if pa.types.is_boolean(dtype):
        return "yes/no"
    if pa.types.is_null(dtype):
        return "missing"
    if pa.types.is_temporal(dtype):
        return "time"
    return "text" if is_text(dtype) else str(dtype)


def is_text(dtype: pa.DataType) -> bool:
    """Whether a column of that type holds texts."""
    if pa.types.is_dictionary(dtype):
        dtype = dtype.value_type
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_null(dtype)


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
