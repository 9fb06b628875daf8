"""Digests, bounds and moments of samples, found in one pass over what holds them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfae.datasets.splits import Splits, sample_digests
from tfae.datasets.stored import StoredSamples
from tfae.moments import Moments, blocks, bounds, moments, rows_per_block

#: Bounds ``(2, *shape)`` of each split; mean and deviation of the training split's columns or channels, or None.
Spread = tuple[Splits, tuple[np.ndarray, np.ndarray] | None]


class Scan:
    """Finds digests of samples that come block by block, and the spread of the splits that they are expected in.

    The splits are known for sure once all samples are: samples with the same bytes share one. As long as all differ,
    their number alone tells the splits, ``expected`` as indices, and a second pass is not needed.
    """

    def __init__(self, expected: Sequence[np.ndarray] = (), *, has_moments: bool = False) -> None:
        self._expected = expected
        self._has_moments = has_moments
        self._split_of = np.empty(sum(map(len, expected)), np.int8)
        for split, indices in enumerate(expected):
            self._split_of[indices] = split
        self._found: list[_Statistics] = []
        self._digests: list[np.ndarray] = []
        self.num_samples = 0

    def add(self, samples: np.ndarray) -> None:
        """Take in the next samples ``(m, *shape)``."""
        self._digests.append(sample_digests([samples]))
        if self._expected and not self._found:
            self._found = [
                _Statistics(samples[0], self._has_moments and split == 0) for split in range(len(self._expected))
            ]
        split_of = self._split_of[self.num_samples : self.num_samples + len(samples)]
        for split, found in enumerate(self._found):
            found.add(samples[split_of == split])
        self.num_samples += len(samples)

    @property
    def digests(self) -> np.ndarray:
        """uint64 ``(n, 2)``, as from ``sample_digests``."""
        return np.concatenate(self._digests)

    def spread_of(self, splits: Sequence[np.ndarray]) -> Spread | None:
        """Return how the samples of splits spread; None unless these are the expected ones."""
        if not self._found or not all(map(np.array_equal, self._expected, splits)):
            return None
        return _join(self._found)


def scan(splits: Splits, *, has_moments: bool) -> Spread:
    """Find how the samples of splits, in memory or on disk, spread, in one pass over each file that holds them."""
    if not all(isinstance(samples, StoredSamples) for samples in splits):
        return Splits(*map(bounds, splits)), moments(splits.train) if has_moments else None
    found = [_Statistics(samples[:1][0], has_moments and samples is splits.train) for samples in splits]
    for file in {samples.file for samples in splits}:
        held = [index for index, samples in enumerate(splits) if samples.file is file]
        rows = np.concatenate([splits[index].rows for index in held])
        order = np.argsort(rows, kind="stable")
        split_of = np.repeat(held, [len(splits[index]) for index in held])[order]
        start = 0
        for block in blocks(StoredSamples(file, splits.train.shape[1:], splits.train.dtype, rows[order])):
            for index in held:
                found[index].add(block[split_of[start : start + len(block)] == index])
            start += len(block)
    return _join(found)


class _Statistics:
    """Bounds and moments of samples that come in pieces, added up in the blocks of ``tfae.moments.blocks``."""

    def __init__(self, sample: np.ndarray, has_moments: bool) -> None:
        self._size = rows_per_block(sample[None])
        self._pending = np.empty((0, *sample.shape), sample.dtype)
        self._bounds: np.ndarray | None = None
        self._moments = Moments(sample.shape[-1], scatter="diagonal") if has_moments else None

    def add(self, samples: np.ndarray) -> None:
        samples = np.concatenate([self._pending, samples])
        stop = len(samples) - len(samples) % self._size
        self._add_blocks(samples[:stop])
        self._pending = samples[stop:].copy()  # Not a view, which would keep all samples.

    def finish(self) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
        self._add_blocks(self._pending)
        assert self._bounds is not None
        return self._bounds, None if self._moments is None else self._moments.of_columns()

    def _add_blocks(self, samples: np.ndarray) -> None:
        for block in blocks(samples):
            self._bounds = bounds(block if self._bounds is None else np.concatenate([self._bounds, bounds(block)]))
            if self._moments is not None:
                self._moments.add(block.reshape(-1, block.shape[-1]).astype("float64"))


def _join(splits: Sequence[_Statistics]) -> Spread:
    found, (moments, *_) = zip(*(each.finish() for each in splits), strict=True)
    return Splits(*found), moments
