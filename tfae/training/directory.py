"""The directory of a run, which belongs to one process at a time."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock
import keras

_LOCK = ".lock"
# In sizes of the model: three checkpoints with weights, best weights and two moments of Adam, and the model with those.
_SIZES_OF_THE_MODEL = 3 * 4 + 3
_BYTES_OF_PICTURES = 10**7


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Have a new or empty directory for this process alone, for as long as the block lasts.

    Raises:
        ValueError: If it is in use, or can not be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _refuse_used(directory)
    except OSError as error:
        raise ValueError(f"run_dir: expected a directory to write to; received {directory} ({error}).") from error
    with locked(directory):
        _refuse_used(directory)
        yield


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep all other processes from a run for as long as the block lasts, and this process lives.

    Raises:
        ValueError: If there is no such directory, it can not be written to, or another process is at it.
    """
    if not directory.is_dir():
        raise ValueError(f"run_dir: expected the directory of a run; received {directory}, which is none.")
    path = directory / _LOCK
    try:
        lock = filelock.FileLock(path).acquire(timeout=0)
    except filelock.Timeout as error:
        raise ValueError(
            f"run_dir: expected a directory that no other process trains in; received {directory}. Wait for that "
            "one to end, or choose another."
        ) from error
    except OSError as error:
        raise ValueError(f"run_dir: expected a directory to write to; received {directory} ({error}).") from error
    with lock:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows deletes no open files.
                path.unlink()


def check_room(directory: Path, autoencoder: keras.Model) -> None:
    """Refuse to begin a training whose checkpoints would not fit on the disk.

    Raises:
        ValueError: If they would not.
    """
    size = sum(weight.value.dtype.size * int(weight.value.shape.num_elements()) for weight in autoencoder.weights)
    needed = _SIZES_OF_THE_MODEL * size + _BYTES_OF_PICTURES
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise ValueError(
            f"run_dir: expected {needed / 1e6:,.0f} MB for checkpoints and pictures; {directory} has {free / 1e6:,.0f} "
            "MB left. Make room, or choose a directory on another disk."
        )


def clear_remains(directory: Path) -> None:
    """Delete the files that a process was writing when it was killed."""
    for remains in directory.rglob(".staging-*"):
        shutil.rmtree(remains, ignore_errors=True)


def _refuse_used(directory: Path) -> None:
    if any(path.name != _LOCK for path in directory.iterdir()):
        raise ValueError(f"run_dir: expected a new or empty directory; received {directory}, which is in use.")
