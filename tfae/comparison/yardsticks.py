"""The measures that a comparison puts side by side, and what it takes for one to be better."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Yardstick:
    """A measure of a run.

    Attributes:
        name: In ``evaluation.json``, or of a probe.
        title: In tables.
        goal: "low", "high" or "one", whichever is best: near 1 for what is a ratio to the data. None for a measure
            of which more is neither better nor worse, or which is not in the same unit under every loss.
    """

    name: str
    title: str
    goal: str | None

    def shortfall(self, value: float) -> float:
        """How far a value is from what is best, but for a constant: the less the better."""
        return {"low": value, "high": -value, "one": abs(value - 1)}[self.goal or "low"]


#: All of them are of the clean test split.
YARDSTICKS = (
    Yardstick("mse", "MSE", "low"),
    Yardstick("mae", "MAE", "low"),
    Yardstick("crossentropy", "Cross-entropy, nats", "low"),
    Yardstick("bits", "Cross-entropy, bits", "low"),
    Yardstick("psnr", "PSNR, dB", "high"),
    Yardstick("ssim", "SSIM", "high"),
    Yardstick("sharpness", "Sharpness", "one"),
    # Of each model in its own loss.
    Yardstick("constant_skill", "Skill against the constant", None),
    Yardstick("linear_skill", "Skill against PCA", None),
    Yardstick("num_active_units", "Active units", None),
    Yardstick("effective_dimension", "Effective dimension", None),
    Yardstick("linear_probe", "Linear probe, accuracy", "high"),
    Yardstick("neighbor_accuracy", "Nearest neighbours, accuracy", "high"),
)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Values of a measure over the seeds.

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
            >>> print(Spread((0.1234, 0.1334)), Spread((1.5,)))
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


def winner(yardstick: Yardstick, spreads: Mapping[str, Spread | None]) -> str | None:
    """Return who is better than all others by more than the runs of one differ among themselves.

    The difference between the best mean and the next has to exceed √(s₁² + s₂²), the standard deviations of the two
    over the seeds combined as those of a difference are.

    Args:
        yardstick: What is measured.
        spreads: By name, the values for the seeds; None where there is none. Those without are not compared.

    Returns:
        The name; None if the difference is smaller, there are fewer than two to compare or fewer than two seeds, or
        nothing is better or worse.

    Example:
        >>> mse = Yardstick("mse", "MSE", "low")
        >>> winner(mse, {"a": Spread((1.0, 1.2)), "b": Spread((2.0, 2.2))})
        'a'
        >>> winner(mse, {"a": Spread((1.0, 2.0)), "b": Spread((1.4, 2.4))})
    """
    if yardstick.goal is None:
        return None
    shortfalls = {
        name: Spread(tuple(map(yardstick.shortfall, spread.values))) for name, spread in spreads.items() if spread
    }
    if len(shortfalls) < 2:
        return None
    (name, best), (_, following), *_ = sorted(shortfalls.items(), key=lambda item: item[1].mean)
    if best.deviation is None or following.deviation is None:
        return None
    return name if following.mean - best.mean > math.hypot(best.deviation, following.deviation) else None
