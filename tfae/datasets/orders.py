"""Orders in which samples feed a model.

That of training is another one in every epoch, and depends on the seed, the epoch and the data only. What is on disk is
read in blocks that can be asked for in any order, as TensorFlow has no way to tell that it will ask for no more.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from typing import final

import numpy as np

from tfae.datasets.stored import StoredSamples
from tfae.spread import rows_per_block

# Samples that are in memory to be mixed. Those that are mixed next, which are read meanwhile, take as much again.
WINDOW_BYTES = 2**27


@final
class Permutation:
    """The order of samples in memory: any of all."""

    def __init__(self, num_samples: int, seed: int) -> None:
        self._num_samples = num_samples
        self._seed = seed

    def indices(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch, int64 ``(n,)``: each index once."""
        # RandomState's stream is frozen for good by NumPy's policy (NEP 19).
        return np.random.RandomState([self._seed, epoch]).permutation(self._num_samples)


@final
class StoredOrder:
    """The order of samples on disk as they are stored, in every epoch."""

    def __init__(self, samples: StoredSamples) -> None:
        self._samples = samples
        self._size = rows_per_block(samples)

    def num_blocks(self, epoch: int) -> int:
        """Return how many blocks the samples come in."""
        return -(-len(self._samples) // self._size)

    def block(self, epoch: int, index: int) -> np.ndarray:
        """Read the samples ``(m, *shape)`` of a block of about 1 MB."""
        return self._samples[index * self._size : (index + 1) * self._size]


@final
class WindowedShuffle:
    """The order of samples on disk, for which 1 MB is read at a time.

    The chunks of 1 MB are put in any order; as many of them as fill a window in memory are mixed, sample by sample. The
    window that was asked for last, and what has been read of the next one, stay in memory.

    Args:
        samples: On disk.
        seed: In [0, 2³²).
    """

    def __init__(self, samples: StoredSamples, seed: int) -> None:
        self._samples = samples
        self._seed = seed
        self._size = rows_per_block(samples)
        self._chunks = samples.chunks()
        num_windows = -(-samples.nbytes // WINDOW_BYTES)
        self._window_size = -(-len(samples) // num_windows)  # The last one is no smaller than it has to be.
        self._plan: _Plan | None = None
        self._windows: dict[tuple[int, int], _Window] = {}
        self._asking = threading.Lock()

    def indices(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch, int64 ``(n,)``: each index once."""
        plan = self._plan_of(epoch)
        of_windows = []
        for window in range(len(plan.chunks)):
            indices = np.concatenate([np.arange(*chunk) for chunk in plan.chunks[window]])
            of_windows.append(indices[self._order_in(epoch, window, len(indices))])
        return np.concatenate(of_windows)

    def num_blocks(self, epoch: int) -> int:
        """Return how many blocks the samples of an epoch come in."""
        return int(self._plan_of(epoch).first_block[-1])

    def block(self, epoch: int, index: int) -> np.ndarray:
        """Read the samples ``(m, *shape)`` of a block of about 1 MB: fastest one after the other."""
        with self._asking:
            plan = self._plan_of(epoch)
            number = int(np.searchsorted(plan.first_block, index, side="right")) - 1
            window = self._window(plan, number)
            window.fill(1)
            start = (index - int(plan.first_block[number])) * self._size
            samples = window.samples[window.order[start : start + self._size]]
            self._windows = {(epoch, number): window} | {
                key: following for key, following in self._windows.items() if key == (epoch, number + 1)
            }
            if number + 1 < len(plan.chunks):  # It is read as fast as this one is used up, lest the training waits.
                following = self._windows[epoch, number + 1] = self._window(plan, number + 1)
                following.fill(min(1, (start + self._size) / len(window.order)))
            elif index + 1 == plan.first_block[-1]:
                self._windows = {}
            return samples

    def _plan_of(self, epoch: int) -> _Plan:
        if (plan := self._plan) is None or plan.epoch != epoch:
            starts, stops = self._chunks[:-1], self._chunks[1:]
            drawn = np.random.RandomState([self._seed, epoch]).permutation(len(starts))
            starts, stops = starts[drawn], stops[drawn]
            window_of_chunk = (np.cumsum(stops - starts) - 1) // self._window_size
            begins = np.append(np.flatnonzero(np.diff(window_of_chunk, prepend=-1)), len(starts))
            chunks = [
                list(zip(starts[begin:end].tolist(), stops[begin:end].tolist(), strict=True))
                for begin, end in itertools.pairwise(begins)
            ]
            num_blocks = [-(-sum(stop - start for start, stop in window) // self._size) for window in chunks]
            self._plan = plan = _Plan(epoch, chunks, np.cumsum([0, *num_blocks]))
        return plan

    def _order_in(self, epoch: int, window: int, num_samples: int) -> np.ndarray:
        return np.random.RandomState([self._seed, epoch, window]).permutation(num_samples)

    def _window(self, plan: _Plan, number: int) -> _Window:
        if window := self._windows.get((plan.epoch, number)):
            return window
        chunks = plan.chunks[number]
        order = self._order_in(plan.epoch, number, sum(stop - start for start, stop in chunks))
        return _Window(self._samples, chunks, order)


@dataclass(frozen=True)
class _Plan:
    """Which chunks ``(start, stop)`` are in each window of an epoch, and the first block of each, and the end."""

    epoch: int
    chunks: list[list[tuple[int, int]]]
    first_block: np.ndarray


class _Window:
    """Chunks that are read one after the other."""

    def __init__(self, samples: StoredSamples, chunks: list[tuple[int, int]], order: np.ndarray) -> None:
        self.order = order
        self.samples = np.empty((len(order), *samples.shape[1:]), samples.dtype)
        self._stored = samples
        self._unread = iter(chunks)
        self._num_read = 0

    def fill(self, share: float) -> None:
        """Read on until this share of the samples is there."""
        while self._num_read < share * len(self.order):
            start, stop = next(self._unread)
            self._stored.read_into(self.samples[self._num_read : self._num_read + stop - start], start)
            self._num_read += stop - start
