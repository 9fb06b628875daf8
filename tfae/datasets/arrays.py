"""Arrays in memory, and what arrays are by their rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import numpy as np
import tensorflow as tf

from tfae.datasets import defects, pipelines
from tfae.datasets.source import READ_SIZE, Batch, Part, Source, normalize_shape

#: What data can be given as, for error messages.
SOURCES = (
    'a name such as "digits" or "mnist", the path of a file or folder, an array (n, ...), a dict of arrays, '
    "a tf.data pipeline, or a data frame"
)
#: What the splits are called, and how else.
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}


@final
class ArrayPart(Part):
    """Samples of an array, and labels ``(n,)`` or None."""

    def __init__(
        self, samples: np.ndarray, labels: np.ndarray | None = None, *, feature_names: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(
            shape=samples.shape[1:], dtype=samples.dtype, num_samples=len(samples), feature_names=feature_names
        )
        self._samples, self._labels = samples, labels

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield views of the array."""
        for start in range(0, len(self._samples), size):
            stop = start + size
            yield self._samples[start:stop], None if self._labels is None else self._labels[start:stop]

    def read(self, size: int = READ_SIZE) -> Batch:
        """Return the arrays themselves: joining the blocks would copy them."""
        for _ in self.batches(size):
            pass
        return self._samples, self._labels


def from_memory(source: Any) -> Source:
    """Open an array ``(n, *shape)`` or a pipeline, or a dict of such for the splits."""
    _validate_named(source)
    if isinstance(source, Mapping):
        if not {"train", "test"} <= set(source) <= set(SPLIT_NAMES):
            raise ValueError(
                f"source: expected the keys 'train', 'test' and perhaps 'validation'; received {list(source)}. "
                "Give one array to have it split."
            )
        given = {name: source[name] for name in SPLIT_NAMES if name in source}
        where = "array"
    else:
        given, where = {"all": source}, "the array"
    parts: dict[str, Part] = {}
    for name, each in given.items():
        called = where if name == "all" else f"{where} {name!r}"
        if isinstance(each, tf.data.Dataset):
            parts[name] = pipelines.open_part(each, called.replace("array", "pipeline"))
            continue
        array = _array(each, "the array" if name == "all" else name)
        shape = normalize_shape(array.shape, array.dtype, called)
        parts[name] = ArrayPart(array.astype(array.dtype.newbyteorder("="), copy=False).reshape(shape))
    return source_of("array", parts, where)


def _validate_named(source: Any) -> None:
    """Raise ValueError for several arrays without names: splits, pairs and labels can not be told from each other."""
    is_tuple = isinstance(source, tuple)
    if is_tuple or (
        isinstance(source, list) and len(source) in (2, 3) and all(getattr(each, "ndim", 0) > 1 for each in source)
    ):
        raise ValueError(
            f"source: expected names for several arrays; received a {type(source).__name__} of {len(source)}. For "
            'splits give {"train": x_train, "test": x_test}; for pairs, load(clean, inputs=noisy); leave labels out; '
            "and samples in a tuple are np.stack(samples)."
        )


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
        raise ValueError(f"source: expected {SOURCES}; received {type(source).__name__} for {name}.")
    return array
