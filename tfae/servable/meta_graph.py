"""The graph of a SavedModel, read from its file and not loaded: its signatures, and what servers refuse to run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from tfae.tensor_spec import INIT_OP, Signature, read_signatures

#: Operations that call back into a Python process.
PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


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
    """Whether variables lack their file: a server loads the graph, says AVAILABLE, and fails every request."""
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


def unservable_signatures(
    meta_graph: MetaGraphDef, *, xla_compilation_enabled: bool = False
) -> dict[str, tf.errors.OpError]:
    """Signatures that TensorFlow Serving does not run, each with its error.

    It has no Python, and on a CPU compiles with XLA only if started with ``--xla_cpu_compilation_enabled``. The model
    becomes AVAILABLE all the same, and every request fails; unless INIT_OP is among them, which stands for all that
    loading it runs.
    """
    tensors = {
        name: [info.name for info in signature.outputs.values()] for name, signature in meta_graph.signature_def.items()
    }
    tensors[INIT_OP] = [*tensors.get(INIT_OP, ()), meta_graph.saver_def.restore_op_name, *list_old_init_ops(meta_graph)]
    refusals = {name: _refusal(meta_graph, tensors[name], xla=xla_compilation_enabled) for name in tensors}
    return {name: error for name, error in refusals.items() if error is not None}


def node_name(tensor: str) -> str:
    """``"node"`` of ``"node:0"``, ``"node:output:0"`` and ``"^node"``."""
    return tensor.lstrip("^").partition(":")[0]


def _refusal(meta_graph: MetaGraphDef, tensors: Iterable[str], *, xla: bool) -> tf.errors.OpError | None:
    """The error of the first node that is refused, of all that may run when ``tensors`` or operations are asked for."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
    waiting = [(False, nodes.pop(name)) for name in map(node_name, tensors) if name in nodes]
    entered = set[str]()
    while waiting:
        in_function, node = waiting.pop()
        if node.op in PYTHON:
            message = f"No OpKernel was registered to support Op '{node.op}' used by {{{{node {node.name}}}}}"
            return tf.errors.InvalidArgumentError(None, None, message)
        called = [name for name in (node.op, *_mentioned(node.attr)) if name in functions]
        attributes = [node.attr, *(functions[name].attr for name in called)]
        # Asking a protobuf map for a key that it lacks would add it.
        if not xla and any("_XlaMustCompile" in given and given["_XlaMustCompile"].b for given in attributes):
            return tf.errors.InternalError(None, None, "XLA compilation disabled")
        if not in_function:
            waiting += [(False, nodes.pop(name)) for name in map(node_name, node.input) if name in nodes]
        for name in set(called) - entered:
            entered.add(name)
            waiting += [(True, inner) for inner in functions[name].node_def]
    return None


def _mentioned(attributes: Mapping[str, AttrValue]) -> Iterator[str]:
    """Names of the functions in attributes of a node, and in attributes of theirs."""
    for value in attributes.values():
        for function in (value.func, *value.list.func):
            yield function.name
            yield from _mentioned(function.attr)
