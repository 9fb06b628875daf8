"""From a source to data: split, checked and scaled."""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfae import preprocessing as scaling
from tfae.datasets import defects, memory
from tfae.datasets.beside import Rows, validate_units, validate_weights
from tfae.datasets.columns import select
from tfae.datasets.data import Data, digest_of
from tfae.datasets.division import are_normal, divide_source
from tfae.datasets.feeds import Feed
from tfae.datasets.scan import scan
from tfae.datasets.source import Source
from tfae.datasets.splits import Splits
from tfae.load_options import VARYING, LoadOptions
from tfae.moments import Samples, blocks
from tfae.moments import bounds as find_bounds

#: Rows in which columns that rise are looked for, and how few show nothing.
_NUM_TRIED, _LEAST_TRIED = 1000, 20
#: How far apart the quartiles of a column are, in model space, where extreme values leave no difference to be learned.
_SQUASHED = 1e-4


def prepare(
    source: Source,
    options: LoadOptions,
    arguments: dict[str, Any] | None,
    paired: Rows | None,
    sample_weight: Rows | None,
) -> Data:
    """Read, split and scale a source; ``arguments`` of ``load`` give it again, ``paired`` are the model's inputs."""
    splits, seed, in_memory = options.splits, options.seed, options.in_memory
    only_varying = options.columns == [VARYING]
    if in_memory is None:
        # A copy for the splits, another for TensorFlow, and as much for everything else.
        in_memory = source.max_bytes is not None and source.max_bytes <= memory.available() // 4
    method = options.preprocessing
    if method == "default":
        method = scaling.default_method(source.kind, source.dtype)
    has_moments = method == "standard"
    divide = functools.partial(divide_source, fractions=splits, seed=seed, in_memory=in_memory, normal=options.normal)
    split, labels, digests, rows, spread = divide(source, has_moments=has_moments)
    # Without some columns samples can be alike that were not, and the splits others: so the splits are made anew,
    # until they are those that the columns give when they are asked for by name.
    while only_varying and not (varying := _find_varying(split.train)).all():
        names = source.feature_names or range(len(varying))
        source = select(source, [names[index] for index in np.flatnonzero(varying)])
        paired = paired and {name: array[:, varying] for name, array in paired.items()}
        split, labels, digests, rows, spread = divide(source, has_moments=has_moments)
    if only_varying:
        source = source if source.feature_names else select(source, range(*source.shape))
    samples = raw = split
    if in_memory and not source.is_windowed:
        with tf.device("CPU"):  # a batch at a time goes to the accelerator, whose memory the data may not fit
            samples = Splits(*map(tf.constant, split))
        raw = Splits(*map(np.asarray, samples))  # read-only views: the data is in memory once
    del split
    bounds_of, moments = spread or scan(raw, has_moments=has_moments)
    value_range = options.value_range or source.value_range
    if value_range is not None:
        for found in bounds_of:
            defects.validate_range(found, value_range)
    fitted = scaling.fit(
        method,
        raw.train,
        kind=source.kind,
        value_range=value_range,
        feature_names=source.feature_names,
        bounds=bounds_of.train,
        moments=moments,
        columns=(source.columns or ()) if source.feature_names or source.allows_gaps else (),
        max_categories=options.max_categories,
    )
    batch_size = options.batch_size or default_batch_size(len(raw.train))
    if arguments is not None:
        arguments = arguments | {"in_memory": in_memory, "batch_size": batch_size}
        if arguments["columns"] is not None:
            arguments["columns"] = list(source.feature_names or ())
    inputs, weights = (
        None if beside is None else Splits(*(beside[name][indices] for name, indices in rows))
        for beside in (paired, sample_weight)
    )
    _validate_scaled("source", raw, bounds_of, fitted, source, rows)
    if source.kind == "table" and (in_memory or source.feature_names):  # An array on disk is read once.
        _warn_of_columns(raw.train, fitted, source.feature_names, is_scaled=in_memory and method != "none")
    if inputs is not None:
        if method != "none":
            validate_units(raw.train, inputs.train)
        _validate_scaled("inputs", inputs, Splits(*map(find_bounds, inputs)), fitted, source, rows)
    if weights is not None:
        validate_weights(weights)
    with tf.device("CPU"):
        held = (map(tf.constant, each) if each is not None else itertools.repeat(None) for each in (inputs, weights))
        feeds = (Feed(part, fitted, batch_size, *beside) for part, *beside in zip(samples, *held, strict=False))
    train, validation, test = feeds
    files = {name: part.sample_names for name, part in source.parts.items()}
    data = Data(
        name=source.name,
        kind=source.kind,
        shape=fitted.model_shape,
        train=train.shuffled(seed, epoch=0),
        validation=validation.in_stored_order(),
        test=test.in_stored_order(),
        preprocessing=fitted,
        raw=raw,
        bounds=bounds_of,
        labels=labels,
        feature_names=source.feature_names,
        value_range=value_range,
        seed=seed,
        batch_size=batch_size,
        arguments=arguments,
        feed=train,
        inputs=inputs,
        sample_weight=weights,
        label_names=source.label_names,
        origins=Splits(*(np.array(files[at])[of] if isinstance(files[at], tuple) else of for at, of in rows)),
        is_anomaly=None
        if options.normal is None or labels is None
        else ~are_normal(labels.test, options.normal, source),
    )
    vars(data)["digest"] = digest_of(raw, digests, inputs, weights)  # Known without another pass.
    return data


def _validate_scaled(
    argument: str, splits: Splits, bounds_of: Splits, fitted: scaling.Preprocessing, source: Source, rows: Splits
) -> None:
    """Raise ValueError for a value that float32 does not hold in model space, or whose spread float64 does not hold."""
    for samples, bounds, (part, places) in zip(splits, bounds_of, rows, strict=True):
        ends = bounds.astype("float64")
        with np.errstate(all="ignore"):
            is_held = np.isfinite(((ends - fitted.offset) / fitted.scale).astype("float32"))
        is_held |= np.isnan(ends)  # A column of gaps alone.
        is_held &= np.isfinite(fitted.scale)
        if is_held.all():
            continue
        end, *position = map(int, np.unravel_index(np.where(is_held, -1, np.abs(ends)).argmax(), ends.shape))
        value = bounds[(end, *position)]
        element: Any = (slice(None), *position)
        found = np.concatenate([block[element] == value for block in blocks(samples)])
        sample = source.parts[part].name_sample(int(places[found.argmax()]))
        place = defects.describe_place(sample, position, source.feature_names)
        raise ValueError(
            f'{argument}: expected numbers that float32 holds after preprocessing "{fitted.method}"; received '
            f"{value:g} in {place}{'' if part == 'all' else f' of {part!r}'}. Leave such samples or columns out, or "
            "correct them first."
        )


def _warn_of_columns(
    train: Samples, fitted: scaling.Preprocessing, feature_names: Sequence[str] | None, *, is_scaled: bool
) -> None:
    """Warn of columns of which nothing is learned: that count the rows or tell their time, or that extremes squash."""
    rows = train[:_NUM_TRIED].astype("float64")
    if len(rows) < _LEAST_TRIED:
        return

    def name(is_found: np.ndarray) -> str:
        return ", ".join(defects.call_column(index, feature_names) for index in np.flatnonzero(is_found).tolist())

    steps = np.diff(rows, axis=0)
    rises = (steps > 0).all(axis=0) | (steps < 0).all(axis=0)
    if feature_names is not None and rises.any() and not rises.all():
        warnings.warn(
            f"each of {name(rises)} rises or falls from row to row, as identifiers and times do, which say nothing "
            "about a sample; drop=[...] leaves them out",
            stacklevel=4,
        )
    low, high = np.sort(rows, axis=0)[[len(rows) // 4, 3 * len(rows) // 4]]
    is_squashed = (low < high) & ((high - low) / fitted.scale < _SQUASHED)
    if is_scaled and is_squashed.any():
        warnings.warn(
            f'preprocessing "{fitted.method}" brings the middle half of the values of column {name(is_squashed)} '
            f"within {_SQUASHED:g} of each other, since a few extreme ones set the scale, so that nothing is learned "
            "of the rest; correct those, or drop=[...] leaves such columns out",
            stacklevel=4,
        )


def default_batch_size(num_samples: int) -> int:
    """Return a power of two of which 10 batches make an epoch of so many training samples, from 8 to 128.

    A training is a number of steps. Two of them per epoch, as with batches of 128 of 240 images, end in nothing.
    """
    return min(128, max(8, 2 ** int(math.log2(max(1, num_samples / 10)))))


def _find_varying(samples: Samples) -> np.ndarray:
    """Bool, one for each column of a table: whether it can be scaled by its spread."""
    if len(samples.shape) != 2:
        raise ValueError(
            f"columns: expected None for samples of shape {samples.shape[1:]}, which have no columns; "
            f'received "{VARYING}".'
        )
    varying = ~scaling.constant_columns(samples)  # Of codes as of numbers.
    if not varying.any():
        raise ValueError(
            f"source: expected columns that vary; received {samples.shape[1]} columns that are constant in the "
            f"{len(samples)} training samples."
        )
    return varying
