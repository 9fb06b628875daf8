"""Scores of whole data sets, in files: one row per sample, whatever is wrong with some of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfae.datasets import Batch, Part, Source, WindowPart
from tfae.detection import Drift, compare_with_uniform
from tfae.export import SavedAutoencoder
from tfae.progress import count
from tfae.scoring.answers import Answer, ask
from tfae.scoring.score_file import ScoreFile
from tfae.scoring.score_rows import ScoreRows

__all__ = ["ScoreFile", "Summary", "score"]

#: Samples read, scored and written at a time.
CHUNK = 8192
#: Elements of windows that are scored at a time.
_NUM_ELEMENTS = 2**21


class Summary(NamedTuple):
    """What became of the samples of a source.

    Attributes:
        num_samples: How many there are.
        num_defective: How many of them have no score, of those that were asked about now.
        first: Where the first of those is, and why it has none; "" where they come in no order.
        num_alarms: How many raise an alarm, of those that were asked about now; None without a calibration.
        drift: Whether their p-values are uniform, as those of normal samples are; likewise.
    """

    num_samples: int
    num_defective: int
    first: str
    num_alarms: int | None = None
    drift: Drift | None = None


def score(
    model: SavedAutoencoder,
    source: Source,
    file: ScoreFile,
    *,
    keep: Sequence[str] = (),
    explain: int = 0,
    step_reduction: str = "mean",
) -> Summary:
    """Write a row for every sample of a source, in stored order; of time series, a row for every step.

    The columns are ``part``, the data set's own split or "all"; ``index`` in there; ``file``, where there are several;
    those to keep; ``label``, if there are labels; ``instance_score``, null where there is none; of a model with a
    calibration ``p_value`` and ``is_outlier``, of a series those of the window that ends with the step; with
    ``explain`` ``feature_1``, the one that contributes most to the score, ``feature_score_1``, what it contributes, of
    tables with names ``feature_value_1``, what is in its cell, and ``feature_expected_1``, what the model makes of it,
    and so on; and ``reason``, why there is no score.

    Args:
        model: What to score with.
        source: Opened for that model.
        file: Where to write to, entered. What it has already is not scored again.
        keep: Columns of a table that are carried along.
        explain: How many features to name for each sample.
        step_reduction: "mean", "min" or "max": how the scores that a step of a series has in the windows that cover it
            become one. In a window, that is the sum of what its channels contribute.

    Raises:
        ValueError: If no sample can be scored, or there are no such columns or features.
    """
    rows = ScoreRows.of(model, source, explain)
    total, num_asked, num_defective, first, known = 0, 0, 0, "", file.num_rows
    p_values: list[np.ndarray] = []
    num_alarms = 0
    for name, part in source.parts.items():
        part.keep(keep)
        part.is_tolerant = True
        start, what = 0, f"scoring {source.name}, {name}"
        if isinstance(part, WindowPart):
            answers = _ask_of_steps(model, part, what, explain=bool(explain), reduction=step_reduction)
        else:
            answers = _ask_of_samples(model, part, what, known - total, explain=bool(explain))
        for answer in answers:
            size = len(answer.batch.samples)
            if total >= known:
                num_asked += size
                file.write(rows.table(start, name, part, answer))
                if answer.defects and not first:
                    place = min(answer.defects)
                    first = f"sample {start + place} of {name}: {answer.defects[place]}"
                num_defective += len(answer.defects)
                if answer.p_value is not None and answer.is_outlier is not None:
                    p_values.append(answer.p_value)
                    num_alarms += int(np.sum(answer.is_outlier))
            start += size
            total += size
    if num_asked and num_defective == total:
        raise ValueError(f"source: expected samples that the model can score; received none. The first is {first}")
    if not model.detects:
        return Summary(total, num_defective, first)
    # Windows that overlap are no samples of their own.
    apart = np.concatenate([*p_values, np.empty(0)])[:: source.shape[0] if source.is_windowed else 1]
    drift = compare_with_uniform(apart, model.description["calibration"]["num_samples"])
    return Summary(total, num_defective, first, num_alarms, drift)


def _ask_of_samples(model: SavedAutoencoder, part: Part, what: str, known: int, *, explain: bool) -> Iterator[Answer]:
    """Yield what a model says of the samples of a part, but for the first ones that are known already."""
    num_batches = part.num_samples and math.ceil(part.num_samples / CHUNK)
    for batch in count(part.batches(CHUNK), what, num_batches):
        if known > 0:
            known -= len(batch.samples)
            yield Answer(batch, np.empty(0), None, {})
        else:
            yield ask(model, batch, explain=explain)


def _ask_of_steps(
    model: SavedAutoencoder, part: WindowPart, what: str, *, explain: bool, reduction: str
) -> Iterator[Answer]:
    """Yield the rows of a part in stored order, with the scores of their steps.

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
    for batch in part.rows.batches(CHUNK):
        stop = start + len(batch.samples)
        defects = {row - start: found[row] for row in range(start, stop) if row in found}
        alarms = (p_value[start:stop], is_outlier[start:stop]) if model.detects else ()
        yield Answer(batch, scores[start:stop], contributions[start:stop] if explain else None, defects, *alarms)
        start = stop
