"""The page of a comparison."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras

from tfae.comparison.result import CLEAN, Comparison, compared_metrics
from tfae.datasets import Data
from tfae.evaluation import Evaluation, scores
from tfae.report import drawing, page
from tfae.report.page import Picture
from tfae.runs.directory import read_json


def write_page(comparison: Comparison, data: Data, path: Path) -> None:
    """Write the report of a comparison: one HTML page that needs no other file.

    Tables are over all seeds, pictures of the first one; ``data`` is what was compared on, without corruption.
    """
    plan = comparison.plan
    comparison.validate_data(data)
    pictures: dict[str, Picture] = {}
    for kind, rows in comparison.blocks.items():
        models = {row.loss: keras.models.load_model(row.runs[0] / "model.keras") for row in rows}
        if not pictures:
            for loss, model in models.items():
                extremes = drawing.draw_extremes(model, data, scores(model, data.test, ignore=("domain", "activation")))
                pictures |= {f"{loss}/{each.name}": each for each in extremes}
        drawn = (
            drawing.draw_side_by_side("side_by_side", models, data),
            drawing.draw_latents(models, data),
            drawing.draw_curves({row.loss: _history(row.runs[0]) for row in rows}),
        )
        pictures |= {f"{kind}/{each.name}": each for each in drawn if each is not None}
    losses = list(plan["losses"])
    page.write(
        path,
        "comparison.html",
        pictures,
        data,
        plan,
        title=f"{len(losses)} {'losses' if len(losses) > 1 else 'loss'} on {data.name}",
        blocks=[_block(kind, comparison) for kind in comparison.blocks],
    )


def _block(kind: str, comparison: Comparison) -> dict[str, Any]:
    rows, table = comparison.blocks[kind], comparison.table(kind)
    evaluations = [[Evaluation.from_dict(read_json(run / "evaluation.json")) for run in row.runs] for row in rows]
    return {
        "kind": kind,
        "trained_on": "clean data" if kind == CLEAN else f"data with {kind}",
        "losses": [row.loss for row in rows],
        "table": table,
        "missing": [metric.heading for metric in compared_metrics() if metric.heading not in table],
        "own": page.rows_of_losses(evaluations),
        "units": [of_seeds[0].loss_unit for of_seeds in evaluations],
        "findings": _findings([row.loss for row in rows], evaluations, is_clean=kind == CLEAN),
    }


def _findings(losses: list[str], evaluations: list[list[Evaluation]], *, is_clean: bool) -> list[tuple[str, str, str]]:
    """Loss, name and message of each finding, that of the first seed that has it, and how many have."""
    found: dict[tuple[str, str], list[str]] = {}
    for loss, of_seeds in zip(losses, evaluations, strict=True):
        for evaluation in of_seeds:
            for finding in evaluation.findings:
                if finding.name == "train_test_gap" and not is_clean:  # Damage that was asked for makes one.
                    continue
                found.setdefault((loss, finding.name), []).append(finding.message)
    num_seeds = len(evaluations[0])
    return [
        (loss, name, f"{messages[0]} ({len(messages)} of {num_seeds} seeds)" if num_seeds > 1 else messages[0])
        for (loss, name), messages in found.items()
    ]


def _history(directory: Path) -> dict[str, list[float]]:
    with (directory / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in ("loss", "val_loss")}
