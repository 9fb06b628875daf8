"""Data that is ready to train on: splits, scaling, and the pipelines that feed Keras."""

from __future__ import annotations

import functools
import hashlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfae import preprocessing as scaling
from tfae.datasets import defects
from tfae.datasets.arguments import VARYING
from tfae.datasets.columns import select
from tfae.datasets.source import Source
from tfae.datasets.splits import Splits, disjoint, identity, split_indices


@dataclass(frozen=True)
class Data:
    """A data set, split and scaled.

    Attributes:
        name: Of the data set, the file or the folder.
        kind: "image", "sequence", "table" or "other".
        shape: Of one sample.
        train: Batches ``(x, x)``, float32 ``(batch, *shape)`` in model space, in a new order every time it is
            iterated over: first the seed's order 0, then 1, and so on. Load anew to begin with order 0 again.
        validation: Likewise, always in stored order.
        test: Likewise, always in stored order.
        preprocessing: Fitted on the training split: data space to model space, and back.
        raw: The samples of each split in data space and in their own dtype, read-only.
        labels: The labels of each split, for evaluation only; None where the data has none.
        feature_names: The names of a table's columns, or None where it has none.
        value_range: ``(low, high)`` the raw values can take, or None where that is not known.
        seed: The one that the splits and the order of training come from.
        arguments: Those of ``tfae.datasets.load`` that give the same again, JSON-able; None for data from memory.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    train: tf.data.Dataset = field(repr=False)
    validation: tf.data.Dataset = field(repr=False)
    test: tf.data.Dataset = field(repr=False)
    preprocessing: scaling.Preprocessing = field(repr=False)
    raw: Splits = field(repr=False)
    labels: Splits | None = field(repr=False)
    feature_names: tuple[str, ...] | None
    value_range: tuple[float, float] | None
    seed: int
    arguments: dict[str, Any] | None = field(repr=False)

    @functools.cached_property
    def digest(self) -> str:
        """Of dtype, shape and every byte of the raw splits, in hexadecimal: another one tells that the data changed."""
        digest = hashlib.blake2b(digest_size=16)
        for samples in self.raw:
            digest.update(f"{samples.dtype.name}{samples.shape}".encode())
            digest.update(np.ascontiguousarray(samples).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return what run directories and exported models write down about the data, JSON-able."""
        return {
            "name": self.name,
            "kind": self.kind,
            "shape": list(self.shape),
            "dtype": self.raw.train.dtype.name,
            "feature_names": None if self.feature_names is None else list(self.feature_names),
            "value_range": None if self.value_range is None else list(self.value_range),
            "num_samples": {split: len(samples) for split, samples in self.raw._asdict().items()},
            "preprocessing": self.preprocessing.method,
            "seed": self.seed,
            "digest": self.digest,
            "arguments": self.arguments,
        }


def prepare(
    source: Source,
    *,
    seed: int,
    batch_size: int,
    preprocessing: str,
    splits: tuple[float, float, float],
    value_range: tuple[float, float] | None,
    only_varying: bool,
    arguments: dict[str, Any] | None,
) -> Data:
    """Read, split and scale a source; the arguments are those of ``tfae.datasets.load``."""
    split, labels = _split(source, splits, seed)
    # Without some columns samples can be alike that were not, and the splits others: so the splits are made anew,
    # until they are those that the columns give when they are asked for by name.
    while only_varying and not (varying := _varying(split.train)).all():
        names = source.feature_names or range(len(varying))
        source = select(source, [names[index] for index in np.flatnonzero(varying)])
        split, labels = _split(source, splits, seed)
    if only_varying:
        source = source if source.feature_names else select(source, range(*source.shape))
    if arguments is not None and arguments["columns"] is not None:
        arguments = arguments | {"columns": list(source.feature_names or ())}
    with tf.device("CPU"):  # a batch at a time goes to the accelerator, whose memory the data may not fit
        tensors = Splits(*map(tf.constant, split))
    raw = Splits(*map(np.asarray, tensors))  # read-only views: the data is in memory once
    del split
    if value_range is None:
        value_range = source.value_range
    if value_range is not None:
        for samples in raw:
            defects.refuse_outside(samples, value_range)
    if preprocessing == "default":
        preprocessing = scaling.default_method(source.kind, source.dtype)
    fitted = scaling.fit(
        preprocessing,
        raw.train,
        kind=source.kind,
        value_range=value_range,
        feature_names=source.feature_names,
    )
    return Data(
        name=source.name,
        kind=source.kind,
        shape=source.shape,
        train=_pipeline(tensors.train, fitted, batch_size, seed=seed),
        validation=_pipeline(tensors.validation, fitted, batch_size),
        test=_pipeline(tensors.test, fitted, batch_size),
        preprocessing=fitted,
        raw=raw,
        labels=labels,
        feature_names=source.feature_names,
        value_range=value_range,
        seed=seed,
        arguments=arguments,
    )


def stream(source: Source, preprocessing: scaling.Preprocessing, *, batch_size: int = 1024) -> tf.data.Dataset:
    """Feed all samples of a source to a model, in stored order and constant memory where the format allows.

    Args:
        source: What ``open_source`` returned.
        preprocessing: A fitted one, of the model.
        batch_size: Samples per batch.

    Returns:
        Batches ``(x, x)``, float32 ``(batch, *shape)`` in model space.

    Raises:
        ValueError: The samples are not of the shape that the preprocessing was fitted on, or their values can not be
            of its dtype. Where only a later batch shows it, TensorFlow makes an error of its own of it.
    """
    if tuple(source.shape) != preprocessing.sample_shape:
        raise ValueError(
            f"source: expected samples of shape {preprocessing.sample_shape}; received {source.name!r} with samples of "
            f"shape {tuple(source.shape)}."
        )

    def batches() -> Iterator[np.ndarray]:
        for part in source.parts.values():
            for samples, _ in part.batches(batch_size):
                yield scaling.cast_exactly(samples, preprocessing.sample_dtype, name="source")

    if source.dtype != preprocessing.sample_dtype:
        next(batches())  # The first batch shows a wrong unit at once, and outside TensorFlow.

    def scaled(samples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = preprocessing(samples)
        return x, x

    signature = tf.TensorSpec((None, *source.shape), preprocessing.sample_dtype)
    return tf.data.Dataset.from_generator(batches, output_signature=signature).map(scaled).prefetch(1)


def _split(source: Source, fractions: tuple[float, float, float], seed: int) -> tuple[Splits, Splits | None]:
    """Return the samples and the labels of the splits: the data set's own where it has them."""
    if "all" in source.parts:
        samples, labels = source.parts["all"].read()
        defects.refuse_constant(samples)
        chosen = split_indices(identity(samples), fractions, seed=seed)
        return _taken([samples] * 3, chosen), None if labels is None else _taken([labels] * 3, chosen)
    read = {name: part.read() for name, part in source.parts.items()}
    defects.refuse_constant(read["train"][0])
    if "validation" not in read:
        samples, labels = read["train"]
        for name, indices in zip(
            ("train", "validation"), split_indices(identity(samples), fractions[:2], seed=seed), strict=True
        ):
            read[name] = (samples[indices], None if labels is None else labels[indices])
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
        raw = _taken(raw, kept)
        labels_of = list(_taken(labels_of, kept)) if len(labels_of) == 3 else []
        if min(map(len, raw)) == 0:
            raise ValueError("source: expected splits that differ; received one whose samples are all in another.")
    return raw, Splits(*labels_of) if len(labels_of) == 3 else None


def _varying(samples: np.ndarray) -> np.ndarray:
    """Bool, one for each column of a table: whether it can be scaled by its spread."""
    if samples.ndim != 2:
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


def _taken(arrays: Sequence[np.ndarray], indices: Sequence[np.ndarray]) -> Splits:
    return Splits(*(array[chosen] for array, chosen in zip(arrays, indices, strict=True)))


def _pipeline(
    samples: tf.Tensor, preprocessing: scaling.Preprocessing, batch_size: int, *, seed: int | None = None
) -> tf.data.Dataset:
    """Batches ``(x, x)`` of all samples: shuffled anew every epoch where there is a seed, else in stored order."""
    num_samples = len(samples)
    # tf.data's own shuffle mixes Keras's and TensorFlow's global seed into the given one.
    if seed is None:
        indices = tf.data.Dataset.range(num_samples)
    else:
        signature = tf.TensorSpec((num_samples,), tf.int64)
        orders = tf.data.Dataset.from_generator(_Orders(num_samples, seed), output_signature=signature)
        indices = orders.unbatch()

    def batch_of(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = preprocessing(tf.gather(samples, batch))
        return x, x

    options = tf.data.Options()
    options.deterministic = True
    # Autotuning wakes up on a timer of seconds, and a short fit would end by waiting for it.
    options.autotune.enabled = False
    num_batches = -(-num_samples // batch_size)
    return (
        indices.batch(batch_size)
        .map(batch_of)
        .apply(tf.data.experimental.assert_cardinality(num_batches))
        .prefetch(2)
        .with_options(options)
    )


class _Orders:
    """Yield one permutation each time it is called: that of the next epoch."""

    def __init__(self, num_samples: int, seed: int) -> None:
        self._num_samples = num_samples
        self._seed = seed
        self._epochs = itertools.count()

    def __call__(self) -> Iterator[np.ndarray]:
        # RandomState's stream is frozen for good by NumPy's policy (NEP 19).
        yield np.random.RandomState([self._seed, next(self._epochs)]).permutation(self._num_samples)
