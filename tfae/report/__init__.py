"""One self-contained HTML page of a run, and what that of a comparison is made of.

    draw_pictures    of a run, as PNG files with descriptions
    write_run_page   metrics, findings, advice, and these pictures

A page opens from disk: pictures are inside of it, and it loads nothing. It has no script, follows the light or dark
mode of the system, and prints.
"""

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
from tfae.report import drawing, page
from tfae.report.drawing import NUM_PICTURED
from tfae.report.page import Picture

__all__ = ["NUM_PICTURED", "draw_pictures", "write_run_page"]


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
        groups=page.group_rows(evaluation),
        calibration=calibration,
        truth=truth,
    )
