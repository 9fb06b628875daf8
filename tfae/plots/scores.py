"""Scores: their distribution, how they go over time with the alarms that they raise, and what contributes to one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tfae.plots.style import (
    BRIGHT,
    COLORS,
    DARK,
    are_names_of_samples,
    classes_of,
    prepare_axes,
    validate_labels,
    write_beside,
)

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


def score_over_time(
    scores: npt.ArrayLike,
    *,
    times: npt.ArrayLike | None = None,
    threshold: float | None = None,
    events: Sequence[tuple[int, ...]] = (),
    score_name: str = "score",
    ax: Axes | None = None,
) -> Axes:
    """Draw the scores of a time series, by their logarithm where all are positive, with the events shaded.

    Args:
        scores: ``(num_steps,)``; NaN, of a step without one, is a gap.
        times: When each step was, ``(num_steps,)``, numbers or ``datetime64``; by default the number of the step.
        threshold: Above which there are alarms.
        events: From :func:`tfae.detection.find_events`: their first and their last step, first.
        score_name: What the vertical axis says.
        ax: Axes to draw into, and to return. A new figure by default.

    Raises:
        ValueError: If scores and times are not of one length.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = score_over_time([1, 2, 9, 1], threshold=4, ax=Figure().subplots())
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['threshold 4']
    """
    values = np.asarray(scores, "float64")
    steps = np.arange(len(values)) if times is None else np.asarray(times)
    if values.ndim != 1 or steps.shape != values.shape:
        raise ValueError(
            f"times: expected one for each of the scores, (num_steps,); received {steps.shape} for {values.shape}."
        )
    ax = prepare_axes(ax, (9, 3))
    ax.plot(steps, values, color=DARK, linewidth=0.8)
    if np.nanmin(values) > 0:
        ax.set_yscale("log")
    if threshold is not None:
        ax.axhline(threshold, color=BRIGHT, linewidth=1, linestyle="--", label=f"threshold {threshold:.4g}")
    for index, event in enumerate(events):
        label = f"{len(events)} event{'' if len(events) == 1 else 's'}" if index == 0 else None
        ax.axvspan(steps[event[0]], steps[event[1]], color=BRIGHT, alpha=0.25, linewidth=2, label=label)
    ax.set(xlabel="step" if times is None else "time", ylabel=score_name)
    if threshold is not None or events:
        ax.legend(loc="upper left", frameon=False)
    return ax


def top_features(
    contributions: npt.ArrayLike,
    names: Sequence[str],
    *,
    observed: Sequence[object] | None = None,
    expected: Sequence[object] | None = None,
    num_features: int = 8,
    ax: Axes | None = None,
) -> Axes:
    """Draw what contributes most to the score of a sample, as bars, the most on top.

    Args:
        contributions: ``(num_features,)``, a row of ``feature_score``.
        names: Of the features.
        observed, expected: What is in the sample and what the model makes of it, written beside the bars.
        num_features: How many to draw.
        ax: Axes to draw into, and to return. A new figure by default.

    Raises:
        ValueError: If there is not one name for each contribution.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = top_features([1.0, 5.0], ["a", "b"], observed=[3, 7], expected=[3, 2], ax=Figure().subplots())
        >>> [text.get_text() for text in ax.get_yticklabels()], [text.get_text() for text in ax.texts]
        (['b', 'a'], ['7, expected 2', '3, expected 3'])
    """
    values = np.asarray(contributions, "float64").ravel()
    if len(names) != len(values):
        raise ValueError(f"names: expected {len(values)}, one for each contribution; received {len(names)}.")
    order = np.argsort(-values, kind="stable")[:num_features]
    ax = prepare_axes(ax, (6, 0.6 + 0.35 * len(order)))
    ax.barh(range(len(order)), values[order], color=BRIGHT)
    ax.set_yticks(range(len(order)), [str(names[index]) for index in order])
    ax.invert_yaxis()
    for place, index in enumerate(order.tolist()):
        cells = [] if observed is None else [_write(observed[index])]
        cells += [] if expected is None else [f"expected {_write(expected[index])}"]
        write_beside(ax, ", ".join(cells), (values[index], place), va="center")
    ax.margins(x=0.35)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlabel("contribution to the score")
    return ax


def _write(cell: object) -> str:
    if isinstance(cell, bytes):
        return cell.decode()
    return f"{cell:.4g}" if isinstance(cell, int | float | np.number) else str(cell)
