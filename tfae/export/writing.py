"""The files of a SavedModel, and the names that its inputs have there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel


def write_saved_model(module: tf.Module, folder: Path, functions: Mapping[str, Callable]) -> None:
    """Write a SavedModel with signatures; ValueError if these use what the module does not track."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # Or it says that assets were written to a folder that is about to be renamed.
    try:
        tf.saved_model.save(module, str(folder), signatures=dict(functions))
    except AssertionError as error:
        raise ValueError(
            "autoencoder: expected layers that hold no variables or lookup tables besides Keras's weights; received "
            f"one with {_untracked(str(error))}. Nothing was published. Make variables with add_weight, and look up "
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


def _untracked(message: str) -> str:
    """What a function uses, from TensorFlow's message that it is not there to be saved."""
    found = re.search("Trackable referencing this tensor = (.*)|Captured Tensor = (.*)", message)
    return (found[1] or found[2]).strip() if found else message.splitlines()[0]
