"""Split conformal calibration: how rare a score is among normal samples, and from which one on to raise an alarm."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
import tensorflow as tf

#: Scores that are kept of each calibration: of more, the highest half of these and a selection of the others.
MOST_KEPT = 10_000
#: How much higher a score has to be than that of a calibration sample to be told from it: above rounding.
_MARGIN = 1e-5


@final
@dataclass(frozen=True, eq=False)
class Quantiles:
    """Scores of calibration samples, which say how rare a score is.

    Attributes:
        scores: float32 ``(n,)``, ascending, with a margin for rounding.
        counts: int32 ``(n + 1,)``: how many calibration samples score higher than so many of the scores that are kept;
            all of them, first.
    """

    scores: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, scores: npt.ArrayLike, *, most_kept: int = MOST_KEPT) -> Quantiles:
        """Take in the scores of calibration samples, ``(num_samples,)``."""
        ascending = np.sort(np.asarray(scores, "float64"))
        ascending = (ascending + _MARGIN * np.abs(ascending)).astype("float32")
        ranks, half = np.arange(len(ascending)), most_kept // 2
        if len(ranks) > most_kept:
            ranks = np.append(np.linspace(0, len(ranks) - half - 1, most_kept - half).astype(int), ranks[-half:])
        kept = np.unique(ascending[ranks])
        counts = len(ascending) - np.searchsorted(ascending, kept, side="right")
        return cls(kept, np.append(len(ascending), counts).astype("int32"))

    @property
    def num_samples(self) -> int:
        """How many calibration samples there are."""
        return int(self.counts[0])

    def count_higher(self, scores: tf.Tensor) -> tf.Tensor:
        """Return how many calibration samples score at least as high, or at most: int32 ``(batch,)``."""
        return tf.gather(self.counts, tf.searchsorted(self.scores, scores))

    def threshold(self, false_alarm_rate: float) -> float:
        """Return the score above which p ≤ ``false_alarm_rate``; infinity if no score is that rare."""
        allowed = self.counts[1:] < num_alarms(false_alarm_rate, self.num_samples)
        return float(self.scores[allowed.argmax()]) if allowed.any() else math.inf


def num_alarms(false_alarm_rate: float, num_samples: int) -> int:
    """Return ⌊rate · (n + 1)⌋: of n calibration samples and one more, how many may raise an alarm.

    Example:
        >>> num_alarms(0.01, 98), num_alarms(0.01, 99)
        (0, 1)
    """
    return math.floor(false_alarm_rate * (num_samples + 1) * (1 + 1e-12))


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """What makes scores p-values and alarms.

    p = (1 + #{calibration scores ≥ s}) / (num_samples + 1). Of samples that come from where the calibration samples do,
    in any order, at most a share r has p ≤ r, for every r; of data that has drifted more do. An alarm is
    p ≤ ``false_alarm_rate``.

    Attributes:
        false_alarm_rate: Share of normal samples that raise an alarm, in (0, 1).
        quantiles: Of all calibration samples.
        column: Of a table, the column of categories each of which has a calibration of its own; None for one of all.
        groups: Those by category; a sample of another has that of all.
        source: What the calibration samples are, in words.
        figures: What was found of the calibration samples, numbers by name.

    Raises:
        ValueError: There are too few samples for the rate.

    Example:
        >>> calibration = Calibration(false_alarm_rate=0.2, quantiles=Quantiles.of([1, 2, 3, 4]))
        >>> calibration.p_values([0.5, 3.5, 5]).tolist()
        [1.0, 0.4000000059604645, 0.20000000298023224]
        >>> calibration.is_outlier([4, 4.1]).tolist()
        [False, True]

    Reference:
        Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World (2005): conformal prediction, and by groups
        Mondrian conformal prediction. Bates et al., Testing for Outliers with Conformal p-Values (2023).
    """

    false_alarm_rate: float
    quantiles: Quantiles
    column: str | None = None
    groups: Mapping[str, Quantiles] = dataclasses.field(default_factory=dict)
    source: str = "given scores"
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        validate_rate(self.false_alarm_rate, self.quantiles.num_samples)

    @property
    def threshold(self) -> float:
        """The score above which there is an alarm, but for the groups that have one of their own."""
        return self.quantiles.threshold(self.false_alarm_rate)

    def with_rate(self, false_alarm_rate: float) -> Calibration:
        """Return the calibration for another rate; groups that are too small for it have that of all."""
        groups = {name: each for name, each in self.groups.items() if num_alarms(false_alarm_rate, each.num_samples)}
        return dataclasses.replace(self, false_alarm_rate=false_alarm_rate, groups=groups)

    def p_values(self, scores: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> np.ndarray:
        """Return p-values of scores, float32 ``(batch,)``; ``groups`` are their categories, text ``(batch,)``."""
        return self.judge(scores, groups)["p_value"].numpy()

    def is_outlier(self, scores: npt.ArrayLike, groups: npt.ArrayLike | None = None) -> np.ndarray:
        """Return whether scores raise an alarm, bool ``(batch,)``; ``groups`` as of ``p_values``."""
        return self.judge(scores, groups)["is_outlier"].numpy()

    def judge(self, scores: Any, groups: Any = None) -> dict[str, tf.Tensor]:
        """Return ``p_value`` and ``is_outlier`` of scores as tensors; in a graph, as it is served, too.

        Raises:
            ValueError: There are groups without a column, or none with one.
        """
        if (groups is None) != (self.column is None):
            expected = "none" if self.column is None else f"the categories of {self.column!r}"
            raise ValueError(f"groups: expected {expected}; received {groups!r}.")
        scores = tf.convert_to_tensor(scores, tf.float32)
        counts = self.quantiles.count_higher(scores)
        number = tf.fill(tf.shape(scores), self.quantiles.num_samples)
        allowed = tf.fill(tf.shape(scores), self._num_alarms(self.quantiles))
        for name, quantiles in self.groups.items():
            is_in = tf.equal(groups, name)
            counts = tf.where(is_in, quantiles.count_higher(scores), counts)
            number = tf.where(is_in, quantiles.num_samples, number)
            allowed = tf.where(is_in, self._num_alarms(quantiles), allowed)
        # NaN is no score: it has no place among the others.
        p_value = tf.where(tf.math.is_nan(scores), scores, tf.cast((1 + counts) / (1 + number), tf.float32))
        return {"p_value": p_value, "is_outlier": tf.logical_and(counts < allowed, p_value <= 1)}

    def _num_alarms(self, quantiles: Quantiles) -> int:
        return num_alarms(self.false_alarm_rate, quantiles.num_samples)

    def __str__(self) -> str:
        by = ""
        if self.column is not None:
            by = f"; {len(self.groups)} categories of {self.column} have thresholds of their own"
        return (
            f"above a score of {self.threshold:.6g}, at a false-alarm rate of {self.false_alarm_rate:g}, calibrated on "
            f"{self.quantiles.num_samples:,} samples of {self.source}{by}"
        )

    def describe(self) -> dict[str, Any]:
        """Return what exported models write down, JSON-able."""
        return {
            "false_alarm_rate": self.false_alarm_rate,
            "threshold": self.threshold,
            "num_samples": self.quantiles.num_samples,
            "source": self.source,
            "column": self.column,
            "groups": {
                name: {"threshold": each.threshold(self.false_alarm_rate), "num_samples": each.num_samples}
                for name, each in self.groups.items()
            },
            "figures": dict(self.figures),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_dict` takes, JSON-able."""
        all_of = {"": self.quantiles, **self.groups}
        quantiles = {name: [each.scores.tolist(), each.counts.tolist()] for name, each in all_of.items()}
        return {
            **{name: getattr(self, name) for name in ("false_alarm_rate", "column", "source")},
            "figures": dict(self.figures),
            "quantiles": quantiles,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration that ``as_dict`` was called on."""
        groups = {
            name: Quantiles(np.array(scores, "float32"), np.array(counts, "int32"))
            for name, (scores, counts) in values["quantiles"].items()
        }
        options = {name: value for name, value in values.items() if name != "quantiles"}
        return cls(quantiles=groups.pop(""), groups=groups, **options)


def validate_rate(false_alarm_rate: float, num_samples: int) -> None:
    """Raise ValueError for a rate that so many calibration samples are too few for."""
    if not 0 < false_alarm_rate < 1:
        raise ValueError(f"false_alarm_rate: expected a number between 0 and 1; received {false_alarm_rate!r}.")
    if not num_alarms(false_alarm_rate, num_samples):
        raise ValueError(
            f"false_alarm_rate: expected at least 1 / {num_samples + 1}, for {num_samples} calibration samples tell no "
            f"rarer scores apart; received {false_alarm_rate:g}, which takes {least_samples(false_alarm_rate):,} "
            "samples."
        )


def least_samples(false_alarm_rate: float) -> int:
    """Return how many calibration samples a rate takes."""
    return math.ceil(1 / false_alarm_rate * (1 - 1e-12)) - 1
