"""Scores of whole data sets, in files: one row per sample, whatever is wrong with some of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tfae.columns import Column, split_matrix
from tfae.datasets import Part, Source, WindowPart
from tfae.detection import Drift, compare_with_uniform
from tfae.export import SavedAutoencoder
from tfae.progress import count
from tfae.scoring.answers import Answer, ask
from tfae.scoring.score_file import ScoreFile
from tfae.scoring.steps import ask_of_rows

__all__ = ["ScoreFile", "Summary", "score"]

#: Samples read, scored and written at a time.
CHUNK = 8192


class Summary(NamedTuple):
    """What became of the samples of a source.

    Attributes:
        num_samples: How many there are.
        num_defective: How many of them have no score, of those that were asked about now.
        first: Where the first of those is, and why it has none.
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
    names = _feature_names(model, source)
    if explain > len(names):
        raise ValueError(f"explain: expected at most {len(names)}, the number of features; received {explain}.")
    total, num_asked, num_defective, first, known = 0, 0, 0, "", file.num_rows
    p_values: list[np.ndarray] = []
    num_alarms = 0
    for name, part in source.parts.items():
        part.keep(keep)
        part.is_tolerant = True
        start = 0
        for answer in _answers(
            model, part, f"scoring {source.name}, {name}", known - total, bool(explain), step_reduction
        ):
            size = len(answer.batch.samples)
            if total >= known:
                num_asked += size
                file.write(_table(start, name, part, answer, names, explain, model.columns))
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


def _answers(
    model: SavedAutoencoder, part: Part, what: str, known: int, explain: bool, reduction: str
) -> Iterator[Answer]:
    """Yield what a model says of the samples of a part, but for the first ones that are known already."""
    if isinstance(part, WindowPart):
        yield from ask_of_rows(model, part, what, CHUNK, explain=explain, reduction=reduction)
        return
    num_batches = part.num_samples and math.ceil(part.num_samples / CHUNK)
    for batch in count(part.batches(CHUNK), what, num_batches):
        if known > 0:
            known -= len(batch.samples)
            yield Answer(batch, np.empty(0), None, {})
        else:
            yield ask(model, batch, explain=explain)


def _table(
    start: int,
    name: str,
    part: Part,
    answer: Answer,
    names: Sequence[str],
    explain: int,
    columns: Sequence[Column],
) -> pa.Table:
    size = len(answer.instance_score)
    places = {"part": pa.array([name] * size), "index": pa.array(np.arange(start, start + size))}
    if part.sample_names is not None:
        places["file"] = pa.array(part.sample_names[start : start + size])
    beside = dict(answer.batch.kept)
    if answer.batch.labels is not None:
        beside["label"] = pa.array(answer.batch.labels)
    is_scored = ~np.isnan(answer.instance_score)
    found = {"instance_score": pa.array(answer.instance_score, mask=~is_scored)}
    if answer.p_value is not None:
        is_judged = ~np.isnan(answer.p_value)
        found["p_value"] = pa.array(answer.p_value, mask=~is_judged)
        found["is_outlier"] = pa.array(answer.is_outlier, mask=~is_judged)
    if answer.feature_score is not None:
        order = np.argsort(-answer.feature_score, axis=1, kind="stable")[:, :explain]
        called = pa.array(names)
        for place in range(explain):
            chosen = order[:, place]
            found[f"feature_{place + 1}"] = called.take(pa.array(chosen, mask=~is_scored))
            found[f"feature_score_{place + 1}"] = pa.array(
                answer.feature_score[np.arange(size), chosen], mask=~is_scored
            )
            if answer.expected is not None:
                for word, cells in (("value", answer.batch.samples), ("expected", answer.expected)):
                    found[f"feature_{word}_{place + 1}"] = _write_cells(cells, columns, chosen, is_scored)
    reasons = pa.nulls(size, pa.string())
    if answer.defects:
        reasons = pa.array([answer.defects.get(row) for row in range(size)], pa.string())
    found["reason"] = reasons
    if both := beside.keys() & {*places, *found}:
        raise ValueError(
            f"keep: expected columns called otherwise than those that are written; received {both.pop()!r}. Rename it."
        )
    return pa.table({**places, **beside, **found})


def _write_cells(matrix: np.ndarray, columns: Sequence[Column], chosen: np.ndarray, is_written: np.ndarray) -> pa.Array:
    """The text of the cell of a table in the chosen column of each row."""
    texts = np.full(len(chosen), None, object)
    for index, column in enumerate(columns):
        rows = np.flatnonzero((chosen == index) & is_written)
        cells = split_matrix(matrix[rows][:, [index]].astype("float64"), [column])[column.name]
        texts[rows] = cells.astype(str) if column.kind == "category" else np.char.mod("%.6g", cells)
    return pa.array(texts, pa.string())


def _feature_names(model: SavedAutoencoder, source: Source) -> list[str]:
    """Return what the elements of a sample, or of a step, are called: columns by name, others by their place."""
    if model.columns or source.is_windowed:
        return [column.name for column in model.columns] or [
            *(source.feature_names or map(str, range(source.shape[-1])))
        ]
    return [", ".join(map(str, place)) for place in np.ndindex(model.sample_shape)]
