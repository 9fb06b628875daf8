"""Another calibration of a published SavedModel: a new version of the same graph and weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfae import provenance
from tfae.export.golden_requests import GoldenRequest
from tfae.export.inspection import DESCRIPTION
from tfae.export.parity import validate_parity, write_golden
from tfae.export.publication import publish
from tfae.export.saved_autoencoder import SavedAutoencoder
from tfae.export.traced_model import graph_names
from tfae.export.writing import name_inputs, write_saved_model
from tfae.servable import Request, Servable, read_warmup
from tfae.signatures import SIGNATURES

if TYPE_CHECKING:
    from tfae.detection import Calibration

#: The signatures that give alarms beside scores, if there is a calibration.
_DETECTING = tuple(row.name for row in SIGNATURES if "is_outlier" in row.outputs)


def recalibrate(model: SavedAutoencoder, calibration: Calibration) -> Path:
    """Publish an exported model once more, with another calibration or its first one, under the next version number.

    All signatures answer as before, but for p-values and alarms; its golden requests are asked once more.

    Args:
        model: From :func:`tfae.export.load`, which finds it harmless.
        calibration: Of scores of that model, from :func:`tfae.detection.calibrate_scores`.

    Returns:
        Path of the new version.

    Raises:
        ValueError: If the calibration is by a column that the model does not take, or an answer differs.
    """
    categories = [column.name for column in model.columns if column.kind == "category"]
    if calibration.column is not None and calibration.column not in categories:
        raise ValueError(
            f"by: expected a column of categories, {', '.join(categories) or 'of which the model takes none'}; "
            f"received {calibration.column!r}."
        )
    loaded, before = tf.saved_model.load(str(model.path)), Servable(model.path)
    module = tf.Module(name="autoencoder")
    module.model_variables, module.tables = loaded.model_variables, loaded.tables
    rows = {**loaded.signatures, "detect": loaded.signatures["score"]}
    functions = {name: _trace(function, calibration, name) for name, function in rows.items()}
    of_signatures = {name: graph_names(_inputs_of(function)) for name, function in rows.items()}
    golden = list(_expect(before, read_warmup(model.path), calibration))
    description = {**model.description, "calibration": calibration.describe(), "created": provenance.now()}

    def write(folder: Path) -> None:
        write_saved_model(module, folder, functions)
        name_inputs(folder, of_signatures)
        write_golden(folder, golden, model_name=model.path.parent.name)
        validate_parity(folder, golden)
        text = json.dumps(description, indent=2, allow_nan=False) + "\n"
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")

    return publish(model.path.parent, write)


def _inputs_of(function: Any) -> dict[str, tf.TensorSpec]:
    return function.structured_input_signature[1]


def _trace(function: Any, calibration: Calibration, name: str) -> Callable:
    """The concrete function of a signature, for ``tf.saved_model.save``, with alarms if it gives them."""
    kinds = _inputs_of(function)
    names = graph_names(kinds)
    specs = {key: tf.TensorSpec(kinds[original].shape, kinds[original].dtype, key) for key, original in names.items()}

    def call(**given: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = {names[key]: tensor for key, tensor in given.items()}
        outputs = function(**inputs)
        return _judge(inputs, outputs, calibration) if name in _DETECTING else outputs

    return tf.function(call, autograph=False).get_concrete_function(**specs)


def _judge(inputs: Mapping[str, Any], outputs: Mapping[str, Any], calibration: Calibration) -> dict[str, tf.Tensor]:
    """The score among the outputs of a signature, with its p-value and alarm."""
    score, column, groups = outputs["instance_score"], calibration.column, None
    if column is not None and column in inputs:
        groups = tf.strings.strip(inputs[column])
    elif column is not None:
        groups = tf.io.parse_example(inputs["examples"], {column: tf.io.FixedLenFeature([], tf.string, "")})[column]
        groups = tf.strings.strip(groups)
    return {"instance_score": score, **calibration.judge(score, groups)}


def _expect(before: Servable, requests: list[Request], calibration: Calibration) -> Iterator[GoldenRequest]:
    """The requests that the version before was published with, and what the new one has to answer."""
    requests = [each for each in requests if each.signature != "detect"]
    requests += [Request("detect", each.inputs) for each in requests if each.signature == "score"]
    first = 0
    for request in requests:
        asked = "score" if request.signature == "detect" else request.signature
        expected = before.run(asked, request.inputs)
        if request.signature in _DETECTING:
            judged = _judge(request.inputs, expected, calibration)
            expected = {name: np.asarray(tensor) for name, tensor in judged.items()}
        size = len(next(iter(request.inputs.values())))
        slack = {
            name: np.zeros(array.shape, "float64" if array.dtype.kind == "f" else bool)
            for name, array in expected.items()
        }
        yield GoldenRequest(request, tuple(range(first, first + size)), expected, slack)
        first += size
