"""The order of samples in training: a function of seed, epoch and position, the same on every machine.

Any part of it is computed when it is needed.
"""

from __future__ import annotations

import threading
from typing import Any, final

import numpy as np
import tensorflow as tf

from tfae.datasets.stored import StoredSamples
from tfae.moments import rows_per_block

# Samples that are in memory to be mixed. Those that are mixed next, which are read meanwhile, take as much again.
WINDOW_BYTES = 2**27


def shuffle(positions: Any, count: Any, *, seed: int, epoch: Any, window: int = 0) -> tf.Tensor:
    """Compute elements of a random permutation of ``0, ..., count - 1``.

    Args:
        positions: int64 ``(m,)``, each in [0, count).
        count: Length of the permutation.
        seed: In [0, 2³²).
        epoch: Selects the permutation, together with seed and window. In [0, 2³²).
        window: Likewise.

    Returns:
        int64 ``(m,)``, the elements at these positions.

    Example:
        >>> shuffle(range(5), 5, seed=0, epoch=0).numpy()
        array([3, 4, 0, 2, 1])
    """
    words = [tf.cast(word, tf.int64) for word in (seed, epoch, window)]
    # tf.random.experimental.index_shuffle has 4 rounds, and fills one of the three words of the key with a constant.
    return tf.raw_ops.RandomIndexShuffle(
        index=tf.cast(positions, tf.int64), seed=tf.stack(words), max_index=tf.cast(count, tf.int64) - 1, rounds=8
    )


@final
class WindowedShuffle:
    """The order of samples on disk, for which 1 MB is read at a time.

    The chunks of 1 MB are put in a random order and divided into windows, and the samples of each window are shuffled.
    The window that was asked for last, and what has been read of the next one, stay in memory.

    Attributes:
        block_size: Samples to ask for at once: about 1 MB of them.
    """

    def __init__(self, samples: StoredSamples, seed: int) -> None:
        self.block_size = rows_per_block(samples)
        self._samples = samples
        self._seed = seed
        self._chunks = samples.chunks()
        num_windows = -(-samples.nbytes // WINDOW_BYTES)
        # Whole blocks, of which none is in two windows. The last window is no smaller than it has to be.
        self._window_size = -(-len(samples) // (num_windows * self.block_size)) * self.block_size
        self._sequence: tuple[int, np.ndarray] | None = None
        self._windows: dict[tuple[int, int], _Window] = {}
        self._asking = threading.Lock()

    def indices(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Return which samples are at the positions from ``start`` to ``stop`` of an epoch, int64 ``(m,)``."""
        sequence, parts = self._sequence_of(epoch), [np.empty(0, np.int64)]
        for first in range(start - start % self._window_size, stop, self._window_size):
            order = self.order(epoch, max(start, first), min(stop, first + self._window_size))
            parts.append(sequence[first + order.numpy()])
        return np.concatenate(parts)

    def order(self, epoch: Any, start: Any, stop: Any) -> tf.Tensor:
        """Return where in its window the samples at positions of one block are, int64 ``(m,)``; in graphs too."""
        number = start // self._window_size
        first = number * self._window_size
        count = tf.minimum(len(self._samples) - first, self._window_size)
        return shuffle(tf.range(start - first, stop - first), count, seed=self._seed, epoch=epoch, window=1 + number)

    def block(self, epoch: int, start: int, order: np.ndarray) -> np.ndarray:
        """Read the samples ``(m, *shape)`` from a position on, in their ``order``: fastest block after block."""
        epoch, start = int(epoch), int(start)
        with self._asking:
            number = start // self._window_size
            window = self._window(epoch, number)
            window.fill(1)
            samples = window.samples[order]
            self._windows = {(epoch, number): window} | {
                key: following for key, following in self._windows.items() if key == (epoch, number + 1)
            }
            if (number + 1) * self._window_size < len(self._samples):
                # It is read as fast as this one is used up, lest the training waits.
                following = self._windows[epoch, number + 1] = self._window(epoch, number + 1)
                following.fill(min(1, (start + self.block_size) / self._window_size - number))
            elif start + len(order) == len(self._samples):
                self._windows = {}
            return samples

    def _sequence_of(self, epoch: int) -> np.ndarray:
        """Return the samples chunk after chunk, int64 ``(n,)``, in the order of the chunks in an epoch."""
        if self._sequence is None or self._sequence[0] != epoch:
            count = len(self._chunks) - 1
            with tf.device("CPU"):
                chunks = shuffle(np.arange(count), count, seed=self._seed, epoch=epoch).numpy()
            starts, sizes = self._chunks[chunks], np.diff(self._chunks)[chunks]
            places = np.cumsum(sizes) - sizes
            self._sequence = epoch, np.repeat(starts - places, sizes) + np.arange(len(self._samples))
        return self._sequence[1]

    def _window(self, epoch: int, number: int) -> _Window:
        if window := self._windows.get((epoch, number)):
            return window
        first = number * self._window_size
        return _Window(self._samples, self._sequence_of(epoch)[first : first + self._window_size])


class _Window:
    """Samples that are read one after the other."""

    def __init__(self, stored: StoredSamples, indices: np.ndarray) -> None:
        self.samples = np.empty((len(indices), *stored.shape[1:]), stored.dtype)
        self._stored = stored
        self._indices = indices
        self._ends = stored.chunks(stored.rows[indices])  # Chunks are read whole: parts of one take two reads.
        self._num_read = 0

    def fill(self, share: float) -> None:
        """Read on until this share of the samples is there."""
        stop = int(self._ends[np.searchsorted(self._ends, share * len(self.samples))])
        unread = slice(self._num_read, max(self._num_read, stop))
        self._stored.read_into(self.samples[unread], self._indices[unread])
        self._num_read = unread.stop
