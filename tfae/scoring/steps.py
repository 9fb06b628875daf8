"""Scores of the steps of time series, from the windows that cover them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tfae.datasets import Batch, WindowPart
from tfae.export import SavedAutoencoder
from tfae.progress import count
from tfae.scoring.answers import Answer, ask

#: Elements of windows that are scored at a time.
_NUM_ELEMENTS = 2**21


def ask_of_rows(
    model: SavedAutoencoder, part: WindowPart, what: str, size: int, *, explain: bool, reduction: str
) -> Iterator[Answer]:
    """Yield the rows of a part in stored order, ``size`` at a time, with the scores of their steps.

    A step has the "mean", "min" or "max" of its scores in the windows that cover it.
    """
    part.rows.is_tolerant = True
    series = part.read_series(in_memory=True)
    starts = series.starts(part.window, part.stride)
    windows = series.windows(starts, part.window)
    merge = {"mean": np.add, "min": np.fmin, "max": np.fmax}[reduction]
    merged = np.full(len(series.places), 0.0 if reduction == "mean" else np.nan)
    shares, num_windows = np.zeros((len(merged), part.shape[-1])), np.zeros(len(merged))
    refused: list[tuple[int, str]] = []
    # A step raises the alarm of the window that ends with it, which is known as soon as the step is there.
    p_value, is_outlier = np.full(len(merged), np.nan, "float32"), np.zeros(len(merged), bool)
    per_batch = max(1, _NUM_ELEMENTS // math.prod(part.shape))
    for begin in count(range(0, len(starts), per_batch), what, -(-len(starts) // per_batch)):
        of_batch = starts[begin : begin + per_batch]
        answer = ask(model, Batch(windows[begin : begin + per_batch]), explain=True)
        assert answer.feature_score is not None
        is_scored = ~np.isnan(answer.instance_score)
        of_steps = answer.feature_score.reshape(-1, *part.shape)[is_scored].astype("float64")
        rows = of_batch[is_scored, None] + np.arange(part.window)
        merge.at(merged, rows, of_steps.sum(-1))
        np.add.at(shares, rows, of_steps)
        np.add.at(num_windows, rows, 1)
        refused += [(of_batch[place], reason) for place, reason in answer.defects.items()]
        if answer.p_value is not None and answer.is_outlier is not None:
            ends = series.places[of_batch + part.window - 1]
            p_value[ends], is_outlier[ends] = answer.p_value, answer.is_outlier
    is_covered = num_windows > 0
    with np.errstate(invalid="ignore"):
        shares /= num_windows[:, None]
        merged = np.where(is_covered, merged / num_windows if reduction == "mean" else merged, np.nan)
    reasons = {row: reason for start, reason in reversed(refused) for row in range(start, start + part.window)}
    otherwise = f"no window of {part.window} rows, which follow each other without a break, covers it"
    found = {int(series.places[row]): reasons.get(row, otherwise) for row in np.flatnonzero(~is_covered).tolist()}
    found |= series.defects
    scores, contributions = np.empty(len(merged), "float32"), np.empty(shares.shape, "float32")
    scores[series.places], contributions[series.places] = merged, shares
    start = 0
    for batch in part.rows.batches(size):
        stop = start + len(batch.samples)
        defects = {row - start: found[row] for row in range(start, stop) if row in found}
        alarms = (p_value[start:stop], is_outlier[start:stop]) if model.detects else ()
        yield Answer(batch, scores[start:stop], contributions[start:stop] if explain else None, defects, *alarms)
        start = stop
