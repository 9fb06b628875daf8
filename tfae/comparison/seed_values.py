"""A metric over the seeds of a comparison, and what it takes for one loss to be better in it."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping

from tfae.comparison.probes import PROBES
from tfae.evaluation import METRICS, Metric


def compared_metrics() -> list[Metric]:
    """Return the metrics that a comparison puts side by side, of the clean test split."""
    return [*(metric for metric in METRICS.values() if metric.in_comparison), *PROBES]


@dataclasses.dataclass(frozen=True)
class SeedValues:
    """Values of a metric over the seeds.

    Attributes:
        values: One for each seed.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their standard deviation, with the n − 1 of a sample; None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        """``mean ± deviation``, the deviation with two significant digits and the mean with as many decimals.

        Example:
            >>> print(SeedValues((0.1234, 0.1334)), SeedValues((1.5,)))
            0.1284 ± 0.0071 1.5
        """
        if not self.deviation:
            return f"{self.mean:.4g}" + ("" if self.deviation is None else " ± 0")
        decimals = max(0, 1 - math.floor(math.log10(self.deviation)))
        # Of runs that hardly differ, no more than five digits of the mean.
        limit = max(0, 4 - math.floor(math.log10(abs(self.mean) or 1)))
        if decimals > limit:
            return f"{self.mean:,.{limit}f} ± {self.deviation:.1g}"
        return f"{self.mean:,.{decimals}f} ± {self.deviation:,.{decimals}f}"


def find_winner(metric: Metric, values_by_name: Mapping[str, SeedValues | None]) -> str | None:
    """Return who is better than all others by more than the runs of one differ among themselves.

    The difference between the best mean and the next has to exceed √(s₁² + s₂²), the standard deviations of the two
    over the seeds combined as those of a difference are.

    Args:
        metric: What is measured.
        values_by_name: By name, the values for the seeds; None where there is none. Those without are not compared.

    Returns:
        The name; None if the difference is smaller, there are fewer than two to compare or fewer than two seeds, or
        nothing is better or worse.

    Example:
        >>> find_winner(METRICS["mse"], {"a": SeedValues((1.0, 1.2)), "b": SeedValues((2.0, 2.2))})
        'a'
        >>> find_winner(METRICS["mse"], {"a": SeedValues((1.0, 2.0)), "b": SeedValues((1.4, 2.4))})
    """
    if metric.better is None:
        return None
    shortfalls = {
        name: SeedValues(tuple(map(metric.shortfall, spread.values)))
        for name, spread in values_by_name.items()
        if spread
    }
    if len(shortfalls) < 2:
        return None
    (name, best), (_, following), *_ = sorted(shortfalls.items(), key=lambda item: item[1].mean)
    if best.deviation is None or following.deviation is None:
        return None
    return name if following.mean - best.mean > math.hypot(best.deviation, following.deviation) else None
