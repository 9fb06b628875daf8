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
from tfae.export.publication import name_inputs, publish, write_saved_model
from tfae.export.saved_autoencoder import SavedAutoencoder
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
    names = {name: _names_of(before, name) for name in before.signatures}
    names["detect"] = names["score"]
    functions = {name: _trace(function, names[name], calibration, name) for name, function in rows.items()}
    golden = list(_expect(before, read_warmup(model.path), calibration))
    description = {**model.description, "calibration": calibration.describe(), "created": provenance.now()}

    def write(folder: Path) -> None:
        write_saved_model(module, folder, functions)
        name_inputs(folder, names)
        write_golden(folder, golden, model_name=model.path.parent.name)
        validate_parity(folder, golden)
        text = json.dumps(description, indent=2, allow_nan=False) + "\n"
        (folder / DESCRIPTION).write_text(text, encoding="utf-8")

    return publish(model.path.parent, write)


def _names_of(servable: Servable, signature: str) -> dict[str, str]:
    """Names of the inputs of a signature by what they are called in the graph, ``<signature>_<name>:0``."""
    inputs = servable.signature_def_map[signature].inputs
    return {info.name.rpartition(":")[0].removeprefix(f"{signature}_"): name for name, info in inputs.items()}


def _trace(function: Any, names: Mapping[str, str], calibration: Calibration, signature: str) -> Callable:
    """The concrete function of a signature, for ``tf.saved_model.save``, with alarms if it gives them."""
    kinds = function.structured_input_signature[1]
    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in kinds.items()}

    def call(**given: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = function(**given)
        if signature not in _DETECTING:
            return outputs
        return _judge({names[name]: tensor for name, tensor in given.items()}, outputs, calibration)

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
