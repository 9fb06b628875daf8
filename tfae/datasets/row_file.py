"""A file of rows of one size, which are read at their offset."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

_AS_IT_WAS = "source: expected the file to stay as it was when it was opened; "


class RowFile:
    """Rows of one size in an open file. Nothing is kept in memory, and nothing is mapped, which would count as such.

    The file is closed when this object is no longer used; if it has a path, others can change it. ``defect`` is what
    went wrong last, or None: TensorFlow wraps what is raised in a pipeline; here it is as it was.
    """

    def __init__(self, file: IO[bytes], *, offset: int, row_bytes: int, path: Path | None) -> None:
        self.defect: ValueError | None = None
        self._file = file
        self._offset = offset
        self._row_bytes = row_bytes
        self._path = path
        self._lock = threading.Lock()  # Training and validation pipelines read in threads of their own.
        self._as_opened = os.fstat(file.fileno())
        weakref.finalize(self, file.close)

    def read(self, first: int, rows: np.ndarray) -> None:
        """Fill a contiguous array, uint8 ``(n, row_bytes)``, with the rows from ``first`` on, or raise ValueError."""
        try:
            with self._lock:
                self._file.seek(self._offset + first * self._row_bytes)
                received = self._file.readinto(rows.data.cast("B"))  # type: ignore[attr-defined]
            change = self._change()
        except OSError as error:
            raise self._fail(f"source: expected {self._name} to be readable; received {error.strerror}.") from None
        if change is None and received < rows.nbytes:
            change = f"ends {rows.nbytes - received} bytes early"
        if change is not None:
            raise self._fail(f"{_AS_IT_WAS}{self._name} {change}. Load it again when nothing writes to it anymore.")

    @property
    def _name(self) -> str:
        return "the temporary file" if self._path is None else repr(str(self._path))

    def _change(self) -> str | None:
        """What has become of the file since it was opened; None where it is still as it was."""
        if self._path is None:
            return None
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return "is no longer there"
        was = self._as_opened
        if (now.st_ino, now.st_dev) != (was.st_ino, was.st_dev):
            return "has been replaced by another file"
        if now.st_size != was.st_size:
            return f"has changed from {was.st_size} to {now.st_size} bytes"
        return None if now.st_mtime_ns == was.st_mtime_ns else "has changed"

    def _fail(self, message: str) -> ValueError:
        # Another one than is raised, whose traceback would keep the buffers of the pipeline in memory.
        self.defect = ValueError(message)
        return ValueError(message)


def write_rows(blocks: Iterable[np.ndarray], row_bytes: int, *, num_rows: int | None) -> RowFile:
    """Write blocks of rows to a temporary file without a name, whose space is free again however the process ends."""
    # /tmp can be in memory, which is what streaming is to spare.
    folder = os.environ.get("TMPDIR") or ("/var/tmp" if Path("/var/tmp").is_dir() else tempfile.gettempdir())
    with _check_space(folder):
        free, needed = shutil.disk_usage(folder).free, (num_rows or 0) * row_bytes
        if needed > free:
            raise _space_error(folder, f"{free / 1e6:.0f} MB free where {needed / 1e6:.0f} MB are needed")
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (RowFile closes it)
    try:
        for block in blocks:
            with _check_space(folder):
                file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
        with _check_space(folder):
            file.flush()
    except BaseException:
        with contextlib.suppress(OSError):  # What is left to write does not fit either.
            file.close()
        raise
    return RowFile(file, offset=0, row_bytes=row_bytes, path=None)


@contextlib.contextmanager
def _check_space(folder: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _space_error(folder, error.strerror or str(error)) from None


def _space_error(folder: str, received: str) -> ValueError:
    return ValueError(
        f"source: expected space for samples that are streamed in {folder!r}, the folder of temporary files; received "
        f"{received}. Set TMPDIR to a folder on a disk with more, pass in_memory=True if the samples fit, or load some "
        "of the files."
    )
