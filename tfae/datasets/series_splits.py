"""Splits of time series: they follow each other in time, and share no row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfae.datasets import defects
from tfae.datasets.scan import Spread
from tfae.datasets.series import WindowPart
from tfae.datasets.source import Source
from tfae.datasets.splits import Splits, sample_digests
from tfae.datasets.stored import take
from tfae.moments import blocks, bounds, moments


def split_series(
    source: Source, fractions: Sequence[float], *, in_memory: bool, has_moments: bool
) -> tuple[Splits, Splits | None, Splits, Splits, Spread]:
    """Return samples, labels, digests, first rows and spread, that of the rows, of splits that follow each other."""
    held: dict[str, tuple[Any, ...]] = {}
    for name, part in source.parts.items():
        assert isinstance(part, WindowPart)
        series = part.read_series(in_memory=in_memory)
        digests = sample_digests(blocks(series.rows))
        if name in ("all", "train"):
            defects.validate_varies(series.rows, digests)
        names = {"all": Splits._fields, "train": ("train", "validation")[: 1 + ("validation" not in source.parts)]}.get(
            name, (name,)
        )
        splits = series.split(fractions[: len(names)])
        starts = series.starts(part.window, part.stride, splits)
        for number, split in enumerate(names):
            of_split = starts[splits[starts] == number]
            if not len(of_split):
                runs = series.runs[(series.runs >= 0) & (splits == number)]
                longest = np.unique(runs, return_counts=True)[1].max(initial=0)
                raise ValueError(
                    f"window: expected at least one window in each split; received none of {part.window} rows in "
                    f"{split}, where at most {longest} follow each other without a break. Give a smaller window, or "
                    "other splits."
                )
            rows = np.flatnonzero((splits == number) & (series.runs >= 0))
            of_rows = take(series.rows, rows)
            held[split] = (
                series.windows(of_split, part.window),
                part.window_labels(series, of_split),
                np.concatenate([digests[rows].ravel(), of_split.astype(np.uint64)]),
                (name, series.places[of_split]),
                np.broadcast_to(bounds(of_rows)[:, None], (2, *part.shape)),
                moments(of_rows) if has_moments and split == "train" else None,
            )
    ordered = [held[name] for name in Splits._fields]
    raw, labels, of, places, ends, spreads = (Splits(*each) for each in zip(*ordered, strict=True))
    return raw, None if any(each is None for each in labels) else labels, of, places, (ends, spreads.train)
