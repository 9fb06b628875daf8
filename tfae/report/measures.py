"""The numbers of evaluations, as rows of tables."""

from __future__ import annotations

import dataclasses
import math
import re
import statistics
from collections.abc import Iterable, Sequence

from tfae.evaluation import Evaluation, findings

_OWN = {
    "loss": "Loss",
    "floor": "Floor",
    "excess": "Excess",
    "constant_loss": "Constant baseline",
    "linear_loss": "Linear baseline (PCA)",
    "train_loss": "Training split",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table: what was measured, its value or values, and what that is."""

    title: str
    values: tuple[str, ...]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows under a common heading."""

    title: str
    rows: tuple[Row, ...]


def key_figures(e: Evaluation) -> list[tuple[str, str, str]]:
    """Name, number and explanation of what a reader looks for first."""
    unit = f" {e.loss_unit}" if e.loss_unit else ""
    return [
        ("Loss per sample", number(e.loss) + unit, f"{number(e.excess)} above the floor of {number(e.floor)}"),
        ("Skill against the constant", percent(e.constant_skill), "share of its excess that the model takes away"),
        ("Skill against PCA", percent(e.linear_skill), _components(e)),
        ("Training split", number(e.train_loss), "the same loss, on what it was trained on"),
    ]


def of_run(e: Evaluation) -> list[Group]:
    """All measures of an evaluation."""
    unit = f", {e.loss_unit}" if e.loss_unit else ""
    titles = (
        f"Loss per sample, {e.sample_reduction} over the elements{unit}",
        "Yardsticks that all losses share, per element in model space",
        "Code and score",
    )
    rows = []
    for name, value, note in e.rows():
        name = name.strip()
        rows.append(Row(name[0].upper() + name[1:], (number(value),), _typeset(note)))
    groups = zip(titles, (rows[:7], rows[7:13], rows[13:]), strict=True)
    return _aligned([Group(title, tuple(of)) for title, of in groups])


def in_own_losses(evaluations: Sequence[Sequence[Evaluation]]) -> list[Row]:
    """Loss, floor and baselines for each loss, of the evaluations of its seeds: their means."""

    def mean(values: Iterable[float | None]) -> str:
        there = [value for value in values if value is not None and math.isfinite(value)]
        return number(statistics.fmean(there) if there else None)

    return [
        Row(title, tuple(mean(getattr(e, name) for e in of_seeds) for of_seeds in evaluations))
        for name, title in _OWN.items()
    ]


def number(value: float | None) -> str:
    """Five significant digits."""
    if value is None or not math.isfinite(value):
        return "∞" if value == math.inf else "n/a"
    text = f"{value:,.0f}" if 1e5 <= abs(value) < 1e9 else f"{value:,.5g}"
    return text.replace("-", "−")


def percent(skill: float | None) -> str:
    """A skill, as in print, in the characters of a page."""
    return "n/a" if skill is None or not math.isfinite(skill) else _typeset(findings.percent(skill))


def _typeset(text: str) -> str:
    return re.sub(r"-(?=\d)", "−", text).replace(" %", "\N{NO-BREAK SPACE}%")


def _components(e: Evaluation) -> str:
    return "PCA" if e.latent_dim is None else f"PCA with {e.latent_dim:,} components"


def _aligned(groups: list[Group]) -> list[Group]:
    """Decimal points below each other, by spaces as wide as digits."""
    parts = [row.values[0].partition(".") for group in groups for row in group.rows]
    width = max((len(after) for _, point, after in parts), default=0)

    def padded(text: str) -> str:
        before, point, after = text.partition(".")
        space = "\N{FIGURE SPACE}" * (width - len(after))
        return before + (point or "\N{PUNCTUATION SPACE}" * bool(width)) + after + space

    return [
        dataclasses.replace(
            group, rows=tuple(dataclasses.replace(row, values=(padded(row.values[0]),)) for row in group.rows)
        )
        for group in groups
    ]
