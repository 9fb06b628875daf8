"""The directory of a run, which belongs to one process at a time."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import keras

from tfae.runs.model_file import MODEL

_LOCK = ".lock"
_BEFORE_THE_MODEL = {_LOCK, "checkpoints", "preprocessing.json", "config.json"}
# In sizes of the model: three checkpoints with weights, best weights and two moments of Adam, and the model with those.
_SIZES_OF_THE_MODEL = 3 * 4 + 3
_BYTES_OF_PICTURES = 10**7


@contextlib.contextmanager
def lock(directory: Path, *, is_new: bool = False) -> Iterator[None]:
    """Keep all other processes from a run for as long as the block lasts, and this process lives.

    The directory of a run that ``is_new`` is made, unless there is an empty one.
    """
    if not is_new and not directory.is_dir():
        raise ValueError(f"run_dir: expected the directory of a run; received {directory}, which is none.")
    path = directory / _LOCK
    try:
        if is_new:
            directory.mkdir(parents=True, exist_ok=True)
            _validate_unused(directory)
        held = filelock.FileLock(path).acquire(timeout=0)
    except filelock.Timeout as error:
        raise ValueError(
            f"run_dir: expected a directory that no other process trains in; received {directory}. Wait for that "
            "one to end, or choose another."
        ) from error
    except OSError as error:
        raise ValueError(f"run_dir: expected a directory to write to; received {directory} ({error}).") from error
    with held:
        try:
            if is_new:  # Another process may have been faster.
                _validate_unused(directory)
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows deletes no open files.
                path.unlink()


def check_room(directory: Path, autoencoder: keras.Model) -> None:
    """Raise ValueError unless the disk has room for what a training writes."""
    size = sum(weight.value.dtype.size * int(weight.value.shape.num_elements()) for weight in autoencoder.weights)
    needed = _SIZES_OF_THE_MODEL * size + _BYTES_OF_PICTURES
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise ValueError(
            f"run_dir: expected {needed / 1e6:,.0f} MB for checkpoints and pictures; {directory} has {free / 1e6:,.0f} "
            "MB left. Make room, or choose a directory on another disk."
        )


def how_to_resume(directory: Path, config: dict[str, Any], *, finish: bool = False) -> str:
    """Return what a user types to go on with a run, or to finish it with the best epoch so far."""
    if config["data"]["arguments"] is None:  # The command line does not have the arrays.
        return f"tfae.runs.resume({str(directory)!r}, data=data{', finish=True' if finish else ''})"
    return f"tfae train --resume {shlex.quote(str(directory))}{' --finish' if finish else ''}"


def clear_remains(directory: Path) -> None:
    """Delete the files that a process was writing when it was killed."""
    for remains in directory.rglob(".staging-*"):
        shutil.rmtree(remains, ignore_errors=True)


def state_of(directory: Path) -> str:
    """Return "unused", "stopped" of a training to go on with, "finished" of a run, or "in use" by something else."""
    found = directory.iterdir() if directory.exists() else ()
    names = {path.name for path in found if not path.name.startswith(".staging-")}
    if names <= _BEFORE_THE_MODEL:  # Those are of a process that was killed before its training began.
        return "unused"
    if {"evaluation.json", MODEL} <= names:
        return "finished"
    return "stopped" if {"checkpoints", MODEL} <= names else "in use"


def _validate_unused(directory: Path) -> None:
    state = state_of(directory)
    if state == "unused":
        return
    what, remedy = {"finished": "holds a finished run"}.get(state, "is in use"), "Choose another"
    if state == "stopped":
        what = "holds a training that was stopped"
        remedy += f", or go on with tfae train --resume {shlex.quote(str(directory))}"
    raise ValueError(f"run_dir: expected a new or empty directory; received {directory}, which {what}. {remedy}.")
