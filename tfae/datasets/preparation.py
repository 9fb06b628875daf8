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
from tfae.datasets.data import Data, digest_of
from tfae.datasets.feeds import Feed
from tfae.datasets.scan import Scan, Spread, scan
from tfae.datasets.source import Source
from tfae.datasets.splits import Splits, disjoint, number_distinct, sample_digests, split_indices
from tfae.datasets.stored import StoredSamples
from tfae.load_options import VARYING, LoadOptions
from tfae.moments import Samples, blocks


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
    method = options.preprocessing
    if method == "default":
        method = scaling.default_method(source.kind, source.dtype)
    has_moments = method == "standard"
    split, labels, digests, spread = _split(source, splits, seed, in_memory, has_moments)
    # Without some columns samples can be alike that were not, and the splits others: so the splits are made anew,
    # until they are those that the columns give when they are asked for by name.
    while only_varying and not (varying := _find_varying(split.train)).all():
        names = source.feature_names or range(len(varying))
        source = select(source, [names[index] for index in np.flatnonzero(varying)])
        split, labels, digests, spread = _split(source, splits, seed, in_memory, has_moments)
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
    )
    train, validation, test = (Feed(part, fitted, options.batch_size) for part in samples)
    data = Data(
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
    vars(data)["digest"] = digest_of(raw, digests)  # Known without another pass.
    return data


def _split(
    source: Source, fractions: tuple[float, float, float], seed: int, in_memory: bool, has_moments: bool
) -> tuple[Splits, Splits | None, Splits, Spread | None]:
    """Return samples, labels, digests and, if known, spread of the splits: the data set's own where it has them."""
    size = source.read_size
    read: dict[str, tuple[Any, np.ndarray | None, np.ndarray]] = {}
    for name, part in source.parts.items():
        if in_memory:
            samples, labels = part.read(size)
            read[name] = samples, labels, sample_digests(blocks(samples))
            continue
        number = part.num_samples or 0
        expected: tuple[np.ndarray, ...] = ()
        if name == "all" and number >= len(fractions):
            expected = split_indices(np.arange(number), fractions, seed=seed)
        found = Scan(expected, has_moments=has_moments)
        read[name] = *part.store(size, found), found.digests
    if "all" in read:
        samples, labels, digests = read["all"]
        defects.validate_varies(samples, digests)
        parts = split_indices(number_distinct(digests), fractions, seed=seed)
        labels_of = None if labels is None else _take([labels] * 3, parts)
        spread = None if in_memory else found.spread_of(parts)
        return _take([samples] * 3, parts), labels_of, _take([digests] * 3, parts), spread
    samples, labels, digests = read["train"]
    defects.validate_varies(samples, digests)
    if "validation" not in read:
        parts = split_indices(number_distinct(digests), fractions[:2], seed=seed)
        for name, indices in zip(("train", "validation"), parts, strict=True):
            read[name] = (_at(samples, indices), None if labels is None else labels[indices], digests[indices])
    raw, held, of = (Splits(*(read[name][index] for name in Splits._fields)) for index in range(3))
    labelled = None if any(labels is None for labels in held) else held
    kept = disjoint(of)
    left_out = sum(map(len, raw)) - sum(map(len, kept))
    if left_out:
        warnings.warn(
            f"left {left_out} samples of {source.name!r} out of its training and validation splits, "
            "because they are in a later split too",
            stacklevel=5,
        )
        raw, of, labelled = _take(raw, kept), _take(of, kept), None if labelled is None else _take(labelled, kept)
        if min(map(len, raw)) == 0:
            raise ValueError("source: expected splits that differ; received one whose samples are all in another.")
    return raw, labelled, of, None


def _find_varying(samples: Samples) -> np.ndarray:
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
    return Splits(*(_at(array, kept) for array, kept in zip(arrays, indices, strict=True)))


def _at(samples: Any, indices: np.ndarray) -> Any:
    return samples.take(indices) if isinstance(samples, StoredSamples) else samples[indices]
