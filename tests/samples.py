"""Samples, and data sets of them."""

from typing import Any

import numpy as np
import tensorflow as tf


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
