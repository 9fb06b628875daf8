"""Histogram of scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tfae.plots.style import COLORS, DARK, are_names_of_samples, classes_of, prepare_axes, validate_labels

#: How many times their median the largest score is, where scores are drawn by their logarithm.
_MANY_SIZES = 30


def score_histogram(
    scores: npt.ArrayLike,
    *,
    labels: npt.ArrayLike | None = None,
    score_name: str = "loss per sample",
    threshold: float | None = None,
    false_alarm_rate: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a histogram of scores, with their median, and their 99th percentile or the threshold of alarms.

    Scores of many sizes are drawn by their logarithm.

    Args:
        scores: ``(num_samples,)``, such as :func:`tfae.evaluation.scores` returns.
        labels: ``(num_samples,)``; one outline for each class, as shares of the class, for up to ten classes. Left
            out where most samples have a label of their own.
        score_name: What the horizontal axis says; put the unit here.
        threshold: Above which there are alarms, such as ``calibration.threshold``; ``false_alarm_rate`` is told beside.
        ax: Axes to draw into, and to return. A new figure by default.

    Raises:
        ValueError: If ``scores`` is not one-dimensional, is empty or not finite, or ``labels`` has another length.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = score_histogram([1, 2, 2, 3, 9], score_name="loss per sample, nats", ax=Figure().subplots())
        >>> [text.get_text() for text in ax.texts]
        ['median 2', '99th percentile 8.76']
    """
    scores = np.asarray(scores, "float64")
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        raise ValueError(
            f"scores: expected finite numbers of shape (num_samples,); received shape {scores.shape} with "
            f"{np.count_nonzero(~np.isfinite(scores))} that are not finite."
        )
    labels = validate_labels(labels, len(scores))
    if labels is not None and are_names_of_samples(labels):
        labels = None
    ax = prepare_axes(ax, (6, 3.6))
    # The rule of Freedman and Diaconis, bounded: a single outlier would make it ask for millions of bins.
    width = 2 * np.subtract(*np.percentile(scores, [75, 25])) * len(scores) ** (-1 / 3)
    num_bins = int(np.clip(np.ptp(scores) / width, 10, 60)) if width > 0 else 10
    if scores.min() > 0 and scores.max() > _MANY_SIZES * np.median(scores):
        ax.set_xscale("log")
        bins = np.geomspace(scores.min(), scores.max(), 60).tolist()
    else:
        bins = np.histogram_bin_edges(scores, num_bins).tolist()
    if labels is None:
        ax.hist(scores, bins, color=COLORS[0])
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        for name, members, color, _ in classes_of(labels):
            share = np.full(members.sum(), 1 / members.sum())
            ax.hist(scores[members], bins, weights=share, histtype="step", color=color, linewidth=1.5, label=name)
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    low, high = ax.get_xlim()
    middle = np.sqrt(low * high) if ax.get_xscale() == "log" else (low + high) / 2
    second = "99th percentile", np.percentile(scores, 99)
    if threshold is not None:
        second = (
            "threshold" if false_alarm_rate is None else f"{100 * false_alarm_rate:.4g} % false alarms above",
            threshold,
        )
    for (name, value), height in ((("median", np.median(scores)), 14), (second, 2)):
        ax.axvline(value, color=DARK, linewidth=1, linestyle="--")
        ax.annotate(
            f"{name} {value:.4g}",
            (value, 1),
            (0, height),  # one above the other, above the bars
            xycoords=ax.get_xaxis_transform(),
            textcoords="offset points",
            ha="left" if value < middle else "right",
        )
    ax.set(xlabel=score_name, ylabel="samples" if labels is None else "share of the samples of a class")
    return ax
