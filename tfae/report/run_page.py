"""The page of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfae import progress
from tfae.datasets import Data
from tfae.detection import Calibration, Truth
from tfae.evaluation import Evaluation
from tfae.evaluation.loss_metrics import components
from tfae.losses import get_loss
from tfae.report import drawing, metric_tables, page
from tfae.report.picture import Picture


def draw_pictures(
    autoencoder: keras.Model,
    data: Data,
    losses: np.ndarray,
    history: dict[str, list[float]],
    folder: Path,
    calibration: Calibration | None = None,
) -> dict[str, Picture]:
    """Draw the pictures of a run, of its test split, and write them as PNG files that hold their descriptions."""
    progress.log.info("drawing pictures")
    which = f"The first {drawing.number_of(len(drawing.first(data)), 'test sample')}"
    pictures = {}
    for drawn in (
        *drawing.draw_samples(autoencoder, data, drawing.first(data), {"reconstructions": (which, slice(None))}),
        drawing.draw_curves({"": history}),
        drawing.draw_latents({"": autoencoder}, data),
        drawing.draw_histogram(losses, get_loss(autoencoder).unit, data, calibration),
        *drawing.draw_extremes(autoencoder, data, losses),
        drawing.draw_generated(autoencoder, data),
    ):
        if drawn is not None:
            drawn.save(folder)
            pictures[drawn.name] = drawn
    return pictures


def write_run_page(
    path: Path,
    data: Data,
    config: dict[str, Any],
    history: dict[str, list[float]],
    evaluation: Evaluation,
    pictures: dict[str, Picture],
    *,
    calibration: Calibration | None = None,
    truth: Truth | None = None,
) -> None:
    """Write the report of a run, one HTML page that needs no other file."""
    page.write(
        path,
        "run.html",
        pictures,
        data,
        config,
        title=f"{config['model']['name'].replace('_', ' ').capitalize()} on {config['data']['name']}",
        history=history,
        evaluation=evaluation,
        components=components(evaluation),
        groups=metric_tables.group_rows(evaluation),
        calibration=calibration,
        truth=truth,
    )
