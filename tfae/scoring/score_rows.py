"""The rows of a file of scores, from what a model says of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import pyarrow as pa

from tfae.columns import Column, split_matrix
from tfae.datasets import Part, Source
from tfae.export import SavedAutoencoder
from tfae.scoring.answers import Answer

if TYPE_CHECKING:
    from typing_extensions import Self


@final
@dataclass(frozen=True)
class ScoreRows:
    """What is written of each sample, ``explain`` features by their names among it; `tfae.scoring.score` lists it."""

    names: Sequence[str]
    explain: int
    columns: Sequence[Column]

    @classmethod
    def of(cls, model: SavedAutoencoder, source: Source, explain: int) -> Self:
        """Return those of a model and a source; ValueError if there are fewer features than are to be named."""
        # What the elements of a sample, or of a step, are called: columns by name, others by their place.
        names = [column.name for column in model.columns]
        if not names and source.is_windowed:
            names = [*(source.feature_names or map(str, range(source.shape[-1])))]
        elif not names:
            names = [", ".join(map(str, place)) for place in np.ndindex(model.sample_shape)]
        if explain > len(names):
            raise ValueError(f"explain: expected at most {len(names)}, the number of features; received {explain}.")
        return cls(names, explain, model.columns)

    def table(self, start: int, name: str, part: Part, answer: Answer) -> pa.Table:
        """Return the rows of a batch of a part called ``name``, whose first sample is called ``start`` in there."""
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
            order = np.argsort(-answer.feature_score, axis=1, kind="stable")[:, : self.explain]
            called = pa.array(self.names)
            for place in range(self.explain):
                chosen = order[:, place]
                found[f"feature_{place + 1}"] = called.take(pa.array(chosen, mask=~is_scored))
                found[f"feature_score_{place + 1}"] = pa.array(
                    answer.feature_score[np.arange(size), chosen], mask=~is_scored
                )
                if answer.expected is not None:
                    for word, cells in (("value", answer.batch.samples), ("expected", answer.expected)):
                        found[f"feature_{word}_{place + 1}"] = _write_cells(cells, self.columns, chosen, is_scored)
        reasons = pa.nulls(size, pa.string())
        if answer.defects:
            reasons = pa.array([answer.defects.get(row) for row in range(size)], pa.string())
        found["reason"] = reasons
        if both := beside.keys() & {*places, *found}:
            raise ValueError(
                f"keep: expected columns called otherwise than those that are written; received {both.pop()!r}. "
                "Rename it."
            )
        return pa.table({**places, **beside, **found})


def schema_of(table: pa.Table) -> pa.Schema:
    """Return the types of all rows, which those of the first ones tell."""
    # A column of missing values only has no type yet; text holds whatever comes.
    return pa.schema(
        [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in table.schema]
    )


def _write_cells(matrix: np.ndarray, columns: Sequence[Column], chosen: np.ndarray, is_written: np.ndarray) -> pa.Array:
    """The text of the cell of a table in the chosen column of each row."""
    texts = np.full(len(chosen), None, object)
    for index, column in enumerate(columns):
        rows = np.flatnonzero((chosen == index) & is_written)
        cells = split_matrix(matrix[rows][:, [index]].astype("float64"), [column])[column.name]
        texts[rows] = cells.astype(str) if column.kind == "category" else np.char.mod("%.6g", cells)
    return pa.array(texts, pa.string())
