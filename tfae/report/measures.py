"""The numbers of evaluations, as rows of tables."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence

from tfae.evaluation import Evaluation, findings

#: What measures are called in the tables of comparisons, by their names.
TITLES = {
    "mse": "MSE",
    "mae": "MAE",
    "crossentropy": "Cross-entropy, nats",
    "bits": "Cross-entropy, bits",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "sharpness": "Sharpness",
    "constant_skill": "Skill against the constant",
    "linear_skill": "Skill against PCA",
    "num_active_units": "Active units",
    "effective_dimension": "Effective dimension",
    "linear_probe": "Linear probe, accuracy",
    "neighbor_accuracy": "Nearest neighbours, accuracy",
}

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

    def row(title: str, name: str, note: str = "") -> Row:
        value = getattr(e, name)
        return Row(title, (number(value),), note if number(value) != "n/a" else e.reasons.get(name, ""))

    def baseline(title: str, name: str, what: str) -> Row:
        skill = getattr(e, f"{name}_skill")
        reason = e.reasons.get(f"{name}_skill", "")
        said = f"skill {percent(skill)}" if skill is not None else f"skill n/a{f': {reason}' if reason else ''}"
        return row(title, f"{name}_loss", f"{said}; {what}")

    of = {"sum": "sum", "mean": "mean"}[e.sample_reduction]
    bits = "" if e.bits is None else f"nats per element; {number(e.bits)} bits"
    if bits and e.crossentropy_margin:
        bits += f"; of reconstructions kept {e.crossentropy_margin:.2g} from 0 and 1"
    exact = f"; {e.num_exact:,} exact reconstructions left out" if e.num_exact else ""
    loss = (
        row("Loss", "loss", "mean over the test samples"),
        row("Floor", "floor", "the least that any reconstruction can reach"),
        row("Excess", "excess", "loss − floor"),
        baseline("Constant baseline", "constant", "the training split's best constant"),
        baseline("Linear baseline", "linear", _components(e)),
        row("Training split", "train_loss", "the model's loss there"),
        row("Loss per element", "loss_per_element"),
    )
    yardsticks = (
        row("MSE", "mse", "mean squared error"),
        row("MAE", "mae", "mean absolute error"),
        row("Cross-entropy", "crossentropy", bits),
        row("PSNR", "psnr", f"dB, with a data range of {e.data_range:.4g}{exact}"),
        row("SSIM", "ssim", "structural similarity, at most 1"),
        row("Sharpness", "sharpness", "energy in the upper half of the frequencies; 1 is as sharp as the data"),
    )
    code = (
        row("Active units", "num_active_units", "" if e.latent_dim is None else f"of {e.latent_dim:,}"),
        row("Effective dimension", "effective_dimension", "participation ratio of the code's covariance"),
        row("Triviality", "triviality", "rank correlation of the loss with the distance from the training mean"),
        row(
            "Triviality of the constant",
            "constant_triviality",
            "rank correlation with the loss of the constant baseline",
        ),
    )
    unit = f", {e.loss_unit}" if e.loss_unit else ""
    return _aligned(
        [
            Group(f"Loss per sample, {of} over the elements{unit}", loss),
            Group("Yardsticks that all losses share, per element in model space", yardsticks),
            Group("Code and score", code),
        ]
    )


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
    if skill is None or not math.isfinite(skill):
        return "n/a"
    return findings.percent(skill).replace("-", "−").replace(" ", "\N{NO-BREAK SPACE}")


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
