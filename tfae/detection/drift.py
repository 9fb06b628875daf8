"""Whether samples come from where the calibration samples do, without which no false-alarm rate is kept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: Below this p-value of a test, there is a warning: once in a thousand data sets without drift.
SIGNIFICANCE = 0.001
#: Samples of a half, below which nothing is found in its order.
_LEAST_COMPARED = 10


class Drift(NamedTuple):
    """What a test of drift found.

    Attributes:
        distance: The largest distance between two distribution functions, in [0, 1].
        p_value: How likely one is as large without drift.
    """

    distance: float
    p_value: float

    @property
    def is_found(self) -> bool:
        """Whether chance hardly explains the distance."""
        return self.p_value < SIGNIFICANCE

    def __str__(self) -> str:
        return f"Kolmogorov-Smirnov distance {self.distance:.3f}, p = {self.p_value:.2g}"


def compare_halves(scores: npt.ArrayLike) -> Drift:
    """Compare the scores of the first half of samples, in the order of the file, with those of the second.

    Where they differ, the data drifts, and what comes later differs from what was calibrated on.

    Example:
        >>> compare_halves(np.arange(100.0)).is_found, compare_halves(np.arange(100.0) % 50).is_found
        (True, False)
    """
    from scipy import stats

    first, second = np.array_split(np.asarray(scores, "float64"), 2)
    if len(second) < _LEAST_COMPARED:
        return Drift(0.0, 1.0)
    found = stats.ks_2samp(first, second, method="asymp")
    return Drift(float(found.statistic), float(found.pvalue))


def compare_with_uniform(p_values: npt.ArrayLike, num_samples: int) -> Drift:
    """Compare the p-values of samples that are taken as normal with the uniform distribution.

    Args:
        p_values: ``(n,)``; NaN, of what has no score, counts for nothing.
        num_samples: How many calibration samples there are, which have a distribution of their own.

    Example:
        >>> uniform, halved = np.linspace(0, 1, 200), np.linspace(0, 0.5, 200)
        >>> compare_with_uniform(uniform, 1000).is_found, compare_with_uniform(halved, 1000).is_found
        (False, True)
    """
    from scipy import stats

    values = np.asarray(p_values, "float64")
    values = values[~np.isnan(values)]
    if not len(values):
        return Drift(0.0, 1.0)
    distance = float(stats.ks_1samp(values, stats.uniform.cdf).statistic)
    # Both are samples: the calibration's, of which the p-values are ranks, and this one.
    effective = len(values) * num_samples / (len(values) + num_samples)
    return Drift(distance, float(stats.kstwobign.sf(distance * np.sqrt(effective))))
