"""Atomic writes: a file appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Write the file ``path`` in one step: neither a kill nor a loss of power leaves half of it.

    Its folder is created if it is missing.

    Yields:
        A path on the same file system with the same name, where no file is yet. What is written there becomes ``path``
        when the block ends; an error in the block leaves ``path`` as it was.

    Raises:
        ValueError: If the folder can not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".staging-", dir=path.parent)
    except OSError as error:
        raise ValueError(f"path: expected a file that can be written; received {path} ({error.strerror}).") from error
    with folder:
        partial = Path(folder.name, path.name)
        yield partial
        flush(partial)
        partial.replace(path)
    flush(path.parent)


def write_atomically(path: Path, content: str | Callable[[Path], object]) -> None:
    """Write text, or what ``content`` writes to the path that it is called with, to a file in one step."""
    with replace_atomically(path) as partial:
        if isinstance(content, str):
            partial.write_text(content, encoding="utf-8")
        else:
            content(partial)


def flush(path: Path) -> None:
    """Have the content of a file, or the names in a folder, reach the disk."""
    if os.name == "nt" and path.is_dir():  # Windows can not open folders.
        return
    # Windows flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
