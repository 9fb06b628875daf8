"""Arrays: in memory, in a .npy file, or in a .npz archive."""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfae.datasets import defects
from tfae.datasets.arguments import SOURCES
from tfae.datasets.source import Batch, Part, Source, kind_of
from tfae.preprocessing import declared_range

# The names under which .npz archives hold one array, or each split with its labels.
_ALL_KEYS = (("x", "y"), ("X", "y"), ("samples", "labels"))
_SPLIT_KEYS = (("x_{}", "y_{}"), ("X_{}", "y_{}"), ("{}", "{}_labels"))
_NPY_MAGIC = b"\x93NUMPY"
_SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}


class ArrayPart(Part):
    """Samples of an array, which may be mapped from a file."""

    def __init__(self, samples: np.ndarray, labels: np.ndarray | None = None) -> None:
        self.num_samples = len(samples)
        self._samples = samples
        self._labels = labels

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield views of the array."""
        for start in range(0, len(self._samples), size):
            stop = start + size
            yield self._samples[start:stop], None if self._labels is None else self._labels[start:stop]

    def read(self) -> Batch:
        """Return the arrays themselves: joining the blocks would copy them."""
        for _ in self.batches(len(self._samples)):
            pass
        return self._samples, self._labels


def from_memory(source: Any) -> Source:
    """Open an array, or a tuple or dict of arrays for the splits.

    Args:
        source: ``(n, *shape)``; or a tuple ``(train, test)`` or ``(train, validation, test)`` of such arrays; or a dict
            with keys "train", "test" and perhaps "validation".
    """
    if isinstance(source, tuple):
        if len(source) not in (2, 3):
            raise ValueError(
                f"source: expected a tuple (train, test) or (train, validation, test); received {len(source)} "
                "elements. Give a tuple of samples as np.stack(samples)."
            )
        names = ("train", "test") if len(source) == 2 else ("train", "validation", "test")
        source = dict(zip(names, source, strict=True))
    if isinstance(source, Mapping):
        if not {"train", "test"} <= set(source) <= set(_SPLIT_NAMES):
            raise ValueError(
                f"source: expected the keys 'train', 'test' and perhaps 'validation'; received {list(source)}. "
                "Give one array to have it split."
            )
        arrays = {name: (_array(source[name], name), None) for name in _SPLIT_NAMES if name in source}
        return _opened("array", arrays, "array")
    return _opened("array", {"all": (_array(source, "the array"), None)}, "the array")


def from_npy(path: Path) -> Source:
    """Open a .npy file; it is mapped, so that only what is read takes memory."""
    with _reading(path, ".npy file"):
        with path.open("rb") as file:
            if file.read(len(_NPY_MAGIC)) != _NPY_MAGIC:
                raise ValueError("it is no .npy file")
        samples = np.load(path, mmap_mode="r", allow_pickle=False)
    return _opened(path.stem, {"all": (samples, None)}, repr(str(path)))


def from_npz(path: Path, *, key: str | None = None) -> Source:
    """Open a .npz archive.

    Args:
        path: Of an archive with one array; or x and y; or X and y; or x_train, y_train, x_test, y_test.
        key: The one array to take, whatever else there is.
    """
    with path.open("rb") as file:  # NumPy leaves a file open that is no archive
        with _reading(path, ".npz archive"):
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no .npz archive, or not complete")
            file.seek(0, os.SEEK_SET)
            archive = np.load(file, allow_pickle=False)
        chosen = _chosen(archive, path, key)
        with _reading(path, ".npz archive"):
            read = {part: (_member(archive, x), _member(archive, y) if y else None) for part, (x, y) in chosen.items()}
    return _opened(path.stem, read, repr(str(path)))


@contextlib.contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = defects.reason(error)
        if "allow_pickle" in reason or "Python objects" in reason:  # NumPy's advice would run what is in the file.
            reason = "it holds Python objects"
        raise ValueError(f"source: expected a {what} of numbers; received {str(path)!r}: {reason}.") from None


def _member(archive: Mapping[str, Any], key: str) -> np.ndarray:
    member = archive[key]
    if not isinstance(member, np.ndarray):  # the bytes of what is no .npy file
        raise ValueError(f"its member {key!r} is no array")
    return member


def _chosen(archive: Mapping[str, np.ndarray], path: Path, key: str | None) -> dict[str, tuple[str, str | None]]:
    """Return for each part the key of its samples, and that of its labels or None."""
    keys = list(archive)
    if key is not None:
        if key not in keys:
            raise ValueError(
                f"key: expected an array of {str(path)!r}; received {key!r}. {defects.close_matches(key, keys)}"
            )
        return {"all": (key, None)}
    if len(keys) == 1:
        return {"all": (keys[0], None)}
    for x, y in _SPLIT_KEYS:
        parts = {
            part: (x.format(name), y.format(name) if y.format(name) in keys else None)
            for part, names in _SPLIT_NAMES.items()
            for name in names
            if x.format(name) in keys
        }
        if {"train", "test"} <= set(parts):
            return parts
    for x, y in _ALL_KEYS:
        if x in keys and y in keys:
            return {"all": (x, y)}
    raise ValueError(
        "source: expected one array, or x and y, or x_train and x_test (with y_train and y_test); "
        f"received {', '.join(map(repr, keys)) or 'no array'} in {str(path)!r}. Name the one to take with key=."
    )


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


def _opened(name: str, arrays: Mapping[str, tuple[np.ndarray, np.ndarray | None]], where: str) -> Source:
    called = {part: where if part == "all" else f"{where} {part!r}" for part in arrays}
    samples = {part: _normalized(x, called[part]) for part, (x, _) in arrays.items()}
    first = next(iter(samples.values()))
    parts: dict[str, Part] = {}
    for part, (_, labels) in arrays.items():
        x = samples[part]
        if x.shape[1:] != first.shape[1:] or x.dtype != first.dtype:
            raise ValueError(
                f"source: expected {called[part]} to be like the other parts, {first.dtype} samples of shape "
                f"{first.shape[1:]}; received {x.dtype} samples of shape {x.shape[1:]}."
            )
        parts[part] = ArrayPart(x, None if labels is None else _matched(labels, x, called[part]))
    kind = kind_of(first.shape[1:])
    return Source(
        name=name,
        kind=kind,
        shape=first.shape[1:],
        dtype=first.dtype.name,
        parts=parts,
        value_range=declared_range(kind, first.dtype),
    )


def _normalized(samples: np.ndarray, called: str) -> np.ndarray:
    """Return the samples in the byte order of the machine, and gray images with their channel axis."""
    defects.refuse_dtype(samples.dtype, name=called)
    defects.refuse_shape(samples.shape, name=called)
    if not samples.dtype.isnative:
        samples = samples.astype(samples.dtype.newbyteorder("="))
    if samples.ndim == 3 and samples.dtype == np.uint8:
        return samples[..., np.newaxis]
    return samples


def _matched(labels: np.ndarray, samples: np.ndarray, called: str) -> np.ndarray:
    """Return the labels ``(n,)``."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != samples.shape[:1]:
        raise ValueError(
            f"source: expected one label for each of the {len(samples)} samples of {called}; "
            f"received labels of shape {labels.shape}."
        )
    return labels
