"""The directory of a run, of one process at a time: what is in it, and whether that can be gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import keras
import numpy as np

from tfae import provenance
from tfae.atomic_write import write_atomically
from tfae.datasets import Data
from tfae.losses import ReconstructionLoss, get_loss
from tfae.models import structure
from tfae.models.gaussian import tell_length

#: The file without which there is no run to go on with: it is the last one that is written before a training.
MODEL = "model.keras"
# TensorFlow reads it when it is imported, and takes other kernels for convolutions, which round differently.
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
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


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one step."""
    write_atomically(path, json.dumps(value, indent=2) + "\n")


def write_model(autoencoder: keras.Model, directory: Path, x: np.ndarray) -> None:
    """Write a model that is about to be trained to a run, once what loads back reconstructs ``x`` as it does."""
    path = directory / MODEL
    try:
        write_atomically(path, autoencoder.save)
        loaded = keras.models.load_model(path, safe_mode=True)
        expected, received = (model(x, training=False) for model in (autoencoder, loaded))
        # A model that samples has no answer to compare.
        if not np.allclose(expected, received, rtol=1e-4, atol=1e-5) and structure.is_deterministic(
            autoencoder, x.shape[1:]
        ):
            raise ValueError(
                "what Keras loads back answers otherwise: an argument is missing in the get_config() of a class, or a "
                "state that is no weight"
            )
    except OSError:
        path.unlink(missing_ok=True)
        raise
    except Exception as error:  # Layers of one's own raise what they like.
        path.unlink(missing_ok=True)  # So that the directory is not in use.
        raise ValueError(
            "autoencoder: expected a model that Keras saves and loads back, for the run to be resumed and exported; "
            f"received one that it does not ({explain_unreadable(error)}). tfae.training.compile and fit train it "
            "without a run."
        ) from error


def load_model(directory: Path) -> keras.Model:
    """Load the model of a run, compiled; errors are Keras's, KeyError and TypeError those of other versions of it."""
    path = directory / MODEL
    if not path.is_file():
        raise ValueError(f"it has no {MODEL}")
    try:
        with zipfile.ZipFile(path) as archive:
            is_whole = archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, zlib.error):
        is_whole = False
    if not is_whole:
        raise ValueError(f"its {MODEL} is damaged")
    return keras.models.load_model(path, safe_mode=True)


def explain_unreadable(error: Exception) -> str:
    """Return why Keras can not load a model, in the words of whoever trained it with classes of his own."""
    text = str(error)
    if unknown := re.search(r"Could not (?:locate|deserialize) (?:class|function) '(\w+)'", text):
        return (
            f"{unknown[1]} is unknown: put @keras.saving.register_keras_serializable() above it, and import its module "
            "first, on the command line with tfae --import MODULE"
        )
    if "Lambda" in text or "lambda" in text:
        return (
            "it holds a Lambda layer, whose Python Keras does not load: write a layer of its own, with "
            "@keras.saving.register_keras_serializable() above it"
        )
    if missing := re.search(r"(\w+)\.__init__\(\) (missing .*)", text):
        return f"{missing[1]} is {missing[2].strip()}: return them in its get_config()"
    return " ".join(text.split())[:300] or type(error).__name__


def warn_of_changes(directory: Path, config: dict[str, Any], num_replicas: int) -> None:
    """Warn of what is not as it was when the run began, and say what does not hold then."""
    before = {**config.get("versions", {}), ONEDNN: config.get("onednn"), "replicas": config["num_replicas"]}
    now = {**provenance.versions(), ONEDNN: os.environ.get(ONEDNN), "replicas": num_replicas}
    changed = [name for name in ("tfae", "tensorflow", "keras", ONEDNN, "replicas") if before.get(name) != now[name]]
    if changed:
        began, goes_on = (", ".join(f"{name} {of.get(name) or 'unset'}" for name in changed) for of in (before, now))
        warnings.warn(
            f"run_dir: {directory} began with {began} and goes on with {goes_on}: it does not end with the weights of "
            f"a training that was not stopped. {ONEDNN} counts when TensorFlow is imported; tfae train --resume sets "
            "it as it was.",
            stacklevel=3,
        )


def validate_repeated(
    directory: Path, autoencoder: keras.Model, data: Data, loss: ReconstructionLoss | None, **arguments: Any
) -> None:
    """Raise ValueError unless a run began with the same arguments, as far as they are written down."""
    config = read_json(directory / "config.json")
    structure.build(autoencoder, data.shape)
    tell_length(autoencoder, arguments["epochs"] * int(data.train.cardinality()))  # As compile does.
    # But for its name, which Keras counts up.
    arguments["autoencoder"] = {**provenance.model(autoencoder, data.shape), "name": config["model"]["name"]}
    arguments["loss"] = type(loss or get_loss(autoencoder)).__name__
    began = {**config, "autoencoder": config["model"], "loss": config["loss"]["class_name"]}
    for name, value in arguments.items():
        if began[name] != value:
            raise ValueError(
                f"{name}: expected {began[name]}, with which the run in {directory} began; received {value}. Repeat "
                "the same call, or choose another directory."
            )
