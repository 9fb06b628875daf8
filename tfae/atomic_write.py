"""Safe writes: a file appears whole or not at all, and nothing is written over what is read."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tfae.patterns import expand, is_pattern, would_match


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Write the file ``path`` in one step: neither a kill nor a loss of power leaves half of it.

    Yields a path of the same name, where no file is yet. What is written there becomes ``path`` when the block ends; an
    error in the block leaves ``path`` as it was. A folder that is missing is made; ValueError if it can not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".staging-", dir=path.parent)
    except OSError as error:
        raise ValueError(f"path: expected a file that can be written; received {path} ({error.strerror}).") from error
    with folder:
        partial = Path(folder.name, path.name)
        try:
            yield partial
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error  # Libraries name no file.
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


def validate_apart(argument: str, output: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None) -> None:
    """Raise ValueError if an output is an input, or inside of one, whatever links and spellings lead there.

    ``argument`` names the output. Inputs are files, folders and patterns, there already or not; None is passed over.
    """
    real = Path(output).resolve()
    places = (real, *real.parents)
    for each in inputs:
        if each is None:
            continue
        has_wildcards = is_pattern(each)
        read = [path.resolve() for path in (expand(each) if has_wildcards else [Path(each)])]
        if any(_is_same(place, path) for path in read for place in places) or (
            has_wildcards and any(would_match(each, place) for place in places)
        ):
            raise ValueError(
                f"{argument}: expected a place outside of what is read, {each}; received {output}. Choose another."
            )


def _is_same(place: Path, read: Path) -> bool:
    # Links of the file system itself, and names that differ in case alone, are told by the file's number.
    return place == read or (place.exists() and read.exists() and place.samefile(read))


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
