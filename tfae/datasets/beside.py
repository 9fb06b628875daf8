"""What comes beside the samples, row by row: what the model gets in their place, and how much each weighs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfae.datasets.source import Source
from tfae.datasets.splits import Splits

#: By name of the part of a source, a row for each sample.
Rows = dict[str, np.ndarray]


def read_inputs(inputs: Source, source: Source) -> Rows:
    """Read what the model gets in place of the samples of a source.

    Raises:
        ValueError: If there is not one of the shape of a sample for each of them.
    """
    rows = {name: part.read(inputs.read_size)[0] for name, part in inputs.parts.items()}
    if inputs.feature_names and source.feature_names and inputs.feature_names != source.feature_names:
        raise ValueError(
            f"inputs: expected the columns of the samples, {', '.join(source.feature_names)}; received "
            f"{', '.join(inputs.feature_names)}."
        )
    for name, array in rows.items():
        if array.shape[1:] != source.shape:
            raise ValueError(
                f"inputs: expected the shape of the samples, {source.shape}; received {array.shape[1:]}"
                f"{'' if name == 'all' else f' in {name!r}'}."
            )
    _validate_counts("inputs", rows, source)
    return rows


def read_weights(given: Any, source: Source) -> Rows:
    """Read the weights of the samples of a source: an array ``(n,)``, a dict of such for the splits, or a .npy file.

    Raises:
        ValueError: If they are no finite numbers ≥ 0, one for each sample, of which one is positive.
    """
    if isinstance(given, str):
        try:
            given = np.load(given, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"sample_weight: expected a .npy file; received {given!r} ({error}).") from None
    by_part = given if isinstance(given, Mapping) else {"all": given}
    rows = {name: np.asarray(array, "float32") for name, array in by_part.items()}
    _validate_counts("sample_weight", rows, source)
    for name, array in rows.items():
        if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any() or not array.any():
            raise ValueError(
                f"sample_weight: expected finite weights of 0 or more, (n,), not all 0; received shape {array.shape}"
                + (f" from {array.min():g} to {array.max():g}" if array.size else "")
                + f"{'' if name == 'all' else f' in {name!r}'}."
            )
    return rows


def take_rows(rows: Rows, places: Splits) -> Splits:
    """Return what belongs to the samples of splits, which are at these places: the name of a part, and indices."""
    return Splits(*(rows[name][indices] for name, indices in places))


def _validate_counts(option: str, rows: Rows, source: Source) -> None:
    if rows.keys() != source.parts.keys():
        expected = "one array" if "all" in source.parts else f"a dict of {', '.join(source.parts)}, as the samples"
        raise ValueError(f"{option}: expected {expected}; received {', '.join(rows)}.")
    for name, part in source.parts.items():
        if part.num_samples is not None and part.num_samples != len(rows[name]):
            raise ValueError(
                f"{option}: expected {part.num_samples} rows, one for each sample"
                f"{'' if name == 'all' else f' of {name!r}'}; received {len(rows[name])}."
            )
