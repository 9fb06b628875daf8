"""Bounds and moments of all splits in one pass over the file that holds them."""

from __future__ import annotations

import numpy as np

from tfae.datasets.splits import Splits
from tfae.datasets.stored import StoredSamples
from tfae.moments import Moments, Samples, blocks, bounds, moments, rows_per_block


def scan(splits: Splits, *, has_moments: bool) -> tuple[Splits, tuple[np.ndarray, np.ndarray] | None]:
    """Find how the samples of splits spread.

    Args:
        splits: Samples ``(n, *shape)`` of each, in memory or on disk.
        has_moments: Whether to find those of the training split.

    Returns:
        The bounds of each split, ``(2, *shape)`` as ``tfae.moments.bounds`` finds them, and what
        ``tfae.moments.moments`` finds of the training split, or None.
    """
    if not all(isinstance(samples, StoredSamples) for samples in splits):
        return Splits(*map(bounds, splits)), moments(splits.train) if has_moments else None
    found = [_Statistics(samples, has_moments and samples is splits.train) for samples in splits]
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
    return Splits(*(each.finish() for each in found)), found[0].moments


class _Statistics:
    """Bounds and moments of samples that come in pieces, added up in the blocks of ``tfae.moments.blocks``."""

    def __init__(self, samples: Samples, has_moments: bool) -> None:
        self._block = np.empty((min(rows_per_block(samples), len(samples)), *samples.shape[1:]), samples.dtype)
        self._filled = 0
        self._bounds: np.ndarray | None = None
        self._moments = Moments(samples.shape[-1], scatter="diagonal") if has_moments else None

    def add(self, samples: np.ndarray) -> None:
        start = 0
        while start < len(samples):
            taken = samples[start : start + len(self._block) - self._filled]
            self._block[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            start += len(taken)
            if self._filled == len(self._block):
                self._add_block()

    def finish(self) -> np.ndarray:
        if self._filled:
            self._add_block()
        assert self._bounds is not None
        return self._bounds

    @property
    def moments(self) -> tuple[np.ndarray, np.ndarray] | None:
        return None if self._moments is None else self._moments.of_columns()

    def _add_block(self) -> None:
        block, self._filled = self._block[: self._filled], 0
        self._bounds = bounds(block if self._bounds is None else np.concatenate([self._bounds, bounds(block)]))
        if self._moments is not None:
            self._moments.add(block.reshape(-1, block.shape[-1]).astype("float64"))
