"""Scalings fitted to samples."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tfae.columns import REST, Column, are_alike
from tfae.moments import Moments, Samples, blocks
from tfae.moments import bounds as find_bounds
from tfae.moments import moments as find_moments
from tfae.preprocessing.layer import Preprocessing

#: What the methods do, for error messages and the command line.
METHODS = {
    "unit": "to [0, 1]",
    "symmetric": "to [-1, 1]",
    "standard": "to mean 0 and standard deviation 1, per feature or per channel",
    "none": "unchanged",
}
#: Where those take the data that have a range of their own.
RANGES = {"unit": (0.0, 1.0), "symmetric": (-1.0, 1.0)}


def fit(
    method: str,
    samples: Samples,
    *,
    kind: str,
    value_range: tuple[float, float] | None = None,
    feature_names: Sequence[str] | None = None,
    bounds: np.ndarray | None = None,
    moments: tuple[np.ndarray, np.ndarray] | None = None,
    columns: Sequence[Column] = (),
    max_categories: int | None = None,
) -> Preprocessing:
    """Fit a scaling to samples; to those of the training split, lest the test set leaks into the model.

    Args:
        method: ``"unit"`` maps the range of the data to [0, 1], ``"symmetric"`` to [−1, 1], ``"standard"`` subtracts
            the mean and divides by the standard deviation, ``"none"`` only casts to float32. Ranges are per column of
            a table and of the whole data else; ``"standard"`` is per column or channel, the last axis.
        samples: Raw training samples, ``(num_samples, ...)``, numeric; in memory, or on disk and read in blocks.
        kind: ``"image"``, ``"sequence"``, ``"table"`` or ``"other"``.
        value_range: Least and greatest value that the data can take, in data space; by default (0, 255) for uint8
            images, (0, 1) for booleans, else what the samples span.
        feature_names: Names of the columns of a table, for errors.
        bounds: What ``tfae.moments.bounds`` finds of the samples, where that is known; ``moments`` likewise.
        columns: What the columns of a table with names hold. Categories that are there twice in the training split get
            an element of their own.
        max_categories: The most that do, the most frequent ones.

    Returns:
        The fitted layer.

    Raises:
        ValueError: If there is no such method, or the data is constant where it would be divided by its spread.

    Example:
        >>> table = np.array([[1.0, 10.0], [3.0, 30.0]])
        >>> fit("standard", table, kind="table")(table).numpy().tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
    """
    if not isinstance(method, str) or method not in METHODS:
        choices = ", ".join(f'"{name}" ({effect})' for name, effect in METHODS.items())
        raise ValueError(f"preprocessing: expected one of {choices}; received {method!r}.")
    if value_range is None:
        value_range = declared_range(kind, samples.dtype)
    elif not value_range[0] < value_range[1]:
        raise ValueError(f"value_range: expected (low, high) with low < high; received {value_range}.")
    make = functools.partial(Preprocessing, method, sample_shape=samples.shape[1:], sample_dtype=samples.dtype.name)
    are_scaled = np.ones(samples.shape[-1] if columns else (), bool)
    if columns:
        are_scaled[:] = are_alike(columns) or [column.kind == "number" for column in columns]
        make = functools.partial(make, columns=columns, codes=_find_codes(samples, columns, max_categories))
    if method == "none" or not are_scaled.any():
        return _fill_gaps(make(value_range=value_range), samples)
    if method == "standard" or value_range is None:
        axis = tuple(range(len(samples.shape) - 2)) if method == "standard" else () if kind == "table" else None
        low, high = find_bounds(samples) if bounds is None else bounds
        low, high = low.min(axis), high.max(axis)
    else:
        low, high = np.asarray(value_range)
    constant = np.asarray(low == high)
    low, high = np.asarray(low, "float64"), np.asarray(high, "float64")
    if method == "standard":
        offset, scale = moments or find_moments(samples)
    else:
        offset, scale = (low, high - low) if method == "unit" else ((low + high) / 2, (high - low) / 2)
    # The deviation of a constant column may be a rounding error instead of 0.
    constant = are_scaled & (constant | (scale < np.finfo("float32").tiny))
    _validate_varies(constant, len(samples), kind, feature_names)
    if columns:
        offset, scale = np.where(are_scaled, offset, 0.0), np.where(are_scaled, scale, 1.0)
    return _fill_gaps(make(offset=offset, scale=scale, value_range=RANGES.get(method)), samples)


def _find_codes(samples: Samples, columns: Sequence[Column], limit: int | None) -> dict[str, list[int]]:
    """Return the codes that have an element of their own, by name of the column; the most frequent first."""
    counts = {
        index: np.zeros(len(column.vocabulary), np.int64)
        for index, column in enumerate(columns)
        if column.kind == "category"
    }
    for block in blocks(samples) if counts else ():
        for index, count in counts.items():
            codes = block[:, index]
            count += np.bincount(codes[codes >= 0].astype(np.int64), minlength=len(count))
    found = {}
    for index, count in counts.items():
        order = np.argsort(-count, kind="stable")[:limit]
        found[columns[index].name] = [int(code) for code in order if count[code] > 1]
    return found


def _fill_gaps(preprocessing: Preprocessing, samples: Samples) -> Preprocessing:
    """Return the preprocessing with what fills the gaps of samples: means, and the rest of categories."""
    if not preprocessing.columns:
        return preprocessing
    have_gaps = np.zeros(len(preprocessing.columns), bool)
    for block in blocks(samples):
        have_gaps |= np.isnan(block.min(axis=0))
    if have_gaps.any():
        found = Moments(*preprocessing.model_shape, scatter=None)
        for block in blocks(samples):
            found.add(preprocessing(block).numpy())
        rest = [name == f"{block.column}={REST}" for block in preprocessing.blocks for name in block.names]
        is_category = [block.kind == "category" for block in preprocessing.blocks for _ in block.names]
        preprocessing.fill = np.where(is_category, rest, found.mean).astype("float32")
        preprocessing.gaps = tuple(c.name for c, has in zip(preprocessing.columns, have_gaps, strict=True) if has)
    return preprocessing


def constant_columns(table: Samples) -> np.ndarray:
    """Return which columns of a table have no range or deviation to divide by, bool ``(num_columns,)``.

    Example:
        >>> constant_columns(np.array([[1, 7], [2, 7]]))
        array([False,  True])
    """
    # The deviation, which is at most half the range, of a constant column may be a rounding error instead of 0.
    low, high = find_bounds(table)
    return (low == high) | (find_moments(table)[1] < np.finfo("float32").tiny)


def default_method(kind: str, dtype: npt.DTypeLike) -> str:
    """The method that fits most data of a kind and dtype.

    Example:
        >>> default_method("image", "uint8"), default_method("table", "float64")
        ('unit', 'standard')
    """
    if kind == "image" or np.dtype(dtype) == bool:
        return "unit"  # Bounded on both sides: every loss applies, and pixels can be shown.
    return "standard"  # Columns and channels of unlike units weigh alike in a sum over elements.


def declared_range(kind: str, dtype: npt.DTypeLike) -> tuple[float, float] | None:
    """The range that the data can take by its kind and dtype alone, in data space; None where they do not say.

    Example:
        >>> declared_range("image", "uint8")
        (0.0, 255.0)
    """
    if np.dtype(dtype) == bool:
        return (0.0, 1.0)
    return (0.0, 255.0) if kind == "image" and np.dtype(dtype) == np.uint8 else None


def _validate_varies(constant: np.ndarray, num_samples: int, kind: str, feature_names: Sequence[str] | None) -> None:
    """Raise where an element of ``constant``, one per column or channel or one for all, is True."""
    if not constant.any():
        return
    if constant.ndim == 0:
        where, leave_out = "data of one value", "Use"
    else:
        names = [repr(feature_names[i]) if feature_names else str(i) for i in np.flatnonzero(constant).tolist()]
        listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        where = f"constant {'columns' if kind == 'table' else 'channels'} {listed}"
        leave_out = 'Leave them out with columns="varying", or use' if kind == "table" else "Leave them out, or use"
    raise ValueError(
        f"preprocessing: expected data that varies; received {where} in the {num_samples} training samples. "
        f'{leave_out} preprocessing="none".'
    )
