"""The file of a model: written, and loaded back to see that it can be."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np

from tfae.atomic_write import write_atomically
from tfae.models.structure import is_deterministic

#: The file without which there is no run to go on with: it is the last one that is written before a training.
MODEL = "model.keras"


def write_model(autoencoder: keras.Model, directory: Path, x: np.ndarray) -> None:
    """Write a model that is about to be trained to a run, once what loads back reconstructs ``x`` as it does."""
    path = directory / MODEL
    try:
        write_atomically(path, autoencoder.save)
        loaded = keras.models.load_model(path, safe_mode=True)
        expected, received = (model(x, training=False) for model in (autoencoder, loaded))
        # A model that samples has no answer to compare.
        if not np.allclose(expected, received, rtol=1e-4, atol=1e-5) and is_deterministic(autoencoder, x.shape[1:]):
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
    if unknown := re.search(r"Could not locate (?:class|function) '(\w+)'", text):
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
