"""From a source to data: split, checked and scaled."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfae import preprocessing as scaling
from tfae.datasets import defects, memory
from tfae.datasets.columns import select
from tfae.datasets.data import Data
from tfae.datasets.feeds import Feed
from tfae.datasets.source import Source
from tfae.datasets.splits import Splits, disjoint, identity, split_indices
from tfae.datasets.stored import StoredSamples
from tfae.load_options import VARYING, LoadOptions
from tfae.moments import Samples, bounds


def prepare(source: Source, options: LoadOptions, arguments: dict[str, Any] | None) -> Data:
    """Read, split and scale a source.

    Args:
        source: Opened by the options.
        options: Say how to split and scale it.
        arguments: Those of ``tfae.datasets.load`` that give it again, JSON-able; None for data from memory.
    """
    splits, seed, in_memory = options.splits, options.seed, options.in_memory
    only_varying = options.columns == [VARYING]
    if in_memory is None:
        # A copy for the splits, another for TensorFlow, and as much for everything else.
        in_memory = source.max_bytes is not None and source.max_bytes <= memory.available() // 4
    split, labels = _split(source, splits, seed, in_memory)
    # Without some columns samples can be alike that were not, and the splits others: so the splits are made anew,
    # until they are those that the columns give when they are asked for by name.
    while only_varying and not (varying := _varying(split.train)).all():
        names = source.feature_names or range(len(varying))
        source = select(source, [names[index] for index in np.flatnonzero(varying)])
        split, labels = _split(source, splits, seed, in_memory)
    if only_varying:
        source = source if source.feature_names else select(source, range(*source.shape))
    if arguments is not None:
        arguments = arguments | {"in_memory": in_memory}
        if arguments["columns"] is not None:
            arguments["columns"] = list(source.feature_names or ())
    samples = raw = split
    if in_memory:
        with tf.device("CPU"):  # a batch at a time goes to the accelerator, whose memory the data may not fit
            samples = Splits(*map(tf.constant, split))
        raw = Splits(*map(np.asarray, samples))  # read-only views: the data is in memory once
    del split
    bounds_of = Splits(*map(bounds, raw))
    value_range = options.value_range or source.value_range
    if value_range is not None:
        for found in bounds_of:
            defects.validate_range(found, value_range)
    method = options.preprocessing
    fitted = scaling.fit(
        scaling.default_method(source.kind, source.dtype) if method == "default" else method,
        raw.train,
        kind=source.kind,
        value_range=value_range,
        feature_names=source.feature_names,
    )
    train, validation, test = (Feed(part, fitted, options.batch_size) for part in samples)
    return Data(
        name=source.name,
        kind=source.kind,
        shape=source.shape,
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
        batch_size=options.batch_size,
        arguments=arguments,
        feed=train,
    )


def _split(
    source: Source, fractions: tuple[float, float, float], seed: int, in_memory: bool
) -> tuple[Splits, Splits | None]:
    """Return the samples and the labels of the splits: the data set's own where it has them."""
    size = source.read_size
    read: dict[str, tuple[Any, np.ndarray | None]] = {
        name: part.read(size) if in_memory else part.store(size) for name, part in source.parts.items()
    }
    if "all" in read:
        samples, labels = read["all"]
        defects.validate_varies(samples)
        chosen = split_indices(identity(samples), fractions, seed=seed)
        return _take([samples] * 3, chosen), None if labels is None else _take([labels] * 3, chosen)
    defects.validate_varies(read["train"][0])
    if "validation" not in read:
        samples, labels = read["train"]
        for name, indices in zip(
            ("train", "validation"), split_indices(identity(samples), fractions[:2], seed=seed), strict=True
        ):
            read[name] = (_at(samples, indices), None if labels is None else labels[indices])
    raw = Splits(*(read[name][0] for name in Splits._fields))
    labels_of = [labels for name in Splits._fields if (labels := read[name][1]) is not None]
    kept = disjoint(raw)
    left_out = sum(map(len, raw)) - sum(map(len, kept))
    if left_out:
        warnings.warn(
            f"left {left_out} samples of {source.name!r} out of its training and validation splits, "
            "because they are in a later split too",
            stacklevel=4,
        )
        raw = _take(raw, kept)
        labels_of = list(_take(labels_of, kept)) if len(labels_of) == 3 else []
        if min(map(len, raw)) == 0:
            raise ValueError("source: expected splits that differ; received one whose samples are all in another.")
    return raw, Splits(*labels_of) if len(labels_of) == 3 else None


def _varying(samples: Samples) -> np.ndarray:
    """Bool, one for each column of a table: whether it can be scaled by its spread."""
    if len(samples.shape) != 2:
        raise ValueError(
            f"columns: expected None for samples of shape {samples.shape[1:]}, which have no columns; "
            f'received "{VARYING}".'
        )
    varying = ~scaling.constant_columns(samples)
    if not varying.any():
        raise ValueError(
            f"source: expected columns that vary; received {samples.shape[1]} columns that are constant in the "
            f"{len(samples)} training samples."
        )
    return varying


def _take(arrays: Sequence[Any], indices: Sequence[np.ndarray]) -> Splits:
    return Splits(*(_at(array, chosen) for array, chosen in zip(arrays, indices, strict=True)))


def _at(samples: Any, indices: np.ndarray) -> Any:
    return samples.take(indices) if isinstance(samples, StoredSamples) else samples[indices]
