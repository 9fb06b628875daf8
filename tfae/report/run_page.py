"""The page of a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfae import progress
from tfae.datasets import Data
from tfae.evaluation import Evaluation
from tfae.losses import get_loss
from tfae.report import drawing, metric_tables, page, picture

#: Of every section, its heading, what to look for, and the caption of each of its pictures.
_SECTIONS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "Training",
        "A validation loss that rises while the training loss falls has learned the training split by heart.",
        {"training_curves": "Training and validation loss by epoch. The weights of the marked epoch are the model's."},
    ),
    (
        "Reconstructions",
        "The first samples of the test split, as they come.",
        {"reconstructions": "Originals, reconstructions and where they differ; above each, its loss."},
    ),
    (
        "Spectrum",
        "Blur is what the reconstructions lack at high spatial frequencies, noise what they have too much there.",
        {"spectra": "Power by spatial frequency, averaged over directions and over up to 512 test images."},
    ),
    (
        "Distribution of the losses",
        "A long tail to the right is of samples unlike those that the model was trained on.",
        {"score_histogram": "The losses of the test samples."},
    ),
    (
        "Latents",
        "What lies close together is alike to the model.",
        {"latents": "The latents of the test samples in a plane. Labels, if there are any, took no part in training."},
    ),
    (
        "Worst and best reconstructions",
        "What the worst have in common is what the model did not learn, or what is wrong with the data.",
        {
            "worst": "The test samples of the highest loss, the worst first, by their index in the test split.",
            "best": "The test samples of the lowest loss, the best first, on the scales of the worst.",
        },
    ),
)


def draw_pictures(
    autoencoder: keras.Model, data: Data, losses: np.ndarray, history: dict[str, list[float]], folder: Path
) -> None:
    """Write the pictures of a run as PNG files, each with its description in its metadata.

    They are of the test split: reconstructions, the worst and the best of them, spectra of images, latents and the
    distribution of ``losses``, those of the test samples; and the training curves.
    """
    progress.log.info("drawing pictures")
    which = f"The first {drawing.number_of(len(drawing.first(data)), 'test sample')}"
    for drawn in (
        drawing.draw_samples("reconstructions", which, autoencoder, data, drawing.first(data)),
        drawing.draw_curves({"": history}),
        drawing.draw_latents({"": autoencoder}, data),
        drawing.draw_histogram(losses, get_loss(autoencoder).unit),
        drawing.draw_spectra({"reconstruction": autoencoder}, data),
        *drawing.draw_extremes(autoencoder, data, losses),
    ):
        if drawn is not None:
            drawn.save(folder)


def write_run_page(
    path: Path,
    data: Data,
    config: dict[str, Any],
    history: dict[str, list[float]],
    evaluation: Evaluation,
    pictures: Path,
) -> None:
    """Write the report of a run: one HTML page that needs no other file.

    Advice that was noted in ``config`` is shown as it is; what the folder of :func:`draw_pictures` lacks is left out.
    """
    described, model, loss = config["data"], config["model"], config["loss"]
    best = int(np.argmin(history["val_loss"]))
    sections = []
    for title, text, captions in _SECTIONS:
        found = [
            (picture.read(pictures / f"{name}.png"), caption)
            for name, caption in captions.items()
            if (pictures / f"{name}.png").exists()
        ]
        if found:
            sections.append(page.Section(title, text, found))
    facts = {
        "Loss": f"{loss['class_name']}, {loss['sample_reduction']} over the elements of a sample",
        "Training": f"{config['optimizer']['class_name']}, {len(history['loss'])} of at most {config['epochs']} "
        f"epochs; the best is epoch {best + 1}, with a validation loss of {history['val_loss'][best]:.5g}",
        "Seed": str(described["seed"]),
    }
    page.write(
        path,
        "run.html",
        sections,
        data,
        config,
        facts,
        title=f"{model['name'].replace('_', ' ').capitalize()} on {described['name']}",
        evaluation=evaluation,
        key_figures=metric_tables.key_figures(evaluation),
        groups=metric_tables.group_rows(evaluation),
    )
