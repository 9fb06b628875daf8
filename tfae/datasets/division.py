"""How the samples of a source are divided into the three splits."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfae.datasets import defects
from tfae.datasets.scan import Scan, Spread
from tfae.datasets.series import WindowPart
from tfae.datasets.source import Source
from tfae.datasets.splits import Splits, disjoint, number_distinct, sample_digests, split_indices
from tfae.datasets.stored import take
from tfae.moments import blocks, bounds, moments


def divide_source(
    source: Source,
    *,
    fractions: tuple[float, float, float],
    seed: int,
    in_memory: bool,
    has_moments: bool,
    normal: str | None,
) -> tuple[Splits, Splits | None, Splits, Splits, Spread | None]:
    """Return samples, labels, digests, rows, as name of a part and indices, and, if known, spread of the splits."""
    if source.is_windowed:
        return _split_series(source, fractions, in_memory=in_memory, has_moments=has_moments)
    size = source.read_size
    read: dict[str, _Samples] = {}
    for name, part in source.parts.items():
        if in_memory:
            samples, labels = part.read(size)
            read[name] = _Samples(samples, labels, sample_digests(blocks(samples)), name, part.places(len(samples)))
            continue
        number = part.num_samples or 0
        expected: tuple[np.ndarray, ...] = ()
        if name == "all" and number >= len(fractions):
            expected = split_indices(np.arange(number), fractions, seed=seed)
        found = Scan(expected, has_moments=has_moments)
        read[name] = _Samples(*part.store(size, found), found.digests, name, part.places(found.num_samples))
    anomalies: np.ndarray | None = None
    if normal is not None:
        for name in read.keys() - {"test"}:
            is_normal = are_normal(read[name].labels, normal, source)
            if name == "all":
                anomalies = np.flatnonzero(~is_normal)
                whole = read[name]
            read[name] = read[name].take(np.flatnonzero(is_normal))
    first = read.get("all") or read["train"]
    defects.validate_varies(first.samples, first.digests)
    spread = None
    if "validation" not in read:
        names = Splits._fields if "all" in read else ("train", "validation")
        parts = split_indices(number_distinct(first.digests), fractions[: len(names)], seed=seed)
        spread = found.spread_of(parts) if "all" in read and not in_memory and normal is None else None
        read |= {name: first.take(indices) for name, indices in zip(names, parts, strict=True)}
        if anomalies is not None:  # In the order of the source, like everything else.
            normal_ones = np.searchsorted(whole.rows, read["test"].rows)
            read["test"] = whole.take(np.sort(np.append(normal_ones, anomalies)))
    splits = Splits(*(read[name] for name in Splits._fields))
    if "all" not in read or anomalies is not None:
        kept = disjoint(Splits(*(each.digests for each in splits)))
        left_out = sum(len(each.digests) for each in splits) - sum(map(len, kept))
        if left_out:
            warnings.warn(
                f"left {left_out} samples of {source.name!r} out of its training and validation splits, "
                "because they are in a later split too",
                stacklevel=5,
            )
            splits = Splits(*(each.take(indices) for each, indices in zip(splits, kept, strict=True)))
            if min(map(len, kept)) == 0:
                raise ValueError("source: expected splits that differ; received one whose samples are all in another.")
    raw, held, of, names, rows = (Splits(*each) for each in zip(*splits, strict=True))
    return raw, None if any(each is None for each in held) else held, of, Splits(*zip(names, rows, strict=True)), spread


def are_normal(labels: np.ndarray | None, normal: str, source: Source) -> np.ndarray:
    """Return which samples have the label that ``normal`` names."""
    value = normal.rpartition("=")[2]
    if labels is None:
        raise ValueError(
            f"normal: expected data with labels; received {source.name!r}, which has none. Of a table, say in which "
            'column they are: normal="COLUMN=VALUE".'
        )
    names = source.label_names
    if names and value in names:
        return labels == names.index(value)
    found = labels.astype(str) == value
    with contextlib.suppress(ValueError):
        if labels.dtype.kind in "iufb":
            found |= labels == float(value)
    if not found.any():
        present = ", ".join(map(str, names or np.unique(labels.astype(str))[:5]))
        raise ValueError(f"normal: expected a label, such as {present}; received {value!r}.")
    return found


def _split_series(
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


class _Samples(NamedTuple):
    """Samples in memory or on disk, with their labels if there are any, their digests, and where they come from."""

    samples: Any
    labels: np.ndarray | None
    digests: np.ndarray
    part: str
    rows: np.ndarray

    def take(self, indices: np.ndarray) -> _Samples:
        return _Samples(
            take(self.samples, indices),
            None if self.labels is None else self.labels[indices],
            self.digests[indices],
            self.part,
            self.rows[indices],
        )
