"""Data that is ready to train on: splits, scaling, and the pipelines that feed Keras."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfae import preprocessing as scaling
from tfae.columns import Column
from tfae.datasets.feeds import Feed
from tfae.datasets.source import Source
from tfae.datasets.splits import Splits, sample_digests
from tfae.moments import blocks


@dataclass(frozen=True)
class Data:
    """A data set, split and scaled.

    Attributes:
        name: Of the data set, the file or the folder.
        kind: "image", "sequence", "table" or "other".
        shape: Of one sample in model space, which is what a model takes.
        train: Batches ``(x, x)``, float32 ``(batch, *shape)`` in model space, in a new order every time it is
            iterated over: first the seed's order 0, then 1, and so on. ``train_from`` begins with any of them. With
            ``inputs`` these come first in place of x, and with ``sample_weight`` that comes third, ``(batch,)``.
        validation, test: Likewise, always in stored order.
        preprocessing: Fitted on the training split: data space to model space, and back.
        raw: The samples of each split in data space and in their own dtype, read-only: arrays, or ``StoredSamples``,
            which read from disk what they are indexed with and hold nothing in memory.
        bounds: The least and the greatest value of every element in each split, ``(2, *shape)`` in data space.
        inputs: What the model gets in place of the samples of each split, in data space; None for these themselves.
        sample_weight: Of each split, float32 ``(n,)``, for the loss of training and validation; None without any.
        labels: The labels of each split, for evaluation only; None where the data has none.
        feature_names: The names of a table's columns, or None where it has none.
        value_range: ``(low, high)`` the raw values can take, or None where that is not known.
        seed: The one that the splits and the order of training come from.
        batch_size: Samples per batch; the last one may be smaller.
        arguments: Those of ``tfae.datasets.load`` that give the same again, JSON-able; None for data from memory.
        feed: What the pipeline of the training split comes from.
        is_anomaly: Which test samples have another label than ``normal``, bool ``(n,)``; None without that option.
        label_names: What labels that are numbers from 0 on stand for; None where that is not known.
        origins: Of each sample of a split the file, relative to the folder of images, or else the row of the source,
            int64 counted from 0 in the file, in all files of a table, in the array or the data set's own split.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    train: tf.data.Dataset = field(repr=False)
    validation: tf.data.Dataset = field(repr=False)
    test: tf.data.Dataset = field(repr=False)
    preprocessing: scaling.Preprocessing = field(repr=False)
    raw: Splits = field(repr=False)
    bounds: Splits = field(repr=False)
    labels: Splits | None = field(repr=False)
    feature_names: tuple[str, ...] | None
    value_range: tuple[float, float] | None
    seed: int
    batch_size: int
    arguments: dict[str, Any] | None = field(repr=False)
    feed: Feed = field(repr=False)
    inputs: Splits | None = field(repr=False, default=None)
    sample_weight: Splits | None = field(repr=False, default=None)
    label_names: tuple[str, ...] | None = field(repr=False, default=None)
    origins: Splits | None = field(repr=False, default=None)
    is_anomaly: np.ndarray | None = field(repr=False, default=None)

    def normal_test(self) -> tf.data.Dataset:
        """Return the pipeline of those test samples that are normal: of all, unless ``normal`` says which are."""
        if self.is_anomaly is None:
            return self.test
        is_normal = tf.data.Dataset.from_tensor_slices(~self.is_anomaly).batch(self.batch_size)

        @tf.autograph.experimental.do_not_convert
        def keep(batch: tuple[tf.Tensor, ...], kept: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return tuple(tf.boolean_mask(each, kept) for each in batch)

        return tf.data.Dataset.zip((self.test, is_normal)).map(keep)

    def train_from(self, epoch: int, step: int = 0) -> tf.data.Dataset:
        """Return a pipeline like ``train`` that begins with the order of another epoch.

        Each call returns a pipeline that counts its own iterations. Those of several processes agree, so that
        ``train_from(epoch).shard(num_shards, index)`` gives each a part of the batches, which together are the epoch.

        Args:
            epoch: Of the first iteration, counted from 0. The second one is in the order of ``epoch + 1``, and so on.
            step: The batch that the first iteration begins with, counted from 0; later ones are whole. Unless it is 0,
                the cardinality of the pipeline is unknown.

        Example:
            >>> from tfae.datasets import load
            >>> data = load(np.arange(50.0).reshape(-1, 1))
            >>> passed = [next(iter(data.train)) for _ in range(3)]
            >>> bool((next(iter(data.train_from(2)))[0] == passed[2][0]).numpy().all())
            True
        """
        if epoch < 0 or step < 0:
            raise ValueError(f"train_from: expected an epoch and a step of at least 0; received {epoch} and {step}.")
        return self.feed.shuffled(self.seed, epoch, step)

    def training_batch(self, epoch: int, batch: int) -> np.ndarray:
        """Return which samples of ``raw.train`` a batch of an epoch has, int64 ``(m,)``; both counted from 0."""
        start = batch * self.batch_size
        return self.feed.indices(self.seed, epoch, start, min(start + self.batch_size, len(self.raw.train)))

    @property
    def paths(self) -> list[Path]:
        """What it is read from, a file or folder, several files, or a pattern of these; none without files."""
        source = (self.arguments or {}).get("source", [])
        return [path for path in map(Path, [source] if isinstance(source, str) else source) if path.is_absolute()]

    @property
    def output_range(self) -> tuple[float, float] | None:
        """What bounds reconstructions in model space, for ``loss.output_activation``: the range of scaled pixels."""
        # Rows of a table may lie outside of what its training split was scaled to, and few values are at the ends.
        return self.preprocessing.value_range if self.kind == "image" else None

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the columns of a table with names hold."""
        columns, (low, high) = self.preprocessing.columns, self.bounds.train
        unit = np.broadcast_to(self.preprocessing.scale, low.shape)
        return tuple(
            column
            if column.kind == "category"
            else replace(column, unit=float(unit[index]), range=(float(low[index]), float(high[index])))
            for index, column in enumerate(columns)
        )

    @property
    def window(self) -> int | None:
        """How many rows that follow each other in time a sample is; None where it is no series."""
        return getattr(self.raw.train, "window", None)

    def fill_gaps(self) -> scaling.FillGaps | None:
        """Return the first layer of a model for data with gaps; None for data without."""
        return scaling.FillGaps.of(self.preprocessing)

    @property
    def defect(self) -> ValueError | None:
        """What went wrong when a pipeline read from disk last, or None: tf.data wraps such an error in its own."""
        return next((error for samples in self.raw if (error := getattr(samples, "defect", None))), None)

    @functools.cached_property
    def digest(self) -> str:
        """Of dtype, shape and every byte of the raw splits, in hexadecimal: another one tells that the data changed."""
        digests = Splits(*(sample_digests(blocks(samples)) for samples in self.raw))
        return digest_of(self.raw, digests, self.inputs, self.sample_weight)

    def summary(self) -> str:
        """Return a line on what the data is and how it is split and scaled."""
        parts = ", ".join(f"{len(samples):,} {split}" for split, samples in self.raw._asdict().items())
        beside = "".join(f", with {name}" for name in ("inputs", "sample_weight") if getattr(self, name) is not None)
        if self.window is not None:
            parts += ", which follow each other in time"
        return (
            f"{self.name}: {self.kind} data of shape {self.shape}, {self.raw.train.dtype}{beside}; {parts}; batches of "
            f"{self.batch_size}; preprocessing {self.preprocessing.method}"
        )

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
            "batch_size": self.batch_size,
            "digest": self.digest,
            "arguments": self.arguments,
        }


def digest_of(raw: Splits, digests: Splits, *more: Splits | None) -> str:
    """Return the digest of splits, of the digests of their samples as from ``sample_digests``, and of more arrays."""
    digest = hashlib.blake2b(digest_size=16)
    for samples, of_samples in zip(raw, digests, strict=True):
        digest.update(f"{samples.dtype.name}{samples.shape}".encode() + np.ascontiguousarray(of_samples).tobytes())
    for splits in filter(None, more):
        for array in splits:
            digest.update(f"{array.dtype.name}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


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
            for batch in part.batches(batch_size):
                yield scaling.cast_exactly(batch.samples, preprocessing.sample_dtype, name="source")

    if source.dtype != preprocessing.sample_dtype:
        next(batches())  # The first batch shows a wrong unit at once, and outside TensorFlow.

    @tf.autograph.experimental.do_not_convert
    def scale(samples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = preprocessing(samples)
        return x, x

    signature = tf.TensorSpec((None, *source.shape), preprocessing.sample_dtype)
    return tf.data.Dataset.from_generator(batches, output_signature=signature).map(scale).prefetch(1)
