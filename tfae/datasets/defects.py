"""What no autoencoder can be trained on or asked about; errors name the column, file or sample."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from tfae.moments import Samples


def validate_dtype(dtype: np.dtype, *, name: str) -> None:
    """Raise ValueError unless ``dtype`` is bool, an integer, or a float of 16 to 64 bits."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        expected = f"source: expected {name} to hold numbers (bool, integer or float of at most 64 bits)"
        if dtype.hasobject:
            raise ValueError(f"{expected}; received Python objects.")
        raise ValueError(f"{expected}; received dtype {dtype}. Convert it, for example with .astype('float32').")


class MissingValues:
    """Counts NaN and infinite values, so that the error says where the first is and how much of the data they are."""

    def __init__(
        self, *, feature_names: Sequence[str] | None = None, name_sample: Callable[[int], int | str] = int
    ) -> None:
        self._feature_names = feature_names
        self._name_sample = name_sample
        self._first: str | None = None
        self._counts: np.ndarray | None = None
        self._num_samples = self._num_incomplete = self._num_values = 0

    def __bool__(self) -> bool:
        return self._first is not None

    def add(self, samples: np.ndarray) -> None:
        """Take in more samples, raw ones ``(n, *shape)``."""
        if samples.dtype.kind == "f" and not (is_finite := np.isfinite(samples)).all():
            if self._first is None:
                sample, *position = (int(i) for i in np.argwhere(~is_finite)[0])
                value = samples[(sample, *position)]
                missing = "NaN" if self._feature_names is None else "a missing value"
                what = missing if np.isnan(value) else str(value)
                where = self._name_sample(self._num_samples + sample)
                self._first = f"{what} in {describe_place(where, position, self._feature_names)}"
            axes = 0 if samples.ndim == 2 else None  # Of columns, where there are columns.
            counts = np.atleast_1d((~is_finite).sum(axis=axes))
            self._counts = counts if self._counts is None else self._counts + counts
            self._num_incomplete += int((~is_finite).reshape(len(samples), -1).any(axis=1).sum())
            self._num_values = samples[0].size
        self._num_samples += len(samples)

    def validate(self) -> None:
        """Raise ValueError if there are any."""
        if self._first is None or self._counts is None:
            return
        counts, num_values = self._counts, self._num_samples * self._num_values
        is_table = len(counts) == self._num_values
        shown = f"{counts.sum():,} of {num_values:,} values ({percent(counts.sum() / num_values)})"
        rows = f"{self._num_incomplete:,} of {self._num_samples:,} {'rows' if is_table else 'samples'}"
        remedy = "Leave these out, or fill them in first."
        columns = ""
        if is_table:
            names = (
                [*map(repr, self._feature_names)]
                if self._feature_names
                else [f"column {i}" for i in range(len(counts))]
            )
            worst = [index for index in np.argsort(-counts, kind="stable") if counts[index]]
            columns = ": " + ", ".join(f"{names[i]} {percent(counts[i] / self._num_samples)}" for i in worst[:5])
            columns += f", and {len(worst) - 5} columns more" if len(worst) > 5 else ""
            remedy = (
                'Take missing ones as such, gaps="mask"; or leave out their rows, gaps="drop", or columns, drop=[...]. '
                "See tfae docs tables."
            )
        raise ValueError(
            f"source: expected finite numbers; received {self._first}. Missing or infinite are {shown}, in "
            f"{rows}{columns}. {remedy}"
        )


def find(samples: np.ndarray, feature_names: Sequence[str] | None, *, allows_gaps: bool) -> dict[int, str]:
    """Say which samples of a batch are not finite, but for NaN where gaps are allowed, and in which element."""
    if samples.dtype.kind != "f":
        return {}
    is_wrong = ~np.isfinite(samples) & ~(np.isnan(samples) & allows_gaps)
    found = {}
    for row in np.flatnonzero(is_wrong.reshape(len(samples), -1).any(axis=1)).tolist():
        position = tuple(np.argwhere(is_wrong[row])[0].tolist())
        value = samples[(row, *position)]
        where = f"at {position}" if len(position) > 1 else f"in column {call_column(position[0], feature_names)}"
        found[row] = f"{'a missing value' if np.isnan(value) else value} {where}"
    return found


def describe_place(sample: int | str, position: Sequence[int], feature_names: Sequence[str] | None) -> str:
    """Where a value is: in which sample, as :meth:`Part.name_sample` names it, and where in that."""
    if len(position) == 1:
        called = call_column(position[0], feature_names)
        return f"column {called}, {sample if isinstance(sample, str) else f'row {sample} (rows count from 0)'}"
    return sample if isinstance(sample, str) else f"sample {sample} at {tuple(position)} (counted from 0)"


def call_column(index: int, feature_names: Sequence[str] | None) -> str:
    """Name a column in quotes, or by its index where it has no name."""
    return str(index) if feature_names is None else repr(feature_names[index])


def percent(share: float | None) -> str:
    """A share of the data as it is shown; None is none of it."""
    return f"{100 * (share or 0):.3g} %"


def validate_servable(samples: np.ndarray) -> None:
    """Raise ValueError for what a served model could not be asked about: integers beyond 63 bits."""
    if samples.dtype == np.uint64 and samples.size and samples.max() > np.iinfo(np.int64).max:
        raise ValueError(
            f"source: expected integers of at most 2**63 - 1; received {samples.max()}. Convert the data to float64."
        )


def validate_varies(samples: Samples, digests: np.ndarray) -> None:
    """Raise ValueError where every value of several samples is the same: there is nothing to learn."""
    first = samples[:1]
    value = first.flat[0]
    if len(samples) > 1 and (digests == digests[0]).all() and (first == value).all():
        raise ValueError(
            f"source: expected data that varies; received {value} as every value of all {len(samples)} samples."
        )


def validate_range(bounds: np.ndarray, value_range: tuple[float, float]) -> None:
    """Raise ValueError where the least and greatest values lie outside the range that was declared for the data."""
    low, high = bounds.min(), bounds.max()
    if low < value_range[0] or high > value_range[1]:
        raise ValueError(
            f"value_range: expected a range that holds all values, which are from {low} to {high}; "
            f"received {value_range}."
        )


def close_matches(name: str, names: Iterable[str], *, otherwise: str | None = None) -> str:
    """Return "Did you mean …?" with the names close to ``name``, else ``otherwise`` or the first of all names."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(map(repr, names[:10]))
    return otherwise or f"There is {shown}{f' and {len(names) - 10} more' if len(names) > 10 else ''}."


def reason(error: BaseException) -> str:
    """Return what another library says is wrong, on one line and without a period at its end."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
