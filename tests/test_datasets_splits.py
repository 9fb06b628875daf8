"""Splits depend on data and seed only, are complete, and never share a sample."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tfae.datasets.splits import Splits, disjoint, number_distinct, sample_digests, split_indices

FRACTIONS = (0.8, 0.1, 0.1)

groups = st.lists(st.integers(0, 40), min_size=1, max_size=200).map(np.array)
fractions = st.sampled_from([FRACTIONS, (0.6, 0.2, 0.2), (1 / 3, 1 / 3, 1 / 3), (0.98, 0.01, 0.01), (0.9, 0.1)])
seeds = st.integers(0, 2**32 - 1)


@given(groups, fractions, seeds)
def test_splits_are_every_sample_once_and_share_no_group(
    groups: np.ndarray, fractions: tuple[float, ...], seed: int
) -> None:
    if len(set(groups.tolist())) < len(fractions):
        with pytest.raises(ValueError, match=f"expected at least {len(fractions)} different samples"):
            split_indices(groups, fractions, seed=seed)
        return
    chosen = split_indices(groups, fractions, seed=seed)
    assert len(chosen) == len(fractions)
    assert sorted(np.concatenate(chosen).tolist()) == list(range(len(groups)))
    assert min(map(len, chosen)) >= 1
    for indices in chosen:
        assert (np.diff(indices) > 0).all()
    members = [set(groups[indices].tolist()) for indices in chosen]
    assert sum(map(len, members)) == len(set().union(*members))


@given(st.integers(10, 400), seeds)
def test_sizes_are_exact_where_no_sample_repeats(num_samples: int, seed: int) -> None:
    sizes = list(map(len, split_indices(np.arange(num_samples), FRACTIONS, seed=seed)))
    first, second = round(0.8 * num_samples), round((0.8 + 0.1) * num_samples)
    assert sizes == [first, max(second - first, 1), num_samples - max(second, first + 1)]


@given(groups, seeds)
def test_sizes_miss_their_share_by_less_than_the_largest_group(groups: np.ndarray, seed: int) -> None:
    largest = np.bincount(groups).max()
    if len(set(groups.tolist())) < 10:
        return
    sizes = np.cumsum(list(map(len, split_indices(groups, (0.6, 0.2, 0.2), seed=seed))))
    assert abs(sizes[0] - 0.6 * len(groups)) <= largest + 1
    assert abs(sizes[1] - 0.8 * len(groups)) <= largest + 1


def test_the_draw_is_the_frozen_stream_of_numpy() -> None:
    # By hand: np.random.RandomState(7).permutation(10) is [8 5 0 2 1 9 7 3 6 4].
    train, validation, test = split_indices(np.arange(10), (0.6, 0.2, 0.2), seed=7)
    assert train.tolist() == [0, 1, 2, 5, 8, 9]
    assert validation.tolist() == [3, 7]
    assert test.tolist() == [4, 6]


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float64", "bool", "int64"])
def test_samples_are_the_same_when_their_bytes_are(dtype: str) -> None:
    samples = np.array([[0, 1], [1, 1], [0, 1], [1, 0], [1, 1]], dtype)
    for same in (samples, samples[:, ::-1, np.newaxis]):  # The second one is not contiguous.
        assert number_distinct(sample_digests([same])).tolist() == [0, 1, 0, 2, 1]


def test_splits_that_come_with_the_data_lose_what_a_later_one_holds() -> None:
    train, validation, test = (np.array(values)[:, np.newaxis] for values in ([1, 2, 3, 4, 1], [2, 5, 2], [3, 3, 5]))
    kept = disjoint(Splits(*(sample_digests([split]) for split in (train, validation, test))))
    assert [indices.tolist() for indices in kept] == [[0, 3, 4], [0, 2], [0, 1, 2]]
