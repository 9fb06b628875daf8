"""What the advice is based on: shares, tails and scales of the training split, in memory that does not grow with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tfae.datasets import Data
from tfae.moments import Samples, blocks

#: Values that medians are taken from.
_NUM_VALUES = 2**20
#: Samples that they are from at least, however large one is.
_MIN_SAMPLES = 32
#: Share of one value from which on a feature counts as nearly constant.
_NEARLY = 0.99


@dataclass(frozen=True)
class Statistics:
    """Of the training split, in data space. A *feature* is a column of a table, or a channel of everything else."""

    #: "image", "sequence", "table" or "other".
    kind: str
    #: Number of samples, of elements of one sample, and of features.
    num_samples: int
    num_elements: int
    num_features: int
    #: Least and greatest value.
    low: float
    high: float
    #: ``(low, high)`` that the values can take, or None where that is not known.
    value_range: tuple[float, float] | None
    #: The preprocessing that takes all splits to [0, 1], where cross-entropy is defined: the one in use if it does,
    #: else "unit" where the value range is known or every feature takes two values, or "none"; None if none does.
    unit_scale: str | None
    #: Shares of values that are exactly 0, exactly 1, and strictly in between: of scaled ones where it is in use or the
    #: value range is known, and else of raw ones.
    share_zero: float
    share_one: float
    share_inside: float
    #: Mean entropy of a sample, Σⱼ H(xⱼ) in nats, the floor of cross-entropy with that preprocessing; None without.
    entropy: float | None
    #: Share of features that are constant; and of those that vary, shares that take two values only, that hold counts
    #: (whole numbers that are not negative, of which more than two occur), and that are sparse: take one value in more
    #: than half of the samples.
    share_constant: float
    share_binary: float
    share_counts: float
    share_sparse: float
    #: Whether exactly one of the features is 1 at each place, and the others are 0.
    is_one_hot: bool
    #: Names, or indices, of the features that take one value in 99 % of the samples or more, but not in all.
    nearly_constant: tuple[str, ...]
    #: Share of values beyond 5 median absolute deviations from the median, taken on each side of it: skewness alone
    #: makes no outliers. 0.0007 for a normal distribution. Mean over features. None, as the next, where over half of
    #: the features are sparse.
    share_outlying: float | None
    #: Share of Σ(x − median)² that these values hold. 0.01 for a normal distribution. Mean over features.
    outlying_energy: float | None
    #: Least and greatest standard deviation of a feature that varies, in data space and in model space; None if none
    #: varies.
    deviations: tuple[float, float] | None
    model_deviations: tuple[float, float] | None


def measure(data: Data) -> Statistics:
    """Measure the training split: medians on every k-th sample of about a million values, all else on all of it.

    Example:
        >>> from tfae.datasets import load
        >>> statistics = measure(load("digits"))
        >>> statistics.value_range, round(statistics.share_zero, 2), round(statistics.share_one, 2)
        ((0.0, 16.0), 0.49, 0.09)
    """
    train, num_features = data.raw.train, data.shape[-1]
    num_samples, num_elements = len(train), math.prod(data.shape)
    num_values = num_samples * (num_elements // num_features)  # Of one feature.
    bounds = data.bounds.train.astype("float64")
    lowest: np.ndarray = bounds[0].reshape(-1, num_features).min(axis=0)
    highest: np.ndarray = bounds[1].reshape(-1, num_features).max(axis=0)
    varies = lowest < highest
    # The range that two values would be the ends of: as for preprocessing "unit".
    ends: np.ndarray = np.stack([lowest, highest] if data.kind == "table" else [lowest.min(), highest.max()])
    unit_scale, offset, scale = find_unit_scale(data)

    sample = sample_evenly(train, num_features)
    median = np.median(sample, axis=0)
    below, above = _one_sided_deviations(sample, median)
    del sample
    unit = np.where(varies, np.maximum(highest - median, median - lowest), 1.0)  # Keeps squares from overflowing.

    shares = np.zeros(4)  # Of 0, of 1, inside, and the entropy.
    equal, at_ends, outlying, outlying_energy, energy, total = np.zeros((6, num_features))
    whole, is_one_hot = np.full(num_features, True), num_features > 1
    for block in blocks(train):
        x: np.ndarray = block.reshape(-1, num_features).astype("float64")
        at_ends += ((x == ends[0]) | (x == ends[1])).sum(axis=0)
        whole &= (x == np.floor(x)).all(axis=0)
        is_one_hot = is_one_hot and bool((x.sum(axis=1) == 1).all() and (x.max(axis=1) == 1).all())
        deviation = (x - median) / unit
        is_far = (deviation > 5 * above / unit) | (deviation < -5 * below / unit)
        equal += (deviation == 0).sum(axis=0)
        outlying += is_far.sum(axis=0)
        total += deviation.sum(axis=0)
        deviation **= 2
        energy += deviation.sum(axis=0)
        outlying_energy += np.where(is_far, deviation, 0).sum(axis=0)
        x -= offset
        x /= scale
        inside = x[(x > 0) & (x < 1)]
        entropy = -(inside * np.log(inside) + (1 - inside) * np.log1p(-inside)).sum()
        shares += [np.count_nonzero(x == 0), np.count_nonzero(x == 1), inside.size, entropy]

    share_zero, share_one, share_inside = (shares[:3] / (num_samples * num_elements)).tolist()
    is_binary = (at_ends == num_values) & (num_samples > 2)  # Any two values are two values.
    is_sparse = 2 * equal > num_values
    tailed = varies & ~is_sparse
    entropy = None if unit_scale is None else float(shares[3]) / num_samples
    if unit_scale is None and _share(is_binary, varies) == 1 and _within_unit(data, ends[0], ends[1] - ends[0]):
        unit_scale, entropy = "unit", 0.0
    has_tails = 2 * int(tailed.sum()) >= max(1, int(varies.sum()))
    deviations = unit * np.sqrt(np.maximum(energy / num_values - (total / num_values) ** 2, 0))
    names = data.feature_names or range(num_features)
    model_deviations = deviations / data.preprocessing.scale
    return Statistics(
        kind=data.kind,
        num_samples=num_samples,
        num_elements=num_elements,
        num_features=num_features,
        low=float(lowest.min()),
        high=float(highest.max()),
        value_range=data.value_range,
        unit_scale=unit_scale,
        share_zero=share_zero,
        share_one=share_one,
        share_inside=share_inside,
        entropy=entropy,
        share_constant=float(np.mean(~varies)),
        share_binary=_share(is_binary, varies),
        share_counts=_share(whole & (lowest >= 0) & ~is_binary, varies),
        share_sparse=_share(is_sparse, varies),
        is_one_hot=is_one_hot and bool(whole.all()) and float(lowest.min()) == 0,
        nearly_constant=tuple(str(names[i]) for i in np.flatnonzero(varies & (equal >= _NEARLY * num_values))),
        share_outlying=float(np.mean(outlying[tailed])) / num_values if has_tails else None,
        outlying_energy=float(np.mean(outlying_energy[tailed] / energy[tailed])) if has_tails else None,
        deviations=_extremes(deviations[varies]),
        model_deviations=_extremes(model_deviations[varies]),
    )


def find_unit_scale(data: Data) -> tuple[str | None, np.ndarray | float, np.ndarray | float]:
    """Name, offset and scale of a preprocessing that takes all splits to [0, 1]; None, 0 and 1 if none does."""
    if _within_unit(data, data.preprocessing.offset, data.preprocessing.scale):
        return data.preprocessing.method, data.preprocessing.offset, data.preprocessing.scale
    if data.value_range is not None:
        low, high = data.value_range
        return "unit", low, high - low
    return ("none" if _within_unit(data, 0.0, 1.0) else None), 0.0, 1.0


def _within_unit(data: Data, offset: np.ndarray | float, scale: np.ndarray | float) -> bool:
    if np.any(np.asarray(scale) == 0):
        return False  # "unit" refuses constant columns.
    scaled = [(bounds.astype("float64") - offset) / scale for bounds in data.bounds]
    return all(bool((values >= 0).all() and (values <= 1).all()) for values in scaled)


def sample_evenly(samples: Samples, num_features: int, *, least: int = _MIN_SAMPLES) -> np.ndarray:
    """Return evenly spaced samples, the same ones every time: float64 ``(num_values, num_features)``."""
    num = min(len(samples), max(least, _NUM_VALUES // math.prod(samples.shape[1:])))
    chosen = np.arange(num) * len(samples) // num
    return samples[chosen].reshape(-1, num_features).astype("float64")


def _one_sided_deviations(sample: np.ndarray, median: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The median distances from the median of the values below it, and of those above it."""
    below, above = np.zeros((2, len(median)))
    for index, values in enumerate((sample - median).T):
        low, high = values[values < 0], values[values > 0]
        below[index] = -np.median(low) if low.size else 0
        above[index] = np.median(high) if high.size else 0
    return below, above


def _share(chosen: np.ndarray, varies: np.ndarray) -> float:
    return int((chosen & varies).sum()) / max(1, int(varies.sum()))


def _extremes(deviations: np.ndarray) -> tuple[float, float] | None:
    return (float(deviations.min()), float(deviations.max())) if deviations.size else None
