"""Alarms of time series as events, one for each run of alarms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Event(NamedTuple):
    """A run of alarms in a time series.

    Attributes:
        start, end: The steps of its first and its last alarm.
        peak: The step of its highest score.
        num_alarms: How many steps of it raise an alarm.
    """

    start: int
    end: int
    peak: int
    num_alarms: int


def find_events(is_outlier: npt.ArrayLike, scores: npt.ArrayLike, *, max_gap: int = 1) -> list[Event]:
    """Group the alarms of a series into events.

    Args:
        is_outlier: bool ``(num_steps,)``, whether each step raises an alarm.
        scores: ``(num_steps,)``; NaN, of a step without one, is no peak.
        max_gap: How many steps after one alarm another still belongs to the same event.

    Raises:
        ValueError: The arrays are of different lengths, or ``max_gap`` is less than 1.

    Example:
        >>> find_events([False, True, True, False, False, True], [0, 4, 5, 1, 0, 3], max_gap=2)
        [Event(start=1, end=2, peak=2, num_alarms=2), Event(start=5, end=5, peak=5, num_alarms=1)]
    """
    alarms, values = np.flatnonzero(np.asarray(is_outlier, bool)), np.asarray(scores, "float64")
    if np.shape(is_outlier) != values.shape or values.ndim != 1:
        raise ValueError(
            f"scores: expected one for each of the {np.size(is_outlier)} steps; received shape {values.shape}."
        )
    if max_gap < 1:
        raise ValueError(f"max_gap: expected at least 1 step; received {max_gap!r}.")
    runs = np.split(alarms, np.flatnonzero(np.diff(alarms) > max_gap) + 1) if len(alarms) else []
    ranked = np.nan_to_num(values, nan=-np.inf)
    return [
        Event(int(run[0]), int(run[-1]), int(run[0] + ranked[run[0] : run[-1] + 1].argmax()), len(run)) for run in runs
    ]
