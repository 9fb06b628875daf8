"""Windows over the rows of a table: samples ``(window, channels)`` that are views of a matrix."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import tensorflow as tf


@final
class Windows:
    """Samples in memory, of which each is some rows that follow each other; the rows are there once.

    The rows are ``(num_rows, channels)``, and the starts int64 ``(n,)``, the first row of each sample.

    Example:
        >>> windows = Windows(tf.reshape(tf.range(10), (5, 2)), np.array([0, 2]), 3)
        >>> windows.shape, windows[1].tolist()
        ((2, 3, 2), [[4, 5], [6, 7], [8, 9]])
    """

    def __init__(self, rows: tf.Tensor, starts: np.ndarray, window: int) -> None:
        self.rows, self.starts, self.window = rows, starts, window
        self._array = np.asarray(rows)
        with tf.device("CPU"):
            self._starts = tf.constant(starts)  # Once, and not in every graph.
        self.shape = (len(starts), window, *self._array.shape[1:])
        self.dtype = self._array.dtype
        self.nbytes = len(starts) * self._array[:window].nbytes

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Copy a sample by its index, or an array of them by a slice, or by indices or booleans ``(n,)``."""
        return self._array[self.starts[key][..., None] + np.arange(self.shape[1])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Copy all samples, for which there has to be memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, indices: np.ndarray) -> Windows:
        """Return those of these indices, without copying them."""
        return Windows(self.rows, self.starts[indices], self.window)

    def gather(self, indices: tf.Tensor) -> tf.Tensor:
        """Copy the samples of some indices, int64 ``(m,)``, in a graph."""
        with tf.device("CPU"):
            firsts = tf.gather(self._starts, indices)
            return tf.gather(self.rows, firsts[:, None] + tf.range(self.shape[1], dtype=tf.int64))
