"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to, which becomes ``path`` when the block ends without an error.

    Args:
        path: Where the file shall be; what is there already stays until then, and is replaced in one step, which
            neither a kill nor a loss of power can halve.

    Raises:
        ValueError: If there can be no such file.

    Yields:
        Path on the same file system, with the same suffix; no file is there yet.
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


def write_staged(path: Path, content: str | Callable[[Path], object]) -> None:
    """Write a text file, or whatever file ``content`` writes to the path that it is given."""
    with staged(path) as partial:
        if isinstance(content, str):
            partial.write_text(content, encoding="utf-8")
        else:
            content(partial)


def flush(path: Path) -> None:
    """Have what was written to a file, or the names in a folder, reach the disk."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders.
        return
    # It flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
