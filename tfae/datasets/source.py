"""What every kind of data becomes before it is split: named parts that are read in stored order."""

from __future__ import annotations

import abc
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, final

import numpy as np

from tfae.columns import Column
from tfae.datasets import defects
from tfae.datasets.file_rows import FileRows
from tfae.datasets.row_file import write_rows
from tfae.datasets.scan import Scan
from tfae.datasets.stored import StoredSamples
from tfae.preprocessing import declared_range

# Samples per block when a whole part is read, and bytes at most. Large enough that Python costs little.
READ_SIZE = 4096
_READ_BYTES = 2**23


class Batch(NamedTuple):
    """Samples that are read together.

    Attributes:
        samples: Raw ones ``(batch, *shape)``, in their own dtype.
        labels: ``(batch,)``, or None where there are none. Where some are missing, they are None among objects.
        kept: Columns of the table that are carried along, ``(batch,)`` each, by name.
        defects: Why a sample can not be read, by its place in the batch; what stands there for it means nothing.
    """

    samples: np.ndarray
    labels: np.ndarray | None = None
    kept: Mapping[str, Any] = MappingProxyType({})
    defects: Mapping[int, str] = MappingProxyType({})


@dataclass(kw_only=True, eq=False, repr=False)
class Part(abc.ABC):
    """Samples that belong together, in stored order, read in constant memory where the format allows.

    Attributes:
        shape, dtype: Of one sample.
        num_samples, max_samples: How many there are; or, where only reading tells, how many there can be at most.
        sample_names: The file of each sample for a folder of images or a table in several files, else None.
        feature_names: The names of a table's columns, used to name the one with a defect, else None.
        label_names: What labels that are numbers from 0 on stand for, where that is known, else None.
        allows_gaps: Whether NaN in a table is a missing value, and no defect.
        is_tolerant: Whether a row of a table that can not be read is a defect of its own, and no error.
        kept_names: Columns of a table that are carried along.
        may_be_empty: Whether it is no error that there is no sample, as of one piece of several.
        window: How many rows of a table a sample is; None where it is no series.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    num_samples: int | None = None
    max_samples: int | None = None
    sample_names: tuple[str, ...] | FileRows | None = None
    feature_names: tuple[str, ...] | None = None
    label_names: tuple[str, ...] | None = None
    allows_gaps: bool = False
    is_tolerant: bool = False
    kept_names: tuple[str, ...] = ()
    may_be_empty: bool = False
    window: int | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the columns of a table hold, and the categories that have been read so far."""
        names = self.feature_names or tuple(f"column_{index}" for index in range(self.shape[0]))
        return tuple(map(Column, names))

    @property
    def max_bytes(self) -> int | None:
        """How many bytes all samples take at most, or None where only reading tells."""
        number = self.num_samples or self.max_samples
        return None if number is None else number * math.prod(self.shape) * self.dtype.itemsize

    def use_vocabularies(self, columns: Sequence[Column]) -> None:  # noqa: B027 (only text has categories)
        """Give categories the codes that they have in other data with these columns, in the same order."""

    def keep(self, names: Sequence[str]) -> None:
        """Carry columns of a table along, beside the samples; ValueError if there are no such columns."""
        if names:
            raise ValueError(f"keep: expected no columns of what is no table with names; received {', '.join(names)}.")

    @abc.abstractmethod
    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield batches of at most ``size`` samples, unchecked."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield the samples in stored order, ``batch_size`` at a time; only the last batch can be smaller.

        Raises:
            ValueError: A sample holds NaN or an infinite value, which is a defect of its own in a part that is
                tolerant; or an integer beyond 63 bits; or there is no sample, or another number than was announced.
        """
        first = 0
        missing = defects.MissingValues(
            feature_names=self.feature_names,
            name_sample=lambda index: self.name_sample(int(self.places(index + 1)[index])),
        )
        for batch in self.blocks(batch_size):
            samples = batch.samples
            takes_gaps = self.allows_gaps and samples.dtype.kind == "f"
            if self.is_tolerant:
                found = defects.find(samples, self.feature_names, allows_gaps=self.allows_gaps)
                batch = batch._replace(defects={**found, **batch.defects})
            else:
                missing.add(np.where(np.isnan(samples), 0, samples) if takes_gaps else samples)
            first += len(samples)
            if missing:
                continue  # To the end, to count them.
            defects.validate_servable(samples)
            if self.num_samples is not None and first > self.num_samples:
                break
            yield batch
        missing.validate()
        if first == 0 and not self.may_be_empty:
            raise ValueError("source: expected at least one sample; received none. Is the file complete?")
        if self.num_samples not in (None, first):
            received = "more" if first > (self.num_samples or 0) else str(first)
            raise ValueError(
                f"source: expected {self.num_samples} samples, as many as are announced; received {received}. Is the "
                "file complete?"
            )

    def read(self, size: int = READ_SIZE) -> tuple[np.ndarray, np.ndarray | None]:
        """Return all samples and all labels (or None), as ``batches`` of this size give them."""
        samples, labels, *_ = zip(*self.batches(size), strict=True)
        return _join(samples), None if labels[0] is None else self.whole_labels(_join(labels))

    def store(self, size: int, scan: Scan) -> tuple[StoredSamples, np.ndarray | None]:
        """Write all samples to a temporary file, have them scanned, and return them with their labels."""
        labels: list[np.ndarray] = []

        def blocks() -> Iterator[np.ndarray]:
            for batch in self.batches(size):
                if batch.labels is not None:
                    labels.append(batch.labels)
                scan.add(batch.samples)
                yield batch.samples

        file = write_rows(blocks(), math.prod(self.shape) * self.dtype.itemsize, num_rows=self.num_samples)
        stored = StoredSamples(file, self.shape, self.dtype, np.arange(scan.num_samples))
        return stored, self.whole_labels(_join(labels)) if labels else None

    def places(self, num_samples: int) -> np.ndarray:
        """Return where in the source the samples are that were read last, int64 ``(num_samples,)``."""
        return np.arange(num_samples)

    def name_sample(self, place: int) -> int | str:
        """Return what an error calls the sample at a place of the source: its number, or the file and where in it."""
        return place

    def whole_labels(self, labels: np.ndarray) -> np.ndarray:
        """Return all labels, which ``batches`` gave bit by bit, in the dtype that only all of them tell."""
        return labels


@final
class Source:
    """Data that is opened, and neither split nor scaled.

    Args:
        name: The name of the data set, or of the file or folder without its suffix.
        parts: "all", or the splits that the data set itself has: "train", "test", sometimes "validation"; their samples
            are of one shape and dtype.
        value_range: ``(low, high)`` the raw values can take; None where at most kind and dtype say it.

    Attributes:
        kind: What samples of this shape are: ``(h, w, c)`` an "image", ``(time, channels)`` a "sequence",
            ``(columns,)`` a "table", all else "other".
        shape: Of one sample.
        dtype: Of the raw samples, a NumPy dtype name.
        feature_names: The names of a table's columns, or None where it has none.
        label_names: What labels that are numbers from 0 on stand for; None where that is not known.
        allows_gaps: Whether NaN in a table is a missing value, and no defect.
        is_windowed: Whether samples are windows of rows that follow each other in time.
        value_range: As given, or what kind and dtype say; ``name`` and ``parts`` are as given.
    """

    def __init__(self, name: str, parts: Mapping[str, Part], *, value_range: tuple[float, float] | None = None) -> None:
        first = next(iter(parts.values()))
        self.name, self.parts = name, parts
        self.shape, self.dtype, self.feature_names = first.shape, first.dtype.name, first.feature_names
        self.label_names, self.allows_gaps = first.label_names, first.allows_gaps
        self.is_windowed = first.window is not None
        self.kind = {1: "table", 2: "sequence", 3: "image"}.get(len(first.shape), "other")
        self.value_range = value_range or declared_range(self.kind, first.dtype)

    @property
    def columns(self) -> tuple[Column, ...] | None:
        """What the columns of a table hold, with the categories that have been read so far; None for all else."""
        return next(iter(self.parts.values())).columns if self.kind == "table" else None

    @property
    def read_size(self) -> int:
        """How many samples to read at once."""
        return max(1, min(READ_SIZE, _READ_BYTES // (math.prod(self.shape) * np.dtype(self.dtype).itemsize)))

    @property
    def max_bytes(self) -> int | None:
        """How many bytes all raw samples take at most, or None where only reading tells."""
        found = [part.max_bytes for part in self.parts.values()]
        return None if None in found else sum(filter(None, found))


def normalize_shape(shape: tuple[int, ...], dtype: np.dtype, called: str) -> tuple[int, ...]:
    """Return the shape of an array of samples, that of gray images with their channel axis; raise if it holds none."""
    defects.validate_dtype(dtype, name=called)
    if len(shape) < 2:
        raise ValueError(
            f"source: expected {called} to have a sample axis and at least one more; received shape {tuple(shape)}. "
            "Give a single column as array.reshape(-1, 1)."
        )
    if 0 in shape:
        raise ValueError(f"source: expected {called} to hold at least one value; received shape {tuple(shape)}.")
    if len(shape) == 4 and dtype == np.uint8 and shape[1] in (1, 3, 4) and shape[3] not in (1, 3, 4):
        warnings.warn(
            f"{called} of shape {tuple(shape)} is taken for images (n, height, width, channels) of height {shape[1]}; "
            "if its channels come first, give np.moveaxis(x, 1, -1)",
            stacklevel=4,
        )
    return (*shape, 1) if len(shape) == 3 and dtype == np.uint8 else tuple(shape)


def _join(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
