"""The order of samples in training: a function of seed, epoch and position, the same on every machine.

Any part of it is computed when it is needed; no permutation is kept in memory.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import tensorflow as tf

from tfae.datasets.stored import StoredSamples
from tfae.moments import rows_per_block

# Samples that are in memory to be mixed. Those that are mixed next, which are read meanwhile, take as much again.
WINDOW_BYTES = 2**27


def shuffle(positions: Any, count: Any, *, seed: int, epoch: Any, window: int = 0) -> tf.Tensor:
    """Compute the elements at ``positions``, int64 ``(m,)``, of the random permutation of ``0, ..., count - 1``.

    Seed, epoch and window, each in [0, 2³²), select it.

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
    """The order of samples on disk, of which a block of 1 MB, ``block_size`` samples, is asked for at a time.

    The chunks of 1 MB are put in a random order and divided into windows, and the samples of each window are shuffled.
    The window that was asked for last, and what has been read of the next one, stay in memory.
    """

    def __init__(self, samples: StoredSamples, seed: int) -> None:
        self.block_size = rows_per_block(samples)
        self._samples = samples
        self._seed = seed
        self._chunks = samples.chunks()
        num_windows = -(-samples.nbytes // WINDOW_BYTES)
        # Whole blocks, of which none is in two windows. The last window is no smaller than it has to be.
        self._window_size = -(-len(samples) // (num_windows * self.block_size)) * self.block_size
        self._plan: _Plan | None = None
        self._windows: dict[tuple[int, int], _Window] = {}
        self._asking = threading.Lock()

    def indices(self, epoch: int, start: int, stop: int) -> np.ndarray:
        """Return which samples are at the positions from ``start`` to ``stop`` of an epoch, int64 ``(m,)``."""
        plan, parts = self._plan_of(epoch), [np.empty(0, np.int64)]
        while start < stop:
            end = min(stop, start - start % self._window_size + self._window_size)
            parts.append(plan.samples_at(start - start % self._window_size + self.order(epoch, start, end).numpy()))
            start = end
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
            plan = self._plan_of(epoch)
            number = start // self._window_size
            window = self._window(plan, number)
            window.fill(1)
            samples = window.samples[order]
            self._windows = {(epoch, number): window} | {
                key: following for key, following in self._windows.items() if key == (epoch, number + 1)
            }
            if (number + 1) * self._window_size < len(self._samples):
                # It is read as fast as this one is used up, lest the training waits.
                following = self._windows[epoch, number + 1] = self._window(plan, number + 1)
                following.fill(min(1, (start + self.block_size) / self._window_size - number))
            elif start + len(order) == len(self._samples):
                self._windows = {}
            return samples

    def _plan_of(self, epoch: int) -> _Plan:
        if (plan := self._plan) is None or plan.epoch != epoch:
            count = len(self._chunks) - 1
            with tf.device("CPU"):
                drawn = shuffle(np.arange(count), count, seed=self._seed, epoch=epoch).numpy()
            starts, sizes = self._chunks[drawn], np.diff(self._chunks)[drawn]
            self._plan = plan = _Plan(epoch, starts, np.cumsum(sizes) - sizes)
        return plan

    def _window(self, plan: _Plan, number: int) -> _Window:
        if window := self._windows.get((plan.epoch, number)):
            return window
        first = number * self._window_size
        return _Window(self._samples, plan.runs(first, min(first + self._window_size, len(self._samples))))


@dataclass(frozen=True)
class _Plan:
    """The order of the chunks of an epoch: the first sample of each, and the place of that in the order."""

    epoch: int
    starts: np.ndarray
    places: np.ndarray

    def samples_at(self, places: np.ndarray) -> np.ndarray:
        chunks = np.searchsorted(self.places, places, side="right") - 1
        return self.starts[chunks] + places - self.places[chunks]

    def runs(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the samples at the places from ``first`` to ``last``, as ``(start, stop)`` of each chunk's part."""
        inner = self.places[(self.places > first) & (self.places < last)].tolist()
        return [
            (start, start + end - begin)
            for begin, end in itertools.pairwise([first, *inner, last])
            for start in self.samples_at(np.array([begin])).tolist()
        ]


class _Window:
    """Runs of samples that are read one after the other."""

    def __init__(self, samples: StoredSamples, runs: list[tuple[int, int]]) -> None:
        self.samples = np.empty((sum(stop - start for start, stop in runs), *samples.shape[1:]), samples.dtype)
        self._stored = samples
        self._unread = iter(runs)
        self._num_read = 0

    def fill(self, share: float) -> None:
        """Read on until this share of the samples is there."""
        while self._num_read < share * len(self.samples):
            start, stop = next(self._unread)
            self._stored.read_into(self.samples[self._num_read : self._num_read + stop - start], start)
            self._num_read += stop - start
