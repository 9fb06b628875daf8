"""What comes beside the samples, row by row: what the model gets in their place, and how much each weighs."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfae.datasets.source import Source
from tfae.datasets.splits import Splits
from tfae.moments import Samples

#: How much inputs vary at least and at most, as a multiple of the samples. Pixels are scaled by 255.
_LEAST_SPREAD, _MOST_SPREAD = 1 / 50, 100
#: By name of the part of a source, a row for each sample.
Rows = dict[str, np.ndarray]


def read_inputs(inputs: Source, source: Source) -> Rows:
    """Read what the model gets in place of the samples of a source, one of the shape of a sample for each of them."""
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
    return rows


@contextlib.contextmanager
def called(argument: str) -> Iterator[None]:
    """Name the argument in errors about a source."""
    try:
        yield
    except ValueError as error:
        raise ValueError(re.sub("^(source|columns):", f"{argument}:", str(error))) from error


def read_weights(given: Any, source: Source) -> Rows:
    """Read the weights of the samples of a source: an array ``(n,)``, a dict of such for the splits, or a .npy file."""
    if isinstance(given, str):
        try:
            given = np.load(given, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"sample_weight: expected a .npy file; received {given!r} ({error}).") from None
    by_part = given if isinstance(given, Mapping) else {"all": given}
    try:
        rows = {name: np.atleast_1d(np.asarray(array, "float32")) for name, array in by_part.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"sample_weight: expected numbers, one for each sample; received {type(given).__name__} ({error})."
        ) from None
    _validate_counts("sample_weight", rows, source)
    for name, array in rows.items():
        if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(
                f"sample_weight: expected finite weights of 0 or more, (n,); received shape {array.shape}"
                + (f" from {array.min():g} to {array.max():g}" if array.size else "")
                + f"{'' if name == 'all' else f' in {name!r}'}."
            )
    return rows


def validate_units(samples: Samples, inputs: np.ndarray) -> None:
    """Raise ValueError for inputs in other units than the samples, such as scaled ones: both are scaled alike."""
    if inputs.dtype == samples.dtype and inputs.dtype.kind in "iub":
        return
    step, channels = max(1, len(samples) // 1000), samples.shape[-1]
    spreads = []
    for each in (samples, inputs):
        values: np.ndarray = each[::step].reshape(-1, channels).astype("float64")
        spreads.append(np.abs(values - values.mean(axis=0)).mean(axis=0))
    varies = (spreads[0] > 0) & (spreads[1] > 0)
    # Of most channels: masks leave little of some, and noise adds to others.
    ratio = float(np.median(spreads[1][varies] / spreads[0][varies])) if varies.any() else 1.0
    if not _LEAST_SPREAD < ratio < _MOST_SPREAD:
        raise ValueError(
            "inputs: expected values in the units of the samples, since both are scaled alike; received some that vary "
            f"{ratio:.2g} times as much, as if they were scaled {'already' if ratio < 1 else 'only there'}. Bring both "
            'to one scale; with preprocessing="none" they are taken as they are.'
        )


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
