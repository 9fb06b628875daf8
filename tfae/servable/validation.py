"""What TensorFlow Serving refuses to run and this TensorFlow would run: Python, and what XLA must compile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from tfae.servable.meta_graph import list_old_init_ops
from tfae.tensor_spec import INIT_OP

#: Operations that call back into a Python process.
PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


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
