"""The page of a comparison."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import keras

from tfae.comparison.result import CLEAN, Comparison, Row, compared_metrics
from tfae.datasets import Data
from tfae.evaluation import Evaluation, scores
from tfae.report import drawing, metric_tables, page


def write_page(comparison: Comparison, data: Data, path: Path) -> None:
    """Write the report of a comparison: one HTML page that needs no other file.

    Tables are over all seeds. Pictures are of the first one: the same test samples under each loss, curves, spectra and
    latents for each kind of training data; the worst and the best reconstructions after training on clean data.

    Args:
        comparison: What :func:`tfae.comparison.compare` returned, or ``load_comparison``.
        data: What it was made on, as it is without corruption.
        path: The file.

    Raises:
        ValueError: If ``data`` is not what was compared on.
    """
    plan = comparison.plan
    comparison.validate_data(data)
    sections = [_section(kind, rows, data, plan["seeds"][0]) for kind, rows in comparison.blocks.items()]
    extremes = _extremes(*next(iter(comparison.blocks.items())), data)
    if extremes.pictures:
        sections.append(extremes)
    losses = list(plan["losses"])
    facts = {
        "Losses": ", ".join(
            f"{name} ({config['class_name']}, {config['sample_reduction']} over the elements)"
            for name, config in plan["losses"].items()
        ),
        "Training": f"{plan['epochs']} epochs each, with a learning rate of {plan['learning_rate']:g}; the weights of "
        "the epoch of least validation loss",
        "Seeds": f"{', '.join(map(str, plan['seeds']))}; of each, the same initial weights under every loss",
    }
    page.write(
        path,
        "comparison.html",
        sections,
        data,
        plan,
        facts,
        title=f"{len(losses)} {'losses' if len(losses) > 1 else 'loss'} on {data.name}",
        losses=losses,
        blocks=[_block(kind, comparison) for kind in comparison.blocks],
    )


def _block(kind: str, comparison: Comparison) -> dict[str, Any]:
    """The tables and the findings of one kind of training data."""
    rows, table = comparison.blocks[kind], comparison.table(kind)
    evaluations = [[_evaluation(directory) for directory in row.runs] for row in rows]
    return {
        "trained_on": _phrase(kind),
        "losses": [row.loss for row in rows],
        "table": table,
        "missing": [metric.heading for metric in compared_metrics() if metric.heading not in table],
        "own": metric_tables.rows_of_losses(evaluations),
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


def _section(kind: str, rows: list[Row], data: Data, seed: int) -> page.Section:
    """The pictures of one kind of training data."""
    models = _load_models(rows)
    side_by_side = drawing.draw_side_by_side("side_by_side", models, data)
    spectra = drawing.draw_spectra(models, data)
    curves = drawing.draw_curves({row.loss: _history(row.runs[0]) for row in rows})
    captions = {
        "The first samples of the test split, and what the model of each loss makes of them.": side_by_side,
        "Power by spatial frequency, averaged over directions and up to 512 test images.": spectra,
        "The latents of the test samples in a plane, for each loss.": drawing.draw_latents(models, data),
        "Training and validation loss by epoch, each in the unit of its own loss.": curves,
    }
    pictures = [(picture, caption) for caption, picture in captions.items() if picture is not None]
    text = f"All of them are of the test split, which is clean, and of seed {seed}."
    return page.Section(f"Pictures: trained on {_phrase(kind)}", text, pictures)


def _extremes(kind: str, rows: list[Row], data: Data) -> page.Section:
    """The worst and the best reconstructions under each loss."""
    pictures = []
    for loss, model in _load_models(rows).items():
        losses = scores(model, data.test, ignore=("domain", "activation"))  # The evaluation has checked these.
        drawn = drawing.draw_extremes(model, data, losses)
        for each, how in zip(drawn, ("highest", "lowest"), strict=False):  # There are none of a single sample.
            pictures.append((each, f"Under {loss.replace('_', ' ')}: the test samples of the {how} loss."))
    return page.Section(
        "Worst and best reconstructions",
        f"After training on {_phrase(kind)}. What is worst under one loss and not under another tells what each "
        "attends to.",
        pictures,
    )


def _phrase(kind: str) -> str:
    return "clean data" if "=" not in kind else f"data with {kind}"


def _load_models(rows: list[Row]) -> dict[str, keras.Model]:
    """By loss, the model of the first seed."""
    return {row.loss: keras.models.load_model(row.runs[0] / "model.keras") for row in rows}


def _evaluation(directory: Path) -> Evaluation:
    return Evaluation.from_dict(json.loads((directory / "evaluation.json").read_text(encoding="utf-8")))


def _history(directory: Path) -> dict[str, list[float]]:
    with (directory / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in ("loss", "val_loss")}
