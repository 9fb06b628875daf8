"""Arrays in .npy files and .npz archives, which are read block by block."""

from __future__ import annotations

import contextlib
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, final

import numpy as np

from tfae.datasets import defects
from tfae.datasets.arrays import ArrayPart, match_labels, source_of
from tfae.datasets.row_file import RowFile
from tfae.datasets.source import Batch, Part, Source, normalize_shape
from tfae.datasets.splits import SPLIT_NAMES
from tfae.datasets.stored import StoredSamples
from tfae.load_options import ReadOptions
from tfae.moments import Samples

# The names under which .npz archives hold one array, or each split with its labels.
_ALL_KEYS = (("x", "y"), ("X", "y"), ("samples", "labels"))
_SPLIT_KEYS = (("x_{}", "y_{}"), ("X_{}", "y_{}"), ("{}", "{}_labels"))


@final
@dataclass(frozen=True)
class ConvertedSamples:
    """Samples ``(n, *shape)`` of a .npy file in column-major order, or in the byte order of another machine."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: slice) -> np.ndarray:
        with _reading(self.path, ".npy file"):
            # Mapped anew each time, because pages that were read stay in memory as long as the map.
            mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
            return np.array(mapped[key], self.dtype, order="C").reshape(-1, *self.shape[1:])


@final
@dataclass(kw_only=True, eq=False, repr=False)
class MemberPart(Part):
    """Samples of an array in an archive, decompressed as they are read; ``stored_dtype`` has its byte order."""

    path: Path
    key: str
    num_samples: int
    stored_dtype: np.dtype
    labels: np.ndarray | None

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield what is decompressed next."""
        row_bytes = math.prod(self.shape) * self.dtype.itemsize
        with (
            _reading(self.path, ".npz archive"),
            zipfile.ZipFile(self.path) as archive,
            _member(archive, self.key) as member,
        ):
            _header(member, self.key)
            for start in range(0, self.num_samples, size):
                count = min(size, self.num_samples - start)
                content = member.read(count * row_bytes)
                if len(content) < count * row_bytes:
                    raise ValueError(f"its member {self.key!r} is not complete")
                samples = np.frombuffer(content, self.stored_dtype).reshape(count, *self.shape)
                labels = None if self.labels is None else self.labels[start : start + count]
                yield Batch(samples.astype(self.dtype, copy=False), labels)
            member.read()  # to the end, where a checksum is compared


def from_npy(path: Path, options: ReadOptions) -> Source:
    """Open a .npy file, of which only what is asked for is read."""
    with _reading(path, ".npy file"), path.open("rb") as file:
        shape, is_fortran, dtype = _header(file, None)
        offset = file.tell()
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if file.seek(0, os.SEEK_END) < offset + math.prod(shape) * dtype.itemsize:
            raise ValueError("it is not complete")
    shape = normalize_shape(shape, dtype, repr(str(path)))
    if is_fortran or not dtype.isnative:
        samples: Samples = ConvertedSamples(path, shape, dtype.newbyteorder("="))
    else:  # The bytes are those of the array in memory: streamed, they are read where they lie.
        row_bytes = math.prod(shape[1:]) * dtype.itemsize
        rows = RowFile(path.open("rb"), offset=offset, row_bytes=row_bytes, path=path)
        samples = StoredSamples(rows, shape[1:], dtype, np.arange(shape[0]))
    return Source(path.stem, {"all": ArrayPart(samples)})


def from_npz(path: Path, options: ReadOptions) -> Source:
    """Open a .npz archive: the array ``key``, or its only one, or x and y (or X), also as x_train, x_test and so on."""
    where = repr(str(path))
    with _reading(path, ".npz archive"):
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no .npz archive, or not complete")
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    parts: dict[str, Part] = {}
    for name, (x, y) in _choose_keys(names, path, options.key).items():
        with _reading(path, ".npz archive"), zipfile.ZipFile(path) as archive:
            labels = None if y is None else _whole(archive, y)
            with _member(archive, x) as member:
                shape, is_fortran, dtype = _header(member, x)
            if dtype.hasobject:
                raise ValueError("it holds Python objects")
            # The samples of an array in column-major order are all over it: there is no reading them one by one.
            whole = _whole(archive, x) if is_fortran else None
        called = where if name == "all" else f"{where} {name!r}"
        shape = normalize_shape(shape, dtype, called)
        labels = None if labels is None else match_labels(labels, shape[0], called)
        native = dtype.newbyteorder("=")
        if whole is not None:
            parts[name] = ArrayPart(np.ascontiguousarray(whole.reshape(shape), native), labels)
            continue
        parts[name] = MemberPart(
            shape=shape[1:], dtype=native, num_samples=shape[0], path=path, key=x, stored_dtype=dtype, labels=labels
        )
    return source_of(path.stem, parts, where)


@contextlib.contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = defects.reason(error)
        raise ValueError(f"source: expected a {what} of numbers; received {str(path)!r}: {reason}.") from None


def _member(archive: zipfile.ZipFile, key: str) -> IO[bytes]:
    return archive.open(f"{key}.npy" if f"{key}.npy" in archive.namelist() else key)


def _header(file: IO[bytes], key: str | None) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read up to the first byte of an array; return its shape, whether it is column-major, and its dtype."""
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise ValueError("it is no .npy file" if key is None else f"its member {key!r} is no array") from None
    # Version 3 differs in how the names of fields are written, and samples have none.
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    return shape, is_fortran and len(shape) > 1, dtype


def _whole(archive: zipfile.ZipFile, key: str) -> np.ndarray:
    with _member(archive, key) as member:
        try:
            return np.lib.format.read_array(member, allow_pickle=False)
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            # NumPy's advice would run what is in the file.
            raise ValueError("it holds Python objects") from None


def _choose_keys(keys: list[str], path: Path, key: str | None) -> Mapping[str, tuple[str, str | None]]:
    """Return for each part the key of its samples, and that of its labels or None."""
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
            for part, names in SPLIT_NAMES.items()
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
