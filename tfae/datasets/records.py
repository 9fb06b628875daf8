"""Prepared TFDS data sets, read in batches.

TFDS decodes one example at a time, which for small ones costs more than anything else does. Images, labels and
tensors of a fixed shape are therefore parsed here by the batch; everything else goes the slow way, through TFDS.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tfae.datasets import defects
from tfae.datasets.source import Batch, Part, Source

Column = Callable[[tf.Tensor], tf.Tensor]


@final
@dataclass(kw_only=True, eq=False, repr=False)
class RecordPart(Part):
    """One split of a prepared data set, in the order of its files; ``keys`` are the features x and, if any, label."""

    builder: tfds.core.DatasetBuilder
    split: str
    keys: tuple[str, ...]

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield batches that are parsed and decoded together."""
        with tf.device("CPU"):
            batches = self._dataset(size).as_numpy_iterator()
        for columns in batches:
            yield Batch(columns[0], columns[1] if len(columns) == 2 else None)

    def _dataset(self, size: int) -> tf.data.Dataset:
        features = self.builder.info.features
        specs = {key: spec for key in self.keys if (spec := _column(features[key])) is not None}
        if len(specs) < len(self.keys) or self.builder.info.file_format.value != "tfrecord":
            read_config = tfds.ReadConfig(interleave_cycle_length=1)  # else it mixes the files
            examples = self.builder.as_dataset(split=self.split, read_config=read_config)
            return examples.map(lambda example: tuple(example[key] for key in self.keys)).batch(size)

        @tf.autograph.experimental.do_not_convert
        def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, ...]:
            parsed = tf.io.parse_example(serialized, {key: stored for key, (stored, _) in specs.items()})
            return tuple(decode(parsed[key]) for key, (_, decode) in specs.items())

        files = [os.fspath(path) for path in self.builder.info.splits[self.split].filepaths]
        # Decoding PNG dominates, and tf.map_fn over a batch runs one image at a time: several batches in parallel
        # occupy the cores, in the order of the files.
        return tf.data.TFRecordDataset(files).batch(size).map(parse, num_parallel_calls=os.cpu_count() or 1)


def from_builder(name: str, builder: tfds.core.DatasetBuilder, *, feature: str | None = None) -> Source:
    """Open a prepared data set."""
    info = builder.info
    x, label = choose_features(name, info, feature)
    splits = [split for split in info.splits if info.splits[split].num_examples]
    if {"train", "test"} <= set(splits):
        names = {split: split for split in ("train", "validation", "test") if split in splits}
    else:
        names = {"all": "+".join(splits)}
    parts = {
        part: RecordPart(
            shape=tuple(info.features[x].shape),
            dtype=np.dtype(info.features[x].np_dtype),
            num_samples=info.splits[split].num_examples,
            builder=builder,
            split=split,
            keys=(x,) if label is None else (x, label),
            label_names=tuple(getattr(dict(info.features).get(label), "names", None) or ()) or None,
        )
        for part, split in names.items()
    }
    return Source(name, parts)


def choose_features(name: str, info: tfds.core.DatasetInfo, feature: str | None) -> tuple[str, str | None]:
    """Return the features that are x and the label (or None); known, and validated, before the data set is prepared."""
    features = dict(info.features)
    supervised = info.supervised_keys or (None, None)
    if feature is not None and feature not in features:
        raise ValueError(
            f"feature: expected a feature of {name!r}; received {feature!r}. {defects.close_matches(feature, features)}"
        )
    x = feature or (supervised[0] if isinstance(supervised[0], str) else "image")
    if x not in features:
        raise ValueError(
            f"feature: expected the feature of {name!r} to reconstruct; received None. "
            f"Choose one of {', '.join(map(repr, features))}."
        )
    shape = features[x].shape
    if not isinstance(shape, tuple) or None in shape:
        raise ValueError(
            f"source: expected samples of one shape; received {shape} for feature {x!r} of {name!r}, where None is a "
            "size that varies. Resize the samples and give them as an array, or choose another with feature=."
        )
    defects.validate_dtype(np.dtype(features[x].np_dtype), name=f"feature {x!r} of {name!r}")
    if not shape:
        raise ValueError(
            f"feature: expected one with at least one axis; received the number {x!r} of {name!r}. Choose another."
        )
    label = supervised[1] if isinstance(supervised[1], str) else "label"
    is_scalar = label in features and features[label].shape == ()
    return x, label if is_scalar and label != x else None


def _column(feature: tfds.features.FeatureConnector) -> tuple[Any, Column] | None:
    """Return how a feature is stored in a tf.train.Example and how a batch of it is decoded; None if unknown here."""
    stored = feature.get_serialized_info()
    if type(feature) is tfds.features.Image and feature.np_dtype in (np.uint8, np.uint16):
        shape, dtype = feature.shape, tf.as_dtype(feature.np_dtype)

        def decode_image(encoded: tf.Tensor) -> tf.Tensor:
            def decode_one(image: tf.Tensor) -> tf.Tensor:
                return tf.ensure_shape(tf.io.decode_image(image, shape[-1], dtype, expand_animations=False), shape)

            return tf.map_fn(decode_one, encoded, fn_output_signature=tf.TensorSpec(shape, dtype))

        return tf.io.FixedLenFeature((), tf.string), decode_image
    if type(feature) not in (tfds.features.Tensor, tfds.features.Scalar, tfds.features.ClassLabel):
        return None
    shape, dtype = feature.shape, tf.as_dtype(feature.np_dtype)
    if None in shape:
        return None
    if tf.as_dtype(stored.np_dtype) == tf.string or dtype == tf.uint64:  # Bytes or text; the int64 of the same bits.
        return None
    stored_dtype = tf.float32 if dtype.is_floating else tf.int64
    return tf.io.FixedLenFeature(shape, stored_dtype), lambda values: tf.cast(values, dtype)
