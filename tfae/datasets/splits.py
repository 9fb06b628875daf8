"""Splits that depend on the seed and the data only, and never share a sample."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

#: What the splits of a data set are called, and how else.
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
_33, _MIXER = np.uint64(33), np.uint64(0xFF51AFD7ED558CCD)


class Splits(NamedTuple):
    """One array, or what is indexed like one, for each split.

    Attributes:
        train: What the preprocessing and the model are fitted on.
        validation: What early stopping looks at.
        test: What nothing but the final evaluation looks at.
    """

    train: Any
    validation: Any
    test: Any


def split_indices(groups: np.ndarray, fractions: Sequence[float], *, seed: int) -> tuple[np.ndarray, ...]:
    """Draw splits of about these fractions, so that no group is in two of them.

    Without repeated groups, the splits end at exactly round(n · cumulated fraction). A repeated group goes as a whole
    to the side of the boundary that keeps the sizes closest.

    Args:
        groups: Int ``(n,)``, as from ``number_distinct``: the samples of one group stay together.
        fractions: Of the samples in each split, positive.
        seed: Of the draw, in [0, 2³²).

    Returns:
        For each split, int64 indices in ascending order. Together they are every index once.

    Example:
        >>> [indices.tolist() for indices in split_indices(np.arange(5), (0.6, 0.2, 0.2), seed=0)]
        [[0, 1, 2], [3], [4]]
    """
    distinct, group_of, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if len(distinct) < len(fractions):
        raise ValueError(
            f"source: expected at least {len(fractions)} different samples, one for each split; "
            f"received {len(distinct)} different among {len(groups)}."
        )
    # RandomState's stream is frozen for good by NumPy's policy (NEP 19); that of default_rng is not.
    order = np.random.RandomState(seed).permutation(len(distinct))
    ends = np.cumsum(counts[order])
    split_of_rank = np.empty(len(distinct), dtype=np.int64)
    start = 0
    for split, cumulated in enumerate(np.cumsum(fractions)):
        last = len(distinct) - (len(fractions) - 1 - split)  # leaves at least one group to each later split
        target = round(len(groups) * cumulated / sum(fractions))
        stop = last if split == len(fractions) - 1 else int(np.argmin(np.abs(ends - target))) + 1
        stop = min(max(stop, start + 1), last)
        split_of_rank[start:stop] = split
        start = stop
    split_of_group = np.empty_like(split_of_rank)
    split_of_group[order] = split_of_rank
    split_of_sample = split_of_group[group_of]
    return tuple(np.flatnonzero(split_of_sample == split) for split in range(len(fractions)))


def disjoint(digests: Splits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find what to keep so that splits, given by ``sample_digests``, share no sample: indices, of test all."""
    groups = number_distinct(np.concatenate(digests))
    train, validation, test = np.split(groups, np.cumsum(list(map(len, digests)))[:-1])
    return (
        np.flatnonzero(~np.isin(train, np.concatenate([validation, test]))),
        np.flatnonzero(~np.isin(validation, test)),
        np.arange(len(test)),
    )


def sample_digests(blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Return uint64 ``(n, 2)``, which stand for the samples of blocks in little memory."""
    # Two of 10⁹ different samples share these 16 bytes with a probability of 10⁻²¹.
    digests = []
    for block in blocks:
        rows = np.ascontiguousarray(block).reshape(len(block), -1).view(np.uint8)
        words = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8))) if rows.shape[1] % 8 else rows
        words = words.view(np.uint64)
        # Multilinear hashing (Lemire and Kaser 2014) of words whose bits are mixed first (MurmurHash3's finalizer).
        mixed = (words ^ (words >> _33)) * _MIXER
        digests.append((mixed ^ (mixed >> _33)) @ _keys(words.shape[1]))
    return np.concatenate(digests)


@functools.cache
def _keys(num_words: int) -> np.ndarray:
    """Odd numbers, uint64 ``(num_words, 2)``, the same ones for good."""
    return np.random.RandomState(0).randint(0, 2**64, (num_words, 2), np.uint64) | np.uint64(1)


def number_distinct(digests: np.ndarray) -> np.ndarray:
    """Number the distinct rows of ``(n, 2)`` in the order in which they appear: int64 ``(n,)``."""
    rows = pa.py_buffer(np.ascontiguousarray(digests))
    found = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(digests), [None, rows]).dictionary_encode()
    return found.indices.to_numpy().astype(np.int64)
