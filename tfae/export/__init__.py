"""The SavedModel: written so that TensorFlow Serving serves it, read back with NumPy arrays.

``saved_models/<name>/<version>/`` holds the preprocessing, the model and its loss in one graph, so that the score in
production is the number that training minimised.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tfae import progress, provenance
from tfae.atomic_write import validate_apart
from tfae.checks import check
from tfae.export.golden_requests import GoldenRequest, make_golden_requests
from tfae.export.health import Health, check_health, validate_operations
from tfae.export.inspection import DESCRIPTION, FORMAT, Inspection, inspect, read_description
from tfae.export.keras_answers import KerasAnswers, computing_in, is_narrow
from tfae.export.parity import validate_graph, validate_parity, write_golden
from tfae.export.publication import find_version, name_inputs, publish, validate_writable, write_saved_model
from tfae.export.recalibration import recalibrate
from tfae.export.saved_autoencoder import SavedAutoencoder
from tfae.export.traced_model import TracedModel, graph_names, trace
from tfae.graph_messages import summarize
from tfae.load_options import AS_TRAINED
from tfae.losses import get_loss
from tfae.models.structure import build, is_deterministic, sample_shape_of
from tfae.preprocessing import Preprocessing
from tfae.signatures import SIGNATURES, SignatureDefinition

if TYPE_CHECKING:
    from tfae.datasets import Data
    from tfae.detection import Calibration

__all__ = [
    "Health",
    "Inspection",
    "SavedAutoencoder",
    "check_health",
    "inspect",
    "load",
    "recalibrate",
    "save",
    "validate_writable",
]


def save(
    autoencoder: keras.Model,
    directory: str | os.PathLike[str],
    *,
    preprocessing: Preprocessing | None = None,
    data: Data | Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    ignore: Collection[str] = (),
    signatures: Sequence[SignatureDefinition] = (),
    calibration: Calibration | None = None,
) -> Path:
    """Export an autoencoder as a SavedModel, under the next free version number.

    Args:
        autoencoder: Keras model that returns something of the shape of a sample, compiled with a tfae loss. Sub-models
            ``encoder`` and ``decoder`` become signatures, if it has them. Free sides become those of the data.
        directory: ``saved_models/<name>``; the versions are its sub-folders. Outside of the folder of the data.
        preprocessing: From data space to model space; becomes part of the graph. By default that of ``data``, and
            without either the model takes data as it is, in float32.
        data: What the model was trained on, or its ``describe()``; name, splits and seed go into the description.
        metrics: What the evaluation found, finite numbers by name, for the description.
        ignore: Names of checks of :func:`tfae.checks.check` to leave out. Those of the data take ``data`` itself.
        signatures: More signatures than those of the table, :data:`tfae.signatures.SIGNATURES`.
        calibration: From :func:`tfae.detection.calibrate`; makes scores alarms, and adds the signature ``detect``.

    Returns:
        Path of the version, ``directory/<version>``.

    Raises:
        ValueError: If model, loss, data, preprocessing, metrics or signatures are not as above or do not fit together;
            if the SavedModel holds what TensorFlow Serving can not run, or gives other answers than the Keras model; or
            if the directory can not be written to. Nothing is published then.
    """
    validate_apart("directory", directory, *getattr(data, "paths", ()))
    if preprocessing is None:
        preprocessing = getattr(data, "preprocessing", None)
    if preprocessing is None:
        preprocessing = Preprocessing("none", sample_shape=_fixed_shape(autoencoder), sample_dtype="float32")
    _validate_exportable(autoencoder, preprocessing)
    check(None if isinstance(data, Mapping) else data, get_loss(autoencoder), autoencoder, ignore=ignore)
    description = (
        json.dumps(_describe(autoencoder, preprocessing, data, metrics, calibration), indent=2, allow_nan=False) + "\n"
    )
    module = tf.Module(name="autoencoder")
    # A module that tracks the bare variables stores each once and is what TensorFlow Serving finds them in. Keras's
    # ExportArchive stores each twice, and a Keras model given to tf.saved_model.save is not served at all.
    module.model_variables = [variable.value for variable in autoencoder.variables]

    traced = TracedModel(autoencoder, preprocessing, calibration)
    module.tables = list(traced.tables.values())
    rows = _select_signatures(traced, signatures)

    progress.log.info("exporting %d signatures", len(rows))

    def prepare() -> tuple[list[GoldenRequest], dict[str, Callable]]:
        answers = KerasAnswers(autoencoder, preprocessing, calibration)
        return make_golden_requests(answers, rows, data), {row.name: trace(traced, row) for row in rows}

    served, in_float32 = prepare(), None
    if is_narrow(autoencoder):
        with computing_in("float32", autoencoder):
            in_float32 = prepare()

    def write_checked(folder: Path, golden: list[GoldenRequest], functions: dict[str, Callable]) -> None:
        write_saved_model(module, folder, functions)
        name_inputs(folder, {row.name: graph_names(row.tensors("inputs", traced)) for row in rows})
        validate_graph(folder)
        write_golden(folder, golden, model_name=Path(directory).absolute().name)
        progress.log.info("comparing the answers of the export with those of the model")
        validate_parity(folder, golden)

    def write(folder: Path) -> None:
        if in_float32 is not None:
            # Mixed precision rounds so much that a difference of one percent could hide behind it; so the same model
            # in float32 has to pass, too.
            write_checked(folder.with_name("float32"), *in_float32)
        write_checked(folder, *served)
        (folder / DESCRIPTION).parent.mkdir(exist_ok=True)
        (folder / DESCRIPTION).write_text(description, encoding="utf-8")

    return publish(Path(directory), write)


def load(path: str | os.PathLike[str], *, trust: bool = False) -> SavedAutoencoder:
    """Load an exported autoencoder.

    Args:
        path: ``saved_models/<name>/<version>``, or ``saved_models/<name>`` for its newest version.
        trust: Whether to load even what may read or write files or run Python, which nothing that tfae exports does.

    Raises:
        ValueError: If there is no SavedModel of tfae at the path, it can not be loaded, or it is not to be trusted.
    """
    version = find_version(path)
    description = read_description(version)
    try:
        if not trust:
            validate_operations(version)
        return SavedAutoencoder(version, description)
    except tf.errors.OpError as error:
        raise ValueError(
            f"path: expected a SavedModel that TensorFlow can load; received {version} ({summarize(error)}). If it is "
            "damaged, copy the whole folder again, or export it once more."
        ) from error


def _validate_exportable(autoencoder: keras.Model, preprocessing: Preprocessing) -> None:
    if not isinstance(preprocessing, Preprocessing):
        raise ValueError(
            f"preprocessing: expected a fitted tfae.preprocessing.Preprocessing, such as data.preprocessing; received "
            f"{preprocessing!r}."
        )
    shape = sample_shape_of(autoencoder)
    if shape is not None and not tf.TensorShape(shape).is_compatible_with(preprocessing.model_shape):
        raise ValueError(
            f"preprocessing: expected one fitted on samples of shape {shape}, the model's; "
            f"received one for shape {preprocessing.model_shape}."
        )
    build(autoencoder, preprocessing.model_shape)
    if not is_deterministic(autoencoder, preprocessing.model_shape):
        raise ValueError(
            "autoencoder: expected a model that gives the same sample the same answer; received one that samples at "
            "inference, so that no score could be told from another. Sample in training only: call(self, x, training) "
            "tells the layer which it is."
        )


def _fixed_shape(autoencoder: keras.Model) -> tuple[int, ...]:
    shape = sample_shape_of(autoencoder)
    if shape is None or None in shape:
        raise ValueError(
            f"data: expected the data, or the preprocessing, of a model whose samples are of "
            f"{'unknown shape' if shape is None else f'shape {shape}'}; received none. Give data=data."
        )
    return tuple(side for side in shape if side is not None)


def _select_signatures(model: TracedModel, signatures: Sequence[SignatureDefinition]) -> list[SignatureDefinition]:
    """The rows of the table that the model has, and the given ones."""
    for row in signatures:
        if not isinstance(row, SignatureDefinition):
            raise ValueError(f"signatures: expected each a tfae.signatures.SignatureDefinition; received {row!r}.")
    names = [row.name for row in (*SIGNATURES, *signatures)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"signatures: expected names that no other signature has; received {', '.join(twice)}.")
    return [row for row in (*SIGNATURES, *signatures) if row.is_available is None or row.is_available(model)]


def _describe(
    autoencoder: keras.Model,
    preprocessing: Preprocessing,
    data: Any,
    metrics: Mapping[str, Any] | None,
    calibration: Calibration | None,
) -> dict[str, Any]:
    """The description, of what JSON can hold."""
    if metrics is not None:
        metrics = {name: value.item() if isinstance(value, np.generic) else value for name, value in metrics.items()}
        for name, value in metrics.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                raise ValueError(
                    f"metrics: expected finite numbers by name; received {name}={value!r}. Leave it out, or give None."
                ) from None
    if hasattr(data, "describe"):
        data = data.describe()
    if data is not None:
        # How it was loaded holds paths of this machine, which are no business of whoever gets the model. How to read
        # other data alike is.
        arguments = data.get("arguments") or {}
        data = {name: value for name, value in data.items() if name != "arguments"}
        data |= {name: arguments[name] for name in AS_TRAINED if arguments.get(name) is not None}
    return {
        "format": FORMAT,
        "created": provenance.now(),
        "model": provenance.model(autoencoder, preprocessing.model_shape),
        "loss": provenance.loss(autoencoder),
        "preprocessing": preprocessing.get_config(),
        "data": data,
        "metrics": metrics,
        "calibration": None if calibration is None else calibration.describe(),
        "versions": provenance.versions(),
    }
