"""Which file the rows of a table of several files are from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import final

import numpy as np
import pyarrow as pa


@final
class FileRows:
    """The file of each row that was read so far, as much as one number for each file."""

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files
        self._starts = np.full(len(files), np.iinfo(np.int64).max)  # Of those that are not yet read, behind all.

    def join(self, batches: Iterable[Iterable[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
        """Yield the batches of one file after the other."""
        start = 0
        for index, of_file in enumerate(batches):
            self._starts[index] = start
            for batch in of_file:
                start += len(batch)
                yield batch

    def __getitem__(self, rows: slice) -> list[str]:
        return [self.files[file] for file in self._find(np.arange(rows.start, rows.stop))]

    def place(self, row: int) -> tuple[str, int]:
        """Return the file of a row, and which one it is in there."""
        file = int(self._find(np.int64(row)))
        return self.files[file], row - int(self._starts[file])

    def describe(self, row: int) -> str:
        """Say which row of which file a row is."""
        file, row = self.place(row)
        return f"row {row} of {file!r} (rows count from 0)"

    def _find(self, rows: np.ndarray | np.int64) -> np.ndarray:
        # Of files that begin with the same row all but the last are empty.
        return np.searchsorted(self._starts, rows, side="right") - 1
