"""The signatures of a SavedModel, read from its file: nothing is loaded into TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef, MetaGraphDef, SignatureDef, TensorInfo
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfae.tensor_spec import Signature, TensorSpec

#: Signature that sets up tables and the like when a SavedModel is loaded; not for clients.
INIT_OP = "__saved_model_init_op"


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


def parse_signatures(signature_def_map: Mapping[str, SignatureDef]) -> dict[str, Signature]:
    """Signatures for clients, by name, sorted; the init op is left out. ValueError if one has no dtype."""
    return {
        name: Signature(name, _parse_tensors(definition.inputs), _parse_tensors(definition.outputs))
        for name, definition in sorted(signature_def_map.items())
        if name != INIT_OP
    }


def _parse_tensors(infos: Mapping[str, TensorInfo]) -> dict[str, TensorSpec]:
    specs = {}
    for name, info in sorted(infos.items()):
        shape = info.tensor_shape
        sides = None if shape.unknown_rank else tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)
        try:
            specs[name] = TensorSpec(tf.as_dtype(info.dtype).base_dtype.name, sides)
        except TypeError:
            raise ValueError(
                f"signature: expected a dtype of TensorFlow; received number {info.dtype} for the tensor "
                f"{info.name!r}. The SavedModel is damaged, or of a newer TensorFlow."
            ) from None
    return specs


def list_assets(meta_graph: MetaGraphDef) -> list[AssetFileDef]:
    """The files of a SavedModel whose paths its graph is given; TensorFlow 1 wrote the list elsewhere.

    Raises:
        tf.errors.OpError: If that list is damaged.
    """
    if meta_graph.asset_file_def or "saved_model_assets" not in meta_graph.collection_def:
        return list(meta_graph.asset_file_def)
    found = []
    for packed in meta_graph.collection_def["saved_model_assets"].any_list.value:
        asset = AssetFileDef()
        try:
            unpacked = packed.Unpack(asset)
        except DecodeError:
            unpacked = False
        if not unpacked:
            raise tf.errors.DataLossError(None, None, "Can't parse the list of assets in the SavedModel")
        found.append(asset)
    return found


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


def read_signatures(path: Path) -> dict[str, Signature]:
    """Signatures of the SavedModel in the folder ``path``; raises as :func:`read_meta_graph` does, and ValueError."""
    return parse_signatures(read_meta_graph(path).signature_def)
