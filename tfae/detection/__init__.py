"""Alarms that one can act on: how rare a score is among normal samples, with a false-alarm rate that is kept.

calibrate      from a trained model and samples that training never saw to a calibration
Calibration    p-values and alarms of scores; ``tfae.export.save`` takes it
find_events    from the alarms of a time series to events
Drift          whether samples come from where the calibration samples do
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
import numpy.typing as npt

from tfae import evaluation
from tfae.columns import REST, Column, split_matrix
from tfae.detection.calibration import Calibration, Quantiles, least_samples, num_alarms, validate_rate
from tfae.detection.drift import Drift, compare_halves, compare_with_uniform
from tfae.detection.events import Event, find_events
from tfae.detection.truth import Truth, compare_with_truth, measure
from tfae.moments import blocks

if TYPE_CHECKING:
    from tfae.datasets import Data

__all__ = [
    "Calibration",
    "Drift",
    "Event",
    "Quantiles",
    "Truth",
    "calibrate",
    "calibrate_scores",
    "compare_halves",
    "compare_with_truth",
    "compare_with_uniform",
    "find_categories",
    "find_events",
    "least_samples",
    "measure",
    "read_categories",
    "tell_truth",
    "validate_rate",
]


def calibrate(
    autoencoder: keras.Model, data: Data, *, false_alarm_rate: float = 0.01, by: str | None = None
) -> Calibration:
    """Calibrate the scores of a model on the validation split, which training never saw.

    Args:
        autoencoder: Trained, and compiled with a loss of :mod:`tfae.losses`.
        data: What it was trained on. All of it should be normal: a share of anomalies among the calibration samples
            raises the threshold above about as many of them.
        false_alarm_rate: Share of normal samples that is to raise an alarm, in (0, 1).
        by: Of a table, a column of categories each of which gets a calibration of its own, where it has enough
            samples; the others have that of all.

    Raises:
        ValueError: There are too few samples for the rate, or there is no such column of categories.

    Warns:
        UserWarning: The calibration samples drift in the order of the data, or categories have too few samples.

    Example:
        >>> import tfae
        >>> data = tfae.datasets.load("digits")
        >>> autoencoder = tfae.models.dense(data.shape, latent_dim=16)
        >>> tfae.training.compile(autoencoder, tfae.losses.SquaredError(), data, epochs=1)
        >>> history = autoencoder.fit(data.train, epochs=1, verbose=0, shuffle=False)
        >>> calibration = calibrate(autoencoder, data, false_alarm_rate=0.05)
        >>> scores = evaluation.scores(autoencoder, data.validation)
        >>> int(calibration.is_outlier(scores).sum()) <= 0.05 * (len(scores) + 1)
        True
    """
    groups = find_categories(data, by)
    if hasattr(autoencoder, "adapt_score"):
        autoencoder.adapt_score(data.train_from(0), data.validation)
    scores = evaluation.scores(autoencoder, data.validation)
    return calibrate_scores(
        scores, false_alarm_rate=false_alarm_rate, by=by, groups=groups, source="the validation split"
    )


def calibrate_scores(
    scores: npt.ArrayLike,
    *,
    false_alarm_rate: float,
    by: str | None = None,
    groups: npt.ArrayLike | None = None,
    source: str = "given scores",
) -> Calibration:
    """Calibrate scores of normal samples that training never saw, in the order of their file.

    Args:
        scores: ``(num_samples,)``.
        by: Column of categories that ``groups`` are of, text ``(num_samples,)``; None for one calibration of all.
        false_alarm_rate, source: As of :class:`Calibration`. Errors and warnings are those of :func:`calibrate`.
    """
    scores = np.asarray(scores)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(
            f"scores: expected finite numbers (num_samples,); received {np.sum(~np.isfinite(scores))} that are not, of "
            f"shape {scores.shape}."
        )
    of_groups, too_small = {}, []
    names, indices = np.unique(np.asarray([] if groups is None else groups, object).astype(str), return_inverse=True)
    for index, name in enumerate(names.tolist()):
        if name in ("", REST):  # Of no category.
            continue
        chosen = scores[indices == index]
        if num_alarms(false_alarm_rate, len(chosen)):
            of_groups[name] = Quantiles.of(chosen, most_kept=max(100, 10_000 // len(names)))
        else:
            too_small.append(f"{name!r} ({len(chosen)})")
    halves = compare_halves(scores)
    calibration = Calibration(
        false_alarm_rate=false_alarm_rate,
        quantiles=Quantiles.of(scores),
        column=by,
        groups=of_groups,
        source=source,
        figures={"drift_distance": halves.distance, "drift_p_value": halves.p_value},
    )
    if too_small:
        more = f" and {len(too_small) - 5} more" if len(too_small) > 5 else ""
        warnings.warn(
            f"a rate of {false_alarm_rate:g} takes {least_samples(false_alarm_rate)} calibration samples of each "
            f"category of {by!r}; those with fewer have the threshold of all samples: "
            f"{', '.join(too_small[:5])}{more}",
            stacklevel=3,
        )
    if halves.is_found:
        warnings.warn(
            f"the first and the second half of the calibration samples, in the order of the data, score differently "
            f"({halves}): the data drifts, and no false-alarm rate is kept on data that comes later. Calibrate anew on "
            "recent data, and often",
            stacklevel=3,
        )
    return calibration


def tell_truth(scores: np.ndarray, data: Data, calibration: Calibration | None = None) -> Truth:
    """Return what labels say of the scores of the test split, beside baselines that need no training.

    Args:
        scores: ``(num_test_samples,)``.
        data: Loaded with ``normal``. Where its samples are on disk, there are no baselines.
        calibration: Of the scores, if there is one.
    """
    if data.is_anomaly is None:
        raise ValueError("data: expected what tfae.datasets.load gives with normal=; received data without.")
    is_alarm = None
    if calibration is not None:
        test = data.raw.test
        groups = calibration.column and read_categories(blocks(test), data.columns, calibration.column)
        is_alarm = calibration.is_outlier(scores, groups)
    if not isinstance(data.raw.test, np.ndarray):
        return measure(scores, data.is_anomaly, is_alarm=is_alarm)
    train, test = (np.concatenate([x for _, x, *_ in of.as_numpy_iterator()]) for of in (data.train_from(0), data.test))
    return compare_with_truth(scores, train, test, data.is_anomaly, is_alarm=is_alarm)


def find_categories(data: Data, name: str | None) -> np.ndarray | None:
    """Return the categories of the validation split in a column, text; None without a name, or raise ValueError."""
    if name is None:
        return None
    columns = {column.name: index for index, column in enumerate(data.columns) if column.kind == "category"}
    if name not in columns:
        raise ValueError(
            f"by: expected a column of categories, {', '.join(columns) or 'of which the data has none'}; received "
            f"{name!r}."
        )
    return read_categories(blocks(data.raw.validation), data.columns, name)


def read_categories(samples: Iterable[np.ndarray], columns: Sequence[Column], name: str) -> np.ndarray:
    """Return the categories of tables ``(n, num_columns)`` in a column, text ``(num_samples,)``."""
    index = [column.name for column in columns].index(name)
    texts = [split_matrix(block[:, [index]], [columns[index]])[name] for block in samples]
    return np.concatenate(texts).astype(str)
