"""Time series: the rows of a table in the order of their time, and where a window may begin."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import tensorflow as tf

from tfae import progress
from tfae.datasets.arrays import ArrayPart
from tfae.datasets.row_file import write_rows
from tfae.datasets.source import READ_SIZE, Batch, Part, Source
from tfae.datasets.stored import StoredSamples
from tfae.datasets.times import to_times
from tfae.datasets.windows import Windows
from tfae.load_options import ReadOptions
from tfae.moments import blocks

#: Steps of time that are the usual one, as shares of it: timestamps jitter.
_LEAST, _MOST = 0.5, 1.5


@final
@dataclass(frozen=True)
class Series:
    """Rows in the order of group and time.

    Attributes:
        rows: ``(n, channels)``, in memory or on disk.
        places: int64 ``(n,)``, where in the part each row stands.
        runs: int64 ``(n,)``, rows of one number follow each other in time without a break; -1: no sample.
        positions: float64 ``(n,)``, what time it is: in seconds, or as a share of the group.
        defects: What is wrong with rows that can not be read, by their place.
        tensor: Has the memory of the rows; None where they are on disk.
    """

    rows: Any
    places: np.ndarray
    runs: np.ndarray
    positions: np.ndarray
    labels: np.ndarray | None
    defects: dict[int, str]
    tensor: tf.Tensor | None

    def split(self, fractions: Sequence[float]) -> np.ndarray:
        """Return the number of the split that each row is in, int64 ``(n,)``: they follow each other in time."""
        order = np.sort(self.positions[self.runs >= 0])
        if not len(order):
            return np.zeros(len(self.positions), np.int64)
        ends = np.rint(np.cumsum(fractions)[:-1] / sum(fractions) * len(order)).astype(int)
        return np.searchsorted(order[np.minimum(ends, len(order) - 1)], self.positions, side="right")

    def starts(self, window: int, stride: int, splits: np.ndarray | int = 0) -> np.ndarray:
        """Return the rows that windows begin with, int64: every ``stride`` of a run in a split, and its last."""
        of = self.runs * (np.max(splits) + 1) + splits
        borders = np.flatnonzero(np.diff(of)) + 1
        found = [np.empty(0, np.int64)]
        for begin, end in itertools.pairwise([0, *borders.tolist(), len(of)]):
            if self.runs[begin] >= 0 and end - begin >= window:
                found += [np.arange(begin, end - window, stride), np.array([end - window])]
        return np.concatenate(found)

    def windows(self, starts: np.ndarray, window: int) -> Windows | StoredSamples:
        """Return the samples that begin with these rows."""
        if isinstance(self.rows, StoredSamples):
            shape = (window, *self.rows.shape[1:])
            return StoredSamples(self.rows.file, shape, self.rows.dtype, starts, window=window)
        return Windows(self.tensor, starts, window)


@final
@dataclass(kw_only=True, eq=False, repr=False)
class WindowPart(Part):
    """Windows of the rows of another part, which carries its columns of time and group along, if there are any."""

    rows: Part
    window: int
    stride: int
    time: str | None
    group: str | None

    @property
    def max_bytes(self) -> int | None:
        """Those of the rows, which the windows share."""
        return self.rows.max_bytes

    @property
    def key_names(self) -> tuple[str, ...]:
        """The columns that tell which row it is."""
        return tuple(name for name in (self.time, self.group) if name is not None)

    def keep(self, names: Sequence[str]) -> None:
        """Have the other part carry columns along."""
        self.rows.keep([*self.key_names, *(name for name in names if name not in self.key_names)])

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield the windows of all rows, in the order of the series."""
        series = self.read_series(in_memory=True)
        starts = series.starts(self.window, self.stride)
        windows, labels = series.windows(starts, self.window), self.window_labels(series, starts)
        yield from ArrayPart(windows, labels).blocks(size)

    def window_labels(self, series: Series, starts: np.ndarray) -> np.ndarray | None:
        """Return the greatest label of the rows of each window; None if there are no labels."""
        if series.labels is None:
            return None
        labels = self.rows.whole_labels(series.labels)
        if labels.dtype.kind not in "biuf":
            raise ValueError(
                f"label: expected numbers beside window, of which a window gets the greatest; received {labels[0]!r}."
            )
        return np.lib.stride_tricks.sliding_window_view(labels, self.window).max(axis=1)[starts]

    def read_series(self, *, in_memory: bool) -> Series:
        """Read all rows, and put them in order."""
        self.keep(self.kept_names)
        wrong: dict[int, str] = {}
        times, groups, labels, is_whole = [], [], [], []
        codes: dict[Any, int] = {}
        num_rows, unit = 0, ""

        def read() -> Iterator[np.ndarray]:
            nonlocal num_rows, unit
            for batch in self.rows.batches(READ_SIZE):
                whole = np.isfinite(batch.samples).all(axis=1)
                found = dict(batch.defects)
                if self.time is not None:
                    seconds, unit, missing = to_times(batch.kept[self.time], self.time)
                    times.append(seconds)
                    found |= missing
                if self.group is not None:
                    encoded = batch.kept[self.group].dictionary_encode()
                    of = [codes.setdefault(each, len(codes)) for each in encoded.dictionary.to_pylist()]
                    groups.append(
                        np.array([*of, -1])[encoded.indices.fill_null(len(of)).to_numpy(zero_copy_only=False)]
                    )
                if batch.labels is not None:
                    labels.append(batch.labels)
                whole[list(found)] = False
                is_whole.append(whole)
                wrong.update({num_rows + row: reason for row, reason in found.items()})
                num_rows += len(whole)
                yield batch.samples

        if in_memory:
            rows: Any = np.concatenate([*read()])
        else:
            file = write_rows(read(), self.rows.shape[0] * self.dtype.itemsize, num_rows=self.rows.num_samples)
            rows = StoredSamples(file, self.rows.shape, self.dtype, np.arange(num_rows))
        if wrong and not self.rows.is_tolerant:
            place = min(wrong)
            raise ValueError(
                "time: expected numbers in every row, or dates and times such as 2026-01-31 12:30:00; received "
                f"{wrong[place]}, {self.rows.name_sample(place)}."
            )
        time = np.concatenate(times) if times else None
        group = np.concatenate(groups) if groups else np.zeros(num_rows, np.int64)
        places = self._order(time, group)
        usable, group = np.concatenate(is_whole)[places], group[places]
        if not np.array_equal(places, np.arange(num_rows)):
            rows = rows[places] if in_memory else _reorder(rows, places)
        tensor = None
        if in_memory:
            with tf.device("CPU"):
                tensor = tf.constant(rows)
            rows = np.asarray(tensor)
        is_break = np.diff(group, prepend=-2) != 0
        if time is None:
            sizes = np.diff(np.append(np.flatnonzero(is_break), num_rows))
            positions = np.concatenate([np.arange(size) / size for size in sizes.tolist()])
        else:
            positions = time[places]
            is_break[1:] |= self._find_breaks(positions, ~is_break[1:], places, unit)
        is_break |= ~usable
        is_break[1:] |= ~usable[:-1]
        runs = np.where(usable, np.cumsum(is_break) - 1, -1)
        ordered = np.concatenate(labels)[places] if labels else None
        return Series(rows, places, runs, positions, ordered, wrong, tensor)

    def _order(self, time: np.ndarray | None, group: np.ndarray) -> np.ndarray:
        """Return the places of the rows in the order of the series: as they stand, unless most times fall."""
        order = np.argsort(group, kind="stable")
        if time is not None:
            steps = np.diff(time[order])[np.diff(group[order]) == 0]
            if 2 * np.count_nonzero(steps > 0) < len(steps):
                progress.log.info("rows are put in the order of %s", self.time)
                return np.lexsort((time, group))
        return order

    def _find_breaks(self, time: np.ndarray, is_step: np.ndarray, places: np.ndarray, unit: str) -> np.ndarray:
        """Return which steps, of those within a group, are not the usual one, bool ``(n - 1,)``, and warn of them."""
        if not is_step.any():
            return is_step
        steps = np.diff(time)
        forward = steps[is_step & (steps > 0)]
        if not len(forward):
            raise ValueError(
                f"time: expected times that rise; received none in {self.time!r}. Where it tells several series apart, "
                "say so with group=."
            )
        usual = float(np.median(forward))
        is_break = is_step & ~((steps > _LEAST * usual) & (steps < _MOST * usual))
        if is_break.any():
            found = Counter(steps[is_break].tolist()).most_common(3)
            first = {step: places[1 + np.flatnonzero(is_break & (steps == step))[0]] for step, _ in found}
            listed = ", ".join(f"{count:,} of {step:g}{unit} (first before row {first[step]})" for step, count in found)
            warnings.warn(
                f"{np.count_nonzero(is_break):,} of {np.count_nonzero(is_step):,} steps of {self.time!r} are not the "
                f"usual {usual:g}{unit}, and no window goes across them: {listed}",
                stacklevel=2,
            )
        return is_break


def cut(source: Source, options: ReadOptions) -> Source:
    """Return a table's windows, as ``options`` say, in place of its rows."""
    if source.kind != "table":
        raise ValueError(
            f"window: expected a table, of rows that follow each other; received samples of shape {source.shape}."
        )
    kinds = {column.name: column.kind for column in source.columns or ()}
    if categories := [name for name, kind in kinds.items() if kind == "category"]:
        raise ValueError(
            f"window: expected columns of numbers; received categories in {', '.join(map(repr, categories))}. Leave "
            "them out, drop=[...]; if one tells several series apart, group= says so."
        )
    assert options.window is not None
    parts = {}
    for name, rows in source.parts.items():
        rows.allows_gaps = options.gaps == "drop"
        parts[name] = WindowPart(
            shape=(options.window, *rows.shape),
            dtype=np.result_type(rows.dtype, np.float64) if rows.allows_gaps else rows.dtype,
            feature_names=rows.feature_names,
            rows=rows,
            window=options.window,
            stride=options.stride or 1,
            time=options.time,
            group=options.group,
        )
    return Source(source.name, parts, value_range=source.value_range)


def _reorder(rows: StoredSamples, places: np.ndarray) -> StoredSamples:
    file = write_rows(blocks(rows.take(places)), rows.nbytes // len(rows), num_rows=len(rows))
    return StoredSamples(file, rows.shape[1:], rows.dtype, np.arange(len(rows)))
