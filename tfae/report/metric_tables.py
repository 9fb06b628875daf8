"""Evaluations as rows of a page's tables."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence

from tfae.evaluation import METRICS, Evaluation
from tfae.evaluation.evaluation import align, percent
from tfae.evaluation.metrics import BOUND, LOSS


def group_rows(e: Evaluation) -> dict[str, list[tuple[str, str, str]]]:
    """Return title, value and note of all metrics by the heading of their group, decimal points below each other."""
    unit = f", {e.loss_unit}" if e.loss_unit else ""
    headings = {LOSS: f"{LOSS}, {e.sample_reduction} over the elements{unit}"}
    rows = e.rows()
    numbers = [format_number(row.value) for row in rows]
    values = align(numbers, "\N{FIGURE SPACE}", "\N{PUNCTUATION SPACE}")
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for row, value in zip(rows, values, strict=True):
        title = row.title[0].upper() + row.title[1:]
        groups.setdefault(headings.get(row.group, row.group), []).append((title, value, _typeset(row.note)))
    return groups


def rows_of_losses(evaluations: Sequence[Sequence[Evaluation]]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the title of what is in the unit of each loss, and its mean over the seeds for each loss."""

    def mean(values: Iterable[float | None]) -> str:
        there = [value for value in values if value is not None and math.isfinite(value)]
        return format_number(statistics.fmean(there) if there else None)

    given = [e for of_seeds in evaluations for e in of_seeds]
    metrics = [
        metric
        for metric in METRICS.values()
        if metric.group == LOSS or (metric.group == BOUND and any(getattr(e, metric.name) is not None for e in given))
    ]
    penalties = dict.fromkeys(name for e in given for name in e.penalties)
    columns = [
        [mean(getattr(e, metric.name) for e in of_seeds) for metric in metrics]
        + [mean(e.penalties.get(name) for e in of_seeds) for name in penalties]
        for of_seeds in evaluations
    ]
    titles = [*(metric.heading for metric in metrics), *(f"Penalty of {name}" for name in penalties)]
    # Decimal points below each other, in the column of each loss.
    aligned = (align(column, "\N{FIGURE SPACE}", "\N{PUNCTUATION SPACE}") for column in columns)
    return list(zip(titles, zip(*aligned, strict=True), strict=True))


def format_number(value: float | None) -> str:
    """Format a number with five significant digits."""
    if value is None or not math.isfinite(value):
        return "∞" if value == math.inf else "n/a"
    text = f"{value:,.0f}" if 1e5 <= abs(value) < 1e9 else f"{value:,.5g}"
    return text.replace("-", "−")


def format_percent(skill: float | None) -> str:
    """Format a skill as in print, in the characters of a page."""
    return "n/a" if skill is None or not math.isfinite(skill) else _typeset(percent(skill))


def _typeset(text: str) -> str:
    return re.sub(r"-(?=\d)", "−", text).replace(" %", "\N{NO-BREAK SPACE}%")
