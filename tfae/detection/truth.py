"""What labels say of a detector: figures with their intervals, beside those of baselines that need no training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import numpy.typing as npt

_NUM_RESAMPLES = 200
#: Training samples that components and neighbours are those of, which of these, and the share of the variance.
_NUM_DRAWN, _NEIGHBOUR, _SHARE_OF_VARIANCE = 2000, 5, 0.9
#: Deviation from which on an element varies; share of Σ z² that may be rounding of a residual.
_LEAST_DEVIATION, _ROUNDING = 1e-9, 1e-9
_FIGURES = ("auroc", "average_precision", "precision", "recall", "f1", "false_alarm_rate")


@final
@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} – {self.high:.3f})"


@final
@dataclasses.dataclass(frozen=True)
class Truth:
    """What :func:`measure` found; ``print`` shows a table, and the findings below it.

    ``auroc`` is the probability that an anomaly scores higher than a normal sample, ties counted half;
    ``false_alarm_rate`` the share of normal samples that raise an alarm. The figures of alarms are None if these are
    not given, and ``precision`` if there are none. ``baselines`` holds what :func:`compare_with_truth` found of each.
    """

    num_anomalies: int
    num_normal: int
    auroc: Estimate
    average_precision: Estimate
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None
    false_alarm_rate: Estimate | None
    baselines: Mapping[str, Truth] = dataclasses.field(default_factory=dict)
    findings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name, fit for JSON; of a figure its "value", "low" and "high"."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        rows = [["", "detector", *self.baselines]]
        for name in _FIGURES:
            if getattr(self, name):
                cells = [getattr(each, name) for each in (self, *self.baselines.values())]
                rows.append([name.replace("_", " "), *(str(cell or "") for cell in cells)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        share = self.num_anomalies / (self.num_anomalies + self.num_normal)
        lines.append(f"{self.num_anomalies:,} anomalies and {self.num_normal:,} normal samples; 95 % intervals;")
        lines.append(f"by chance, auroc is 0.5, and average precision {share:.3f}")
        return "\n".join([*lines, *(f"! {each}" for each in self.findings)])


def measure(
    scores: npt.ArrayLike, is_anomaly: npt.ArrayLike, *, is_alarm: npt.ArrayLike | None = None, seed: int = 0
) -> Truth:
    """Measure how well scores tell anomalies from normal samples.

    The intervals are those of 200 resamples with as many samples of each class. A figure that is perfect, such as an
    AUROC of 1, is so in all of them, however few samples there are.

    Args:
        scores: ``(num_samples,)``, high for anomalies; infinity is a score.
        is_anomaly: bool, or 0 and 1, ``(num_samples,)``.
        is_alarm: Whether samples raise an alarm, likewise; None without a threshold.
        seed: Of the resamples.

    Raises:
        ValueError: If shapes differ, a score is NaN, or there are no samples of one class.

    Example:
        >>> truth = measure([0.1, 0.4, 0.3, 0.9, 0.2], [0, 0, 1, 1, 0], is_alarm=[0, 1, 0, 1, 0])
        >>> [round(each.value, 3) for each in (truth.auroc, truth.precision, truth.false_alarm_rate)]
        [0.833, 0.5, 0.333]
    """
    return _truth(_resample(scores, is_anomaly, is_alarm, seed), is_anomaly)


def trivial_scores(train: npt.ArrayLike, samples: npt.ArrayLike) -> dict[str, np.ndarray]:
    """Score samples by what needs no training: float64 ``(num_samples,)``, by name.

    "distance from the mean" is Σ z², z the elements that training samples standardise; "PCA residual" the square of
    what the components with 90 % of the variance leave; "nearest neighbours" the distance to the fifth nearest training
    sample. Components and neighbours are those of at most 2,000 training samples.

    Args:
        train: Normal samples in model space, ``(n, ...)``. Means of the training samples fill gaps, NaN.
        samples: What to score, ``(num_samples, ...)``.

    Raises:
        ValueError: If there are no training samples, or their shape is not that of the others.

    Example:
        >>> scores = trivial_scores(np.eye(4), [[0, 0, 0, 1], [9, 9, 9, 9]])
        >>> all(low < high for low, high in scores.values())
        True
    """
    from sklearn.neighbors import NearestNeighbors

    train, samples = np.asarray(train, "float64"), np.asarray(samples, "float64")
    if not len(train) or train.shape[1:] != samples.shape[1:]:
        raise ValueError(f"train: expected samples (n, *{samples.shape[1:]}), as to score; received {train.shape}.")
    train, samples = (x.reshape(len(x), -1) for x in (train, samples))
    present = np.ma.masked_invalid(train)
    mean, scale = present.mean(axis=0).filled(0), present.std(axis=0).filled(0)
    scale[scale < _LEAST_DEVIATION] = 1
    train = train[np.random.default_rng(0).permutation(len(train))[:_NUM_DRAWN]]
    drawn, z = (np.where(np.isnan(x), 0, (x - mean) / scale) for x in (train, samples))
    _, deviations, axes = np.linalg.svd(drawn - drawn.mean(axis=0), full_matrices=False)
    variances = np.cumsum(deviations**2)
    axes = axes[: 1 + np.searchsorted(variances, _SHARE_OF_VARIANCE * variances[-1])]
    squares, residual = (z**2).sum(axis=1), ((z - z @ axes.T @ axes) ** 2).sum(axis=1)
    neighbours = NearestNeighbors(n_neighbors=min(_NEIGHBOUR, len(drawn))).fit(drawn)
    return {
        "distance from the mean": squares,
        "PCA residual": np.where(residual > _ROUNDING * squares, residual, 0),
        "nearest neighbours": neighbours.kneighbors(z)[0][:, -1],
    }


def compare_with_truth(
    scores: npt.ArrayLike, train: npt.ArrayLike, samples: npt.ArrayLike, is_anomaly: npt.ArrayLike, **options: Any
) -> Truth:
    """Measure a detector, and beside it the baselines of :func:`trivial_scores`, which take ``train`` and ``samples``.

    ``scores`` are those of ``samples``, and ``options`` those of :func:`measure`; errors are those of both. A baseline
    of a higher AUROC is a finding if the 95 % interval of the difference, over the same resamples, is above 0.
    """
    figures = _resample(scores, is_anomaly, **options)
    baselines, findings = {}, []
    for name, trivial in trivial_scores(train, samples).items():
        others = _resample(trivial, is_anomaly, **{**options, "is_alarm": None})
        baselines[name] = _truth(others, is_anomaly)
        lead = _estimate(others[:, 0] - figures[:, 0])
        if lead and lead.low > 0:
            findings.append(
                f"losing to a baseline: auroc is {figures[0, 0]:.3f}, and that of {name}, which needs no training, "
                f"{others[0, 0]:.3f}, more by {lead}. Train for longer, or take the baseline."
            )
    return dataclasses.replace(_truth(figures, is_anomaly), baselines=baselines, findings=tuple(findings))


def _resample(scores: Any, is_anomaly: Any, is_alarm: Any = None, seed: int = 0) -> np.ndarray:
    """Figures of the samples, and below them those of resamples: ``(1 + num_resamples, num_figures)``."""
    scores, labels = np.asarray(scores, "float64"), np.asarray(is_anomaly)
    if scores.ndim != 1 or np.isnan(scores).any():
        received = f"NaN at {int(np.isnan(scores).argmax())}" if scores.ndim == 1 else f"shape {scores.shape}"
        raise ValueError(f"scores: expected a number for each sample; received {received}.")
    alarms = np.zeros(len(scores)) if is_alarm is None else np.asarray(is_alarm)
    for name, flags in (("is_anomaly", labels), ("is_alarm", alarms)):
        if flags.shape != scores.shape or not np.isin(flags, (0, 1)).all():
            received = f"{np.unique(flags)[:5].tolist()}" if flags.shape == scores.shape else f"shape {flags.shape}"
            raise ValueError(f"{name}: expected 0 or 1 for each of {len(scores):,} scores; received {received}.")
    is_true = labels.astype(bool)
    num_true, num_normal = int(is_true.sum()), int((~is_true).sum())
    if not num_normal or not num_true:
        raise ValueError(
            f"is_anomaly: expected some of both; received {num_true:,} anomalies of {len(scores):,} samples."
        )
    # Bins from high scores to low: one for each score of an anomaly, and one for all between it and the next.
    edges = np.unique(-scores[is_true])
    bins = np.searchsorted(edges, -scores, "left") + np.searchsorted(edges, -scores, "right")
    classes = [2 * bins[each] + (alarms[each] == 1) for each in (~is_true, is_true)]  # Twice as many, by alarm.
    rng = np.random.default_rng(seed)
    figures = np.full((1 + _NUM_RESAMPLES, len(_FIGURES)), np.nan)
    for index, row in enumerate(figures):
        drawn = [each[rng.integers(0, len(each), len(each))] if index else each for each in classes]
        by_alarm = [np.bincount(each, minlength=4 * len(edges) + 2).reshape(-1, 2) for each in drawn]
        normal, found = (each.sum(axis=1) for each in by_alarm)
        above, hits = normal.cumsum(), found.cumsum()  # At each score and above it.
        # No dot products: their threads would wait for each other.
        row[0] = np.sum(found * (num_normal - above + normal / 2)) / (num_normal * num_true)
        row[1] = np.sum(found * hits / np.maximum(hits + above, 1)) / num_true
        if is_alarm is not None:
            false, true = (int(each[:, 1].sum()) for each in by_alarm)
            precision = true / (true + false) if true + false else np.nan
            row[2:] = precision, true / num_true, 2 * true / (true + false + num_true), false / num_normal
    return figures


def _truth(figures: np.ndarray, is_anomaly: Any) -> Truth:
    num_anomalies = int(np.sum(is_anomaly))
    estimates: Any = {name: _estimate(values) for name, values in zip(_FIGURES, figures.T, strict=True)}
    return Truth(num_anomalies, len(is_anomaly) - num_anomalies, **estimates)


def _estimate(values: np.ndarray) -> Estimate | None:
    """Of a figure of the samples, the first, and of resamples; None if the samples have none."""
    if np.isnan(values[0]):
        return None
    return Estimate(*map(float, (values[0], *np.nanpercentile(values[1:], (2.5, 97.5)))))
