"""What an alarm looks like: scores over time with their events, and what contributes to a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tfae.plots.style import BRIGHT, DARK, prepare_axes


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
        ax.annotate(", ".join(cells), (values[index], place), (4, 0), textcoords="offset points", va="center")
    ax.margins(x=0.35)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_xlabel("contribution to the score")
    return ax


def _write(cell: object) -> str:
    if isinstance(cell, bytes):
        return cell.decode()
    return f"{cell:.4g}" if isinstance(cell, int | float | np.number) else str(cell)
