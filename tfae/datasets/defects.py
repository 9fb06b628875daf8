"""What no autoencoder can be trained on or asked about, refused with the name of the column, file or sample."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np

from tfae.spread import Samples, blocks


def refuse_dtype(dtype: np.dtype, *, name: str) -> None:
    """Raise ValueError unless ``dtype`` is bool, an integer, or a float of 16 to 64 bits."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        expected = f"source: expected {name} to hold numbers (bool, integer or float of at most 64 bits)"
        if dtype.hasobject:
            raise ValueError(f"{expected}; received Python objects.")
        raise ValueError(f"{expected}; received dtype {dtype}. Convert it, for example with .astype('float32').")


def refuse_shape(shape: Sequence[int], *, name: str) -> None:
    """Raise ValueError unless ``shape``, that of a whole array, holds samples that each have at least one value."""
    if len(shape) < 2:
        raise ValueError(
            f"source: expected {name} to have a sample axis and at least one more; received shape {tuple(shape)}. "
            "Give a single column as array.reshape(-1, 1)."
        )
    if 0 in shape:
        raise ValueError(f"source: expected {name} to hold at least one value; received shape {tuple(shape)}.")


def refuse_non_finite(
    samples: np.ndarray,
    *,
    first: int = 0,
    feature_names: Sequence[str] | None = None,
    sample_names: Sequence[str] | None = None,
) -> None:
    """Raise ValueError that says where the first NaN or infinite value is.

    Args:
        samples: Raw samples ``(n, *shape)``.
        first: Index of the first of them in the data.
        feature_names: The names of a table's columns.
        sample_names: The files of all samples in the data.
    """
    if samples.dtype.kind != "f" or np.isfinite(samples).all():
        return
    sample, *position = (int(i) for i in np.argwhere(~np.isfinite(samples))[0])
    value = samples[(sample, *position)]
    if sample_names is not None:
        where = f"file {sample_names[first + sample]!r}"
    elif len(position) == 1:
        column = position[0] if feature_names is None else repr(feature_names[position[0]])
        where = f"column {column}, row {first + sample} (rows count from 0)"
    else:
        where = f"sample {first + sample} at {tuple(position)} (counted from 0)"
    raise ValueError(
        f"source: expected finite numbers; received {'NaN' if np.isnan(value) else value} in {where}. "
        "Remove or fill such values first."
    )


def refuse_unservable(samples: np.ndarray) -> None:
    """Raise ValueError for what a served model could not be asked about: integers beyond 63 bits."""
    if samples.dtype == np.uint64 and samples.size and samples.max() > np.iinfo(np.int64).max:
        raise ValueError(
            f"source: expected integers of at most 2**63 - 1; received {samples.max()}. Convert the data to float64."
        )


def refuse_constant(samples: Samples) -> None:
    """Raise ValueError where every value of several samples is the same: there is nothing to learn."""
    value = samples[:1].flat[0]
    if len(samples) > 1 and all((block == value).all() for block in blocks(samples)):
        raise ValueError(
            f"source: expected data that varies; received {value} as every value of all {len(samples)} samples."
        )


def refuse_outside(bounds: np.ndarray, value_range: tuple[float, float]) -> None:
    """Raise ValueError where the least and greatest values lie outside the range that was declared for the data."""
    low, high = bounds.min(), bounds.max()
    if low < value_range[0] or high > value_range[1]:
        raise ValueError(
            f"value_range: expected a range that holds all values, which are from {low} to {high}; "
            f"received {value_range}."
        )


def close_matches(name: str, names: Iterable[str]) -> str:
    """Return "Did you mean …?" with the names close to ``name``, or the first of all names where none is."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(map(repr, names[:10]))
    return f"There is {shown}{f' and {len(names) - 10} more' if len(names) > 10 else ''}."


def reason(error: BaseException) -> str:
    """Return what another library says is wrong, on one line and without a period at its end."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
