"""What a model says of samples, some of which it may refuse."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfae.casting import cast_and_compare
from tfae.datasets import Batch
from tfae.export import SavedAutoencoder
from tfae.export.saved_autoencoder import InvalidSampleError, ask_by_halves


class Answer(NamedTuple):
    """Scores of a batch.

    Attributes:
        batch: As it was read.
        instance_score: float32 ``(batch,)``, NaN where there is none.
        feature_score: float32 ``(batch, num_features)``, likewise; None if it was not asked for.
        defects: Why there is no score, by the place in the batch.
        p_value, is_outlier: float32 and bool ``(batch,)``, likewise; None of a model without a calibration.
        expected: float32 ``(batch, num_columns)``, what the model makes of rows of a table with names; None unless it
            was asked for.
    """

    batch: Batch
    instance_score: np.ndarray
    feature_score: np.ndarray | None
    defects: dict[int, str]
    p_value: np.ndarray | None = None
    is_outlier: np.ndarray | None = None
    expected: np.ndarray | None = None


def ask(model: SavedAutoencoder, batch: Batch, *, explain: bool) -> Answer:
    """Have a model score a batch, but for the samples that can not be read and those that it refuses."""
    samples, defects = batch.samples, dict(batch.defects)
    outputs: dict[str, np.ndarray] = {"instance_score": np.full(len(samples), np.nan, "float32")}
    if model.detects:
        outputs |= {"p_value": outputs["instance_score"].copy(), "is_outlier": np.zeros(len(samples), bool)}
    if explain and model.columns:
        outputs["reconstruction"] = np.full((len(samples), len(model.columns)), np.nan, "float32")
    if explain:
        outputs["feature_score"] = np.full((len(samples), int(np.prod(model.sample_shape))), np.nan, "float32")

    def answer(given: np.ndarray) -> dict[str, np.ndarray]:
        found = model.detect(given) if model.detects else {} if explain else {"instance_score": model.score(given)}
        return found | model.explain(given) if explain else found

    def fill(places: np.ndarray) -> None:
        whole = slice(0, len(places))
        given = samples if len(places) == len(samples) else samples[places]
        for rows, received in ask_by_halves(lambda rows: answer(given[rows]), whole, ValueError):
            if isinstance(received, ValueError):
                reason = received.reason if isinstance(received, InvalidSampleError) else str(received)
                defects[int(places[rows.start])] = reason
                continue
            for name, output in outputs.items():
                output[places[rows]] = received[name].reshape(-1, *output.shape[1:])

    is_asked = np.ones(len(samples), bool)
    is_asked[list(defects)] = False
    # One by one at once what is refused for sure, in place of half after half.
    _, is_changed = cast_and_compare(samples, np.dtype(model.sample_dtype))
    is_refused = is_asked & is_changed.reshape(len(samples), -1).any(axis=1)
    for row in np.flatnonzero(is_refused):
        fill(np.array([row]))
    if (is_asked & ~is_refused).any():
        fill(np.flatnonzero(is_asked & ~is_refused))
    found = (outputs.get(name) for name in ("p_value", "is_outlier", "reconstruction"))
    return Answer(batch, outputs["instance_score"], outputs.get("feature_score"), defects, *found)
