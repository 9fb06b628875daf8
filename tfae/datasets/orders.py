"""Orders of training: another one in every epoch, which depends on the seed, the epoch and the data only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import final

import numpy as np

from tfae.datasets.stored import StoredSamples
from tfae.spread import BLOCK_BYTES

# Samples that are in memory to be mixed. Those that are mixed next, which are read meanwhile, take as much again.
WINDOW_BYTES = 2**27


@final
class Permutation:
    """The order of samples in memory: any of all.

    Args:
        num_samples: How many there are.
        seed: In [0, 2³²).
    """

    def __init__(self, num_samples: int, seed: int) -> None:
        self._num_samples = num_samples
        self._seed = seed

    def indices(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch, int64 ``(n,)``: each index once."""
        # RandomState's stream is frozen for good by NumPy's policy (NEP 19).
        return np.random.RandomState([self._seed, epoch]).permutation(self._num_samples)


@final
class WindowedShuffle:
    """The order of samples on disk, for which 1 MB is read at a time.

    The chunks of 1 MB are put in any order; as many of them as fill a window in memory are mixed, sample by sample.

    Args:
        samples: On disk.
        seed: In [0, 2³²).
    """

    def __init__(self, samples: StoredSamples, seed: int) -> None:
        self._samples = samples
        self._seed = seed
        self._chunks = samples.chunks()
        num_windows = -(-samples.nbytes // WINDOW_BYTES)
        self._window_size = -(-len(samples) // num_windows)  # The last one is no smaller than it has to be.

    def indices(self, epoch: int) -> np.ndarray:
        """Return the order of an epoch, int64 ``(n,)``: each index once."""
        windows = []
        for chunks, order in self._windows(epoch):
            windows.append(np.concatenate([np.arange(*chunk) for chunk in chunks])[order])
        return np.concatenate(windows)

    def blocks(self, epoch: int) -> Iterator[np.ndarray]:
        """Yield the samples of an epoch in its order, in arrays of about 1 MB."""
        size = max(1, BLOCK_BYTES * len(self._samples) // self._samples.nbytes)
        windows = (_Window(self._samples, chunks, order) for chunks, order in self._windows(epoch))
        following = next(windows, None)
        if following is not None:
            following.fill(1)
        while following is not None:
            window, following = following, next(windows, None)
            for start in range(0, len(window.order), size):
                stop = start + size
                yield window.samples[window.order[start:stop]]
                if following is not None:  # is read as fast as this one is used up, lest the training waits
                    following.fill(min(1, stop / len(window.order)))

    def _windows(self, epoch: int) -> Iterator[tuple[list[tuple[int, int]], np.ndarray]]:
        """Yield, for each window, its chunks ``(start, stop)`` and the order of all the samples in them."""
        random = np.random.RandomState([self._seed, epoch])
        starts, stops = self._chunks[:-1], self._chunks[1:]
        drawn = random.permutation(len(starts))
        starts, stops = starts[drawn], stops[drawn]
        window_of_chunk = (np.cumsum(stops - starts) - 1) // self._window_size
        begins = np.append(np.flatnonzero(np.diff(window_of_chunk, prepend=-1)), len(starts))
        for begin, end in itertools.pairwise(begins):
            chunks = list(zip(starts[begin:end].tolist(), stops[begin:end].tolist(), strict=True))
            yield chunks, random.permutation(sum(stop - start for start, stop in chunks))


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
