"""Publication of a SavedModel under its version number, whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def versions(directory: Path) -> dict[int, Path]:
    """Published versions in ascending order: the sub-folders whose name is a positive integer."""
    if not directory.is_dir():
        return {}
    folders = (entry for entry in directory.iterdir() if re.fullmatch("[0-9]+", entry.name) and entry.is_dir())
    return dict(sorted((int(folder.name), folder) for folder in folders))


def check_writable(directory: Path) -> None:
    """Raise unless versions can be published in ``directory``; nothing is made yet.

    Raises:
        ValueError: If it, or the first of its parents that is there, is no folder that can be written to.
    """
    existing = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"directory: expected a folder to write to; received {directory}, and {existing} is none.")


def publish(directory: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a folder, then give it the next free version number.

    A server that polls ``directory`` loads every numeric folder it sees, complete or not; so the work is done under
    a name that is no number, on the same file system, and the folder appears with one rename.

    Args:
        directory: Folder of the versions; made if it is not there.
        write: Is called with the path of an empty folder.

    Returns:
        Path of the published version.

    Raises:
        ValueError: If ``directory`` can not be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=directory))
    except OSError as error:
        raise ValueError(f"directory: expected a folder to write to; received {directory} ({error}).") from error
    try:
        write(staging)
        staging.chmod(0o755)  # mkdtemp's 0o700 would keep a server under another account out.
        return _rename_to_next_version(staging, directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _rename_to_next_version(staging: Path, directory: Path) -> Path:
    version = max(versions(directory), default=0) + 1
    while True:
        published = directory / str(version)
        try:
            return staging.rename(published)
        except OSError:
            # Another exporter was faster. Whatever else is the matter would not go away with the next number.
            if not published.exists():
                raise
            version += 1
