"""The signatures of a SavedModel, read from its file: nothing is loaded into TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef, MetaGraphDef, SignatureDef
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo as TensorInfoProto
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

#: Signature that sets up tables and the like when a SavedModel is loaded; not for clients.
INIT_OP = "__saved_model_init_op"


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """An input or output of a signature.

    Attributes:
        tensor_name: Its name in the graph, ``"node:0"``.
        dtype: Its dtype.
        shape: Its sides, None for one of any length; None as a whole if even the rank is unknown.
    """

    tensor_name: str
    dtype: tf.DType
    shape: tuple[int | None, ...] | None

    @classmethod
    def from_proto(cls, proto: TensorInfoProto) -> TensorInfo:
        """What a ``TensorInfo`` message of a SavedModel says.

        Raises:
            ValueError: If its dtype is none.
        """
        shape = proto.tensor_shape
        sides = None if shape.unknown_rank else tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)
        try:
            dtype = tf.as_dtype(proto.dtype)
        except TypeError:
            raise ValueError(
                f"signature: expected a dtype of TensorFlow; received number {proto.dtype} for the tensor "
                f"{proto.name!r}. The SavedModel is damaged, or of a newer TensorFlow."
            ) from None
        return cls(proto.name, dtype, sides)

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype.name} of any shape"
        first = ["batch" if side is None else str(side) for side in self.shape[:1]]
        sides = first + ["any" if side is None else str(side) for side in self.shape[1:]]
        return f"{self.dtype.name} ({', '.join(sides)})"


@dataclasses.dataclass(frozen=True)
class Signature:
    """A function that a server offers.

    Attributes:
        name: What requests call it.
        method_name: Its kind, ``"tensorflow/serving/predict"`` for all that tfae writes.
        inputs: By name, sorted.
        outputs: By name, sorted.
    """

    name: str
    method_name: str
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


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
        name: Signature(
            name,
            signature.method_name,
            {key: TensorInfo.from_proto(info) for key, info in sorted(signature.inputs.items())},
            {key: TensorInfo.from_proto(info) for key, info in sorted(signature.outputs.items())},
        )
        for name, signature in sorted(signature_def_map.items())
        if name != INIT_OP
    }


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


def list_old_init_ops(meta_graph: MetaGraphDef) -> list[str]:
    """Names of the operations that TensorFlow 1 wrote in place of INIT_OP; the first is the one to run."""
    collections = ("saved_model_main_op", "legacy_init_op")
    # Asking a protobuf map for a key that it lacks would add it.
    found = [meta_graph.collection_def[name] for name in collections if name in meta_graph.collection_def]
    return [name for collection in found for name in collection.node_list.value]


def read_signatures(path: Path) -> dict[str, Signature]:
    """Signatures of the SavedModel in the folder ``path``; raises as :func:`read_meta_graph` does, and ValueError."""
    return parse_signatures(read_meta_graph(path).signature_def)
