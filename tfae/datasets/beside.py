"""What comes beside the samples, row by row: what the model gets in their place, and how much each weighs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
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
    with called("inputs"):
        rows = {name: part.read(inputs.read_size)[0] for name, part in inputs.parts.items()}
    # Whether gray images have a channel axis is no matter.
    shorter, longer = sorted((inputs.shape, source.shape), key=len)
    if (*shorter, 1) == longer:
        rows = {name: array.reshape(len(array), *source.shape) for name, array in rows.items()}
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
    if source.value_range is not None and np.dtype(source.dtype).kind in "iu" and np.dtype(inputs.dtype).kind == "f":
        _validate_units(rows, source.value_range)
    return rows


def _validate_units(rows: Rows, value_range: tuple[float, float]) -> None:
    """Raise ValueError for inputs that are scaled already: they are scaled as the samples are."""
    least, most = (operation([operation(array) for array in rows.values()]) for operation in (np.min, np.max))
    if most - least < (value_range[1] - value_range[0]) / 50:
        raise ValueError(
            f"inputs: expected values in the units of the samples, which are in [{value_range[0]:g}, "
            f"{value_range[1]:g}], since both are scaled alike; received floats from {least:.4g} to {most:.4g}, which "
            'look scaled already. Multiply them, or scale the samples, too, and use preprocessing="none".'
        )


@contextlib.contextmanager
def called(argument: str) -> Iterator[None]:
    """Name the argument in errors about a source."""
    try:
        yield
    except ValueError as error:
        raise ValueError(re.sub("^source:", f"{argument}:", str(error))) from error


def read_weights(given: Any, source: Source) -> Rows:
    """Read the weights of the samples of a source: an array ``(n,)``, a dict of such for the splits, or a .npy file.

    Raises:
        ValueError: If they are no finite numbers ≥ 0, one for each sample.
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
        if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(
                f"sample_weight: expected finite weights of 0 or more, (n,); received shape {array.shape}"
                + (f" from {array.min():g} to {array.max():g}" if array.size else "")
                + f"{'' if name == 'all' else f' in {name!r}'}."
            )
    return rows


def take_rows(rows: Rows, places: Splits) -> Splits:
    """Return what belongs to the samples of splits, which are at these places: the name of a part, and indices."""
    return Splits(*(rows[name][indices] for name, indices in places))


def validate_weights(sample_weight: Splits) -> None:
    """Raise ValueError where the weights of training or validation are all 0, so that nothing would be learned."""
    for name, weights in (("train", sample_weight.train), ("validation", sample_weight.validation)):
        if not weights.any():
            raise ValueError(
                f"sample_weight: expected a positive weight in the {name} split; received {len(weights)} that are 0. "
                "Give more samples a weight, or splits of your own."
            )


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
