"""Samples that stay on disk, and are read when they are asked for."""

from __future__ import annotations

import itertools
import math
from typing import Any, final

import numpy as np

from tfae.datasets.row_file import RowFile
from tfae.datasets.windows import Windows
from tfae.moments import rows_per_block


@final
class StoredSamples:
    """Samples ``(n, *shape)`` in a file, which are read where they are indexed, as those of an array would be.

    Args:
        file: Holds the samples as rows.
        shape, dtype: Of one sample, in the byte order of the machine.
        rows: int64 ``(n,)``, the row of each sample.
        window: How many rows of the file a sample is, its first axis, beginning with that one; None for a row itself.
    """

    def __init__(
        self, file: RowFile, shape: tuple[int, ...], dtype: np.dtype, rows: np.ndarray, *, window: int | None = None
    ) -> None:
        self.shape = (len(rows), *shape)
        self.dtype = dtype
        self.rows = rows
        self.file = file
        self.window = window
        self._row_bytes = math.prod(shape) * dtype.itemsize // (window or 1)
        self.nbytes = len(rows) * math.prod(shape) * dtype.itemsize
        self._rows_per_block = rows_per_block(self)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read a sample by its index, or an array of them by a slice, or by indices or booleans ``(n,)``."""
        rows = self.rows[key]
        samples = np.empty((rows.size, *self.shape[1:]), self.dtype)
        self._read(rows.reshape(-1), samples)
        return samples.reshape(rows.shape + self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read all samples, for which there has to be memory."""
        return self[:].astype(dtype or self.dtype, copy=False)

    @property
    def defect(self) -> ValueError | None:
        """What went wrong when samples were read last; None as long as nothing has."""
        return self.file.defect

    def take(self, indices: np.ndarray) -> StoredSamples:
        """Return those of these indices, without reading them."""
        return StoredSamples(self.file, self.shape[1:], self.dtype, self.rows[indices], window=self.window)

    def chunks(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return where runs of samples, by default of all, within 1 MB of the file begin, and the end of the last."""
        rows = self.rows if rows is None else rows
        return np.append(np.flatnonzero(np.diff(rows // self._rows_per_block, prepend=-1)), len(rows))

    def read_into(self, samples: np.ndarray, start: int) -> None:
        """Fill an array ``(m, *shape)`` of the same dtype with the samples from ``start`` on."""
        self._read(self.rows[start : start + len(samples)], samples)

    def _read(self, rows: np.ndarray, samples: np.ndarray) -> None:
        num_rows = self.window or 1
        out = samples.reshape(len(samples), math.prod(self.shape[1:])).view(np.uint8)
        for start, stop in itertools.pairwise(self.chunks(rows)):
            asked = rows[start:stop]
            first, last = int(asked.min()), int(asked.max())
            # One read of the rows in between too costs less than a read of each: rows left out are few or near.
            block = np.empty((last - first + num_rows, self._row_bytes), np.uint8)
            self.file.read(first, block)
            if self.window:  # A view of the bytes of as many rows from each one on.
                block = np.lib.stride_tricks.sliding_window_view(block.reshape(-1), num_rows * self._row_bytes)
                block = block[:: self._row_bytes]
            # Other modes than "clip" take the long way through a buffer, in case that an index is out of range.
            np.take(block, asked - first, axis=0, out=out[start:stop], mode="clip")


def take(samples: Any, indices: np.ndarray) -> Any:
    """Return the samples of some indices, without reading those on disk and without copying windows."""
    return samples.take(indices) if isinstance(samples, StoredSamples | Windows) else samples[indices]
