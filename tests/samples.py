"""Samples, and data sets of them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

#: Major and minor version.
KERAS = tuple(map(int, keras.version().split(".")[:2]))
#: Checks to leave out of models with activity regularizers, which grow with the batch before Keras 3.14.
GROWING = [] if KERAS >= (3, 14) else ["penalty"]


def uniform(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype("float32")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def numbered(num_samples: int, dtype: str = "float32") -> np.ndarray:
    """Samples that are all different: 0, 1, 2, …"""
    return np.arange(num_samples, dtype=dtype).reshape(-1, 1)


def batches(x: Any, batch_size: int = 4) -> tf.data.Dataset:
    """Pairs of x and x, in float32."""
    x = np.asarray(x, "float32")
    return tf.data.Dataset.from_tensor_slices((x, x)).batch(batch_size)


def values(dataset: tf.data.Dataset) -> list[float]:
    """All numbers of a data set of pairs, in its order."""
    return np.concatenate([x for x, _ in dataset.as_numpy_iterator()]).ravel().tolist()


def write_examples(
    path: Path, rows: Iterable[Mapping[str, list[Any]] | bytes], *, is_compressed: bool | None = None
) -> Path:
    """Write rows as tf.train.Example, or bytes as they are, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    compressed = path.suffix == ".gz" if is_compressed is None else is_compressed
    with tf.io.TFRecordWriter(str(path), "GZIP" if compressed else "") as writer:
        for row in rows:
            writer.write(row if isinstance(row, bytes) else _example(row))
    return path


def _example(row: Mapping[str, list[Any]]) -> bytes:
    example = tf.train.Example()
    for name, values in row.items():
        feature = example.features.feature[name]
        kind = type(values[0]) if values else float
        if issubclass(kind, float):
            feature.float_list.value.extend(values)
        elif issubclass(kind, int):
            feature.int64_list.value.extend(values)
        else:
            feature.bytes_list.value.extend(v if isinstance(v, bytes) else v.encode() for v in values)
    return example.SerializeToString()
