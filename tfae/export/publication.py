"""Publication of a SavedModel under its version number, whole or not at all.

While it is written, an export is ``<directory>/.staging-<random>/version``, with a lock beside it that ends with its
process. Published, it has been renamed to ``<directory>/<number>``; servers load folders whose name is a number.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import tensorflow as tf

from tfae.atomic_write import flush

_STAGING = ".staging-"
#: What is being deleted, which nobody can mistake for a staging folder any more.
_REMOVED = ".removed-"
_LOCK, _VERSION = "lock", "version"
#: How often to begin again, when another exporter takes a new folder for an abandoned one before it is locked.
_ATTEMPTS = 10
#: Permissions of what is published: a server under another account has to read it, whatever the umask.
_FOLDER, _FILE = 0o755, 0o644


def versions(directory: Path) -> dict[int, Path]:
    """Published versions in ascending order: the sub-folders whose name is a positive integer."""
    if not directory.is_dir():
        return {}
    folders = (entry for entry in directory.iterdir() if re.fullmatch("[0-9]+", entry.name) and entry.is_dir())
    return dict(sorted((int(folder.name), folder) for folder in folders))


def find_version(path: str | os.PathLike[str]) -> Path:
    """The folder of the SavedModel at ``path``: itself, or the newest version in it."""
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    complete = [folder for folder in versions(path).values() if (folder / "saved_model.pb").is_file()]
    if complete:
        return complete[-1]
    if (path / "model.keras").is_file():
        raise ValueError(
            f"path: expected an exported model; received the run directory {path}. Export it first: tfae export "
            f"{shlex.quote(str(path))}."
        )
    raise ValueError(
        f"path: expected a SavedModel, or a folder with numbered versions of one; received {path}, "
        + ("which holds neither." if path.exists() else "which does not exist.")
    )


def validate_writable(directory: Path) -> None:
    """Raise ValueError if ``directory``, or the first of its parents that is there, is no folder to write to."""
    existing = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"directory: expected a folder to write to; received {directory}, and {existing} is none.")


def publish(directory: Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a folder, then give it the next free version number.

    A server that polls ``directory`` loads every numeric folder it sees, complete or not; so it appears with one
    rename, after all of it has reached the disk. What exporters that were killed have left behind is deleted.

    Args:
        directory: Folder of the versions; made if it is not there. What is made can be read by every account,
            whatever the umask; what was there keeps its permissions.
        write: Is called with the path of an empty folder.

    Returns:
        Path of the published version.

    Raises:
        ValueError: If ``directory`` can not be written to, or the disk is full. Nothing is published then.
    """
    try:
        _make(directory)
        _remove_abandoned(directory)
        with _staging(directory) as staging:
            write(staging)
            _flush_tree(staging)
            published = _rename_to_next_version(staging, directory)
            flush(directory)
            return published
    except (OSError, tf.errors.OpError) as error:
        reason = error.message if isinstance(error, tf.errors.OpError) else error.strerror or error
        raise ValueError(
            f"directory: expected a folder to write to; received {directory} ({reason}). Nothing was published."
        ) from error


def _make(directory: Path) -> None:
    """Make the folder and its parents, as far as they are not there, so that every account can come in."""
    directory = directory.absolute()
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for path in missing:
        path.chmod(_FOLDER)


@contextlib.contextmanager
def _staging(directory: Path) -> Iterator[Path]:
    """An empty folder to write a version to, which no other exporter touches while this process lives."""
    for _ in range(_ATTEMPTS):
        container = Path(tempfile.mkdtemp(prefix=_STAGING, dir=directory))
        lock = filelock.FileLock(container / _LOCK)
        try:
            lock.acquire(timeout=0)
            staging = container / _VERSION
            staging.mkdir()
        except (filelock.Timeout, FileNotFoundError, FileExistsError):
            # Another exporter found the folder before it was locked, and is deleting it. It "exists" to somebody who
            # tried to make it anew a moment too early.
            lock.release()
            continue
        try:
            yield staging
        finally:
            _remove(container)
            lock.release()
        return
    raise FileNotFoundError(f"{_ATTEMPTS} folders in a row were deleted by other processes")


def _remove_abandoned(directory: Path) -> None:
    """Delete what exporters that are dead have left behind."""
    for entry in directory.iterdir():
        if entry.name.startswith(_REMOVED):
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name.startswith(_STAGING) and entry.is_dir():
            try:
                with filelock.FileLock(entry / _LOCK).acquire(timeout=0):
                    _remove(entry)
            except (filelock.Timeout, OSError):
                continue  # Its exporter lives, or another exporter deletes it, or it is not ours to delete.


def _remove(container: Path) -> None:
    """Delete a staging folder; under another name, so that nothing half deleted can be renamed to a version."""
    removed = container.with_name(container.name.replace(_STAGING, _REMOVED, 1))
    with contextlib.suppress(OSError):
        container = container.rename(removed)
    shutil.rmtree(container, ignore_errors=True)


def _rename_to_next_version(staging: Path, directory: Path) -> Path:
    version = max(versions(directory), default=0) + 1
    while True:
        published = directory / str(version)
        try:
            return staging.rename(published)
        except OSError:
            # Another exporter was faster, or a file or a broken link has that name. Whatever else is the matter would
            # not go away with the next number.
            if not os.path.lexists(published):
                raise
            version += 1


def _flush_tree(folder: Path) -> None:
    """Have all files and folders below ``folder``, and itself, reach the disk, readable for every account."""
    for path in [*folder.rglob("*"), folder]:
        path.chmod(_FOLDER if path.is_dir() else _FILE)
        flush(path)
