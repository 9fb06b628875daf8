"""The files of a SavedModel, and their publication under its version number, whole or not at all.

While it is written, an export is ``<directory>/.staging-<random>/version``; a lock on the file ``.<directory>.lock``
beside the directory ends with its process. Published, it has been renamed to ``<directory>/<number>``; servers load
folders whose name is a number.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import filelock
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfae.atomic_write import flush
from tfae.versions import list_versions

_STAGING = ".staging-"
#: Permissions of what is published: a server under another account has to read it, whatever the umask.
_FOLDER, _FILE = 0o755, 0o644


def find_version(path: str | os.PathLike[str]) -> Path:
    """The folder of the SavedModel at ``path``: itself, or the newest version in it."""
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    folders = list_versions(path).values() if path.is_dir() else ()
    complete = [folder for folder in folders if (folder / "saved_model.pb").is_file()]
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
    """Let ``write`` fill an empty folder, then give it the next free version number, and return its path.

    A server that polls ``directory`` loads every numeric folder it sees, complete or not; so it appears with one
    rename, after all of it has reached the disk. Of several exporters one writes at a time. What those that were killed
    have left behind is deleted. What is made, the directory too, can be read by every account, whatever the umask.

    Raises:
        ValueError: If ``directory`` can not be written to, or the disk is full. Nothing is published then.
    """
    try:
        _make(directory)
        folder = directory.resolve()
        with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
            for abandoned in directory.glob(f"{_STAGING}*"):
                shutil.rmtree(abandoned, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix=_STAGING, dir=directory) as container:
                staging = Path(container, "version")
                staging.mkdir()
                write(staging)
                for path in [*staging.rglob("*"), staging]:  # It reaches the disk, readable for every account.
                    path.chmod(_FOLDER if path.is_dir() else _FILE)
                    flush(path)
                # Files and broken links too, which a rename would not replace.
                numbers = [int(entry.name) for entry in directory.iterdir() if re.fullmatch("[0-9]+", entry.name)]
                published = staging.rename(directory / str(max(numbers, default=0) + 1))
            flush(directory)
            return published
    except (OSError, tf.errors.OpError) as error:
        reason = error.message if isinstance(error, tf.errors.OpError) else error.strerror or error
        raise ValueError(
            f"directory: expected a folder to write to; received {directory} ({reason}). Nothing was published."
        ) from error


def write_saved_model(module: tf.Module, folder: Path, functions: Mapping[str, Callable]) -> None:
    """Write a SavedModel with signatures; ValueError if these use what the module does not track."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # Or it says that assets were written to a folder that is about to be renamed.
    try:
        tf.saved_model.save(module, str(folder), signatures=dict(functions))
    except AssertionError as error:
        found = re.search("Trackable referencing this tensor = (.*)|Captured Tensor = (.*)", str(error))
        untracked = (found[1] or found[2]).strip() if found else str(error).splitlines()[0]
        raise ValueError(
            "autoencoder: expected layers that hold no variables or lookup tables besides Keras's weights; received "
            f"one with {untracked}. Nothing was published. Make variables with add_weight, and look up "
            "before the model."
        ) from error
    finally:
        logger.setLevel(level)


def name_inputs(folder: Path, names: Mapping[str, Mapping[str, str]]) -> None:
    """Give the inputs of signatures their names in place of those that they have in the graph."""
    file, model = folder / "saved_model.pb", SavedModel()
    model.ParseFromString(file.read_bytes())
    for meta_graph in model.meta_graphs:
        for signature, of_inputs in names.items():
            inputs = meta_graph.signature_def[signature].inputs
            for graph_name, name in of_inputs.items():
                if graph_name != name:
                    inputs[name].CopyFrom(inputs[graph_name])
                    del inputs[graph_name]
    file.write_bytes(model.SerializeToString())


def _make(directory: Path) -> None:
    """Make the folder and its parents, as far as they are not there, so that every account can come in."""
    directory = directory.absolute()
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for path in missing:
        path.chmod(_FOLDER)
