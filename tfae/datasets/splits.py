"""Splits that depend on the seed and the data only, and never share a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Splits(NamedTuple):
    """One array for each split.

    Attributes:
        train: What the preprocessing and the model are fitted on.
        validation: What early stopping looks at.
        test: What nothing but the final evaluation looks at.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def identity(samples: np.ndarray) -> np.ndarray:
    """Number the distinct samples in the order in which they appear.

    Args:
        samples: ``(n, *shape)``, any dtype.

    Returns:
        int64 ``(n,)``: equal for samples with the same bytes, and different for all others.

    Example:
        >>> identity(np.array([[1, 2], [3, 4], [1, 2]]))
        array([0, 1, 0])
    """
    # A digest of 16 bytes stands for the sample, so that a table of any width needs the same memory.
    # Two of 10⁹ different samples share one with a probability of 10⁻²¹.
    numbers: dict[bytes, int] = {}
    return np.fromiter(
        (
            numbers.setdefault(hashlib.blake2b(sample.tobytes(), digest_size=16).digest(), len(numbers))
            for sample in samples.reshape(len(samples), -1)
        ),
        dtype=np.int64,
        count=len(samples),
    )


def split_indices(groups: np.ndarray, fractions: Sequence[float], *, seed: int) -> tuple[np.ndarray, ...]:
    """Draw splits of about these fractions, so that no group is in two of them.

    Without repeated groups, the splits end at exactly round(n · cumulated fraction). A repeated group goes as a whole
    to the side of the boundary that keeps the sizes closest.

    Args:
        groups: Int ``(n,)``, as from ``identity``: the samples of one group stay together.
        fractions: Of the samples in each split, positive.
        seed: Of the draw, in [0, 2³²).

    Returns:
        For each split, int64 indices in ascending order. Together they are every index once.

    Raises:
        ValueError: There are fewer groups than splits, so that one would be empty.

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


def disjoint(splits: Splits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find what to leave out so that splits that a data set comes with share no sample.

    Args:
        splits: The samples of each split.

    Returns:
        For each split, the int64 indices to keep in ascending order: all of test, of validation those that are not in
        test, of train those that are in neither.

    Example:
        >>> train, validation, test = np.array([[1], [2], [3], [4]]), np.array([[2], [5]]), np.array([[3], [3], [5]])
        >>> [indices.tolist() for indices in disjoint(Splits(train, validation, test))]
        [[0, 3], [0], [0, 1, 2]]
    """
    groups = np.split(identity(np.concatenate(splits)), np.cumsum([len(samples) for samples in splits])[:-1])
    train, validation, test = groups
    return (
        np.flatnonzero(~np.isin(train, np.concatenate([validation, test]))),
        np.flatnonzero(~np.isin(validation, test)),
        np.arange(len(test)),
    )
