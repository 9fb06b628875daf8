"""Arrays in memory, and what arrays are by their rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import numpy as np

from tfae.datasets import defects, pipelines
from tfae.datasets.scan import Scan
from tfae.datasets.source import READ_SIZE, Batch, Part, Source, normalize_shape
from tfae.datasets.splits import SPLIT_NAMES
from tfae.datasets.stored import StoredSamples
from tfae.load_options import ReadOptions
from tfae.moments import Samples

#: What data can be given as, for error messages.
SOURCES = (
    'a name such as "digits" or "mnist", the path of a file or folder, an array (n, ...), a dict of arrays, '
    "a tf.data pipeline, or a data frame"
)


@final
class ArrayPart(Part):
    """Samples of an array, or of what is indexed like one, and labels ``(n,)`` or None."""

    def __init__(
        self, samples: Samples, labels: np.ndarray | None = None, *, feature_names: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(
            shape=samples.shape[1:], dtype=samples.dtype, num_samples=len(samples), feature_names=feature_names
        )
        self._samples, self._labels = samples, labels

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield slices of the array."""
        for start in range(0, len(self._samples), size):
            stop = start + size
            yield Batch(self._samples[start:stop], None if self._labels is None else self._labels[start:stop])

    def read(self, size: int = READ_SIZE) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the arrays themselves: joining the blocks would copy them."""
        if not isinstance(self._samples, np.ndarray):
            return super().read(size)
        for _ in self.batches(size):
            pass
        return self._samples, self._labels

    def store(self, size: int, scan: Scan) -> tuple[StoredSamples, np.ndarray | None]:
        """Return samples that are in a file where they are, once they are scanned."""
        if not isinstance(self._samples, StoredSamples):
            return super().store(size, scan)
        for batch in self.batches(size):
            scan.add(batch.samples)
        return self._samples, self._labels


def from_memory(source: Any, options: ReadOptions) -> Source:
    """Open an array ``(n, *shape)``, or a dict of such for the splits; or what :func:`name_arrays` made of it."""
    given = source if isinstance(source, NamedArrays) else name_arrays(source)
    where = "the array" if "all" in given else "array"
    parts: dict[str, Part] = {}
    for name, arrays in given.items():
        called = where if name == "all" else f"{where} {name!r}"
        array = _array(arrays["samples"], "the array" if name == "all" else name)
        shape = normalize_shape(array.shape, array.dtype, called)
        labels = None if "labels" not in arrays else match_labels(arrays["labels"], len(array), called)
        parts[name] = ArrayPart(array.astype(array.dtype.newbyteorder("="), copy=False).reshape(shape), labels)
    return source_of("array", parts, where)


class NamedArrays(dict[str, dict[str, Any]]):
    """By name of the part: arrays by what they are, "samples", "labels", "inputs" or "sample_weight"."""

    def beside(self, name: str) -> dict[str, Any] | None:
        """What comes beside the samples, by name of the part; None if nothing does."""
        arrays = {part: each[name] for part, each in self.items() if name in each}
        if arrays and len(arrays) < len(self):
            raise ValueError(f"source: expected {name} in each split; received them in {', '.join(arrays)} only.")
        return arrays or None


def name_arrays(source: Any) -> NamedArrays:
    """Name what memory holds: an array, a pipeline, which is read, or a dict of such for the splits."""
    if isinstance(source, tuple) or (
        isinstance(source, list)
        and len(source) in (2, 3)
        and all(getattr(each, "ndim", 0) > 1 or pipelines.is_pipeline(each) for each in source)
    ):  # Splits, pairs and labels can not be told from each other.
        raise ValueError(
            f"source: expected names for several arrays; received a {type(source).__name__} of {len(source)}. For "
            'splits give {"train": x_train, "test": x_test}; for pairs, load(clean, inputs=noisy), or a pipeline of '
            'dicts {"samples": clean, "inputs": noisy}; leave labels out; and samples in a tuple are np.stack(samples).'
        )
    if not isinstance(source, Mapping):
        return NamedArrays(all=_read(source, "the pipeline"))
    if not {"train", "test"} <= set(source) <= set(SPLIT_NAMES):
        raise ValueError(
            f"source: expected the keys 'train', 'test' and perhaps 'validation'; received {list(source)}. "
            "Give one array to have it split."
        )
    return NamedArrays({name: _read(source[name], f"the pipeline {name!r}") for name in SPLIT_NAMES if name in source})


def _read(each: Any, called: str) -> dict[str, Any]:
    return pipelines.read(each, called) if pipelines.is_pipeline(each) else {"samples": each}


def source_of(name: str, parts: Mapping[str, Part], where: str) -> Source:
    """Return the source of parts of like shape and dtype; ``where`` is what holds them, for errors."""
    first = next(iter(parts.values()))
    for key, part in parts.items():
        if part.shape != first.shape or part.dtype != first.dtype:
            raise ValueError(
                f"source: expected {where} {key!r} to be like the other parts, {first.dtype} samples of shape "
                f"{first.shape}; received {part.dtype} samples of shape {part.shape}."
            )
    return Source(name, parts)


def match_labels(labels: np.ndarray, num_samples: int, called: str) -> np.ndarray:
    """Return the labels ``(n,)``; raise ValueError unless there is one for each sample."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (num_samples,):
        raise ValueError(
            f"source: expected one label for each of the {num_samples} samples of {called}; "
            f"received labels of shape {labels.shape}."
        )
    return labels


def _array(source: Any, name: str) -> np.ndarray:
    if np.ma.is_masked(source):
        raise ValueError(f"source: expected {name} without masked values; received some. Remove or fill them first.")
    try:
        array = np.asarray(source)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists
        raise ValueError(
            f"source: expected {name} to be an array of samples of one shape; received {type(source).__name__}: "
            f"{defects.reason(error)}."
        ) from None
    if array.ndim == 0:  # anything that NumPy knows nothing about
        remedy = " Make an array of it, np.stack(list(samples))." if hasattr(source, "__iter__") else ""
        raise ValueError(f"source: expected {SOURCES}; received {type(source).__name__} for {name}.{remedy}")
    return array
