"""The signatures of a SavedModel, read from its file: nothing is loaded into TensorFlow."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfae.tensor_spec import Signature, read_signatures


def read_meta_graph(path: Path) -> MetaGraphDef:
    """The graph that servers load, the one with the tag ``serve``, of the SavedModel in the folder ``path``.

    Raises:
        tf.errors.OpError: With code and message of TensorFlow Serving: NotFoundError if there is no SavedModel, or
            none with that tag, DataLossError if its file is damaged.
    """
    file = path / "saved_model.pb"
    try:
        content = file.read_bytes()
    except OSError:
        raise tf.errors.NotFoundError(
            None, None, f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}"
        ) from None
    model = SavedModel()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise tf.errors.DataLossError(None, None, f"Can't parse {file} as binary proto") from None
    for meta_graph in model.meta_graphs:
        if list(meta_graph.meta_info_def.tags) == ["serve"]:
            return meta_graph
    raise tf.errors.NotFoundError(
        None, None, f"Could not find meta graph def matching supplied tags: {{ serve }} in {path}"
    )


def list_signatures(meta_graph: MetaGraphDef) -> dict[str, Signature]:
    """Signatures for clients, by name, sorted; the init op is left out."""
    definitions = meta_graph.signature_def.items()
    return read_signatures({name: MessageToDict(each, preserving_proto_field_name=True) for name, each in definitions})


def lacks_variables(path: Path, meta_graph: MetaGraphDef) -> bool:
    """Whether the graph of the SavedModel in the folder ``path`` has variables, and the file of their values is gone.

    A server loads the graph all the same, says AVAILABLE, and fails every request.
    """
    has_variables = bool(meta_graph.saver_def.restore_op_name) and any(
        node.op in ("VarHandleOp", "VariableV2") for node in meta_graph.graph_def.node
    )
    return has_variables and not (path / "variables" / "variables.index").is_file()


def list_old_init_ops(meta_graph: MetaGraphDef) -> list[str]:
    """Names of the operations that TensorFlow 1 wrote in place of INIT_OP; the first is the one to run."""
    collections = ("saved_model_main_op", "legacy_init_op")
    # Asking a protobuf map for a key that it lacks would add it.
    found = [meta_graph.collection_def[name] for name in collections if name in meta_graph.collection_def]
    return [name for collection in found for name in collection.node_list.value]
