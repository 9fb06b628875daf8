"""Loading one version of a model, and trying its warm-up requests."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from tfae.servable import INIT_OP, Servable, read_meta_graph, read_warmup
from tfae.servable.graph import Graph
from tfae.servable.signatures import old_init_ops
from tfae.serving.local.prediction import check_inputs, run_alone, signature_of, status_error
from tfae.serving.status import StatusError

#: Operations that call back into a Python process. The real server has no kernels for them; this process would.
_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")


def load(path: Path, *, allow_xla: bool = False) -> Servable:
    """Load the version in the folder ``path`` and send it its warm-up requests.

    Args:
        path: Folder with ``saved_model.pb``.
        allow_xla: Whether signatures compiled by XLA may run.

    Raises:
        StatusError: If it cannot be loaded, or a single warm-up request fails, as in TensorFlow Serving.
    """
    try:
        _refuse_python(read_meta_graph(path))
        servable = Servable(path, xla_compilation_enabled=allow_xla)
    except tf.errors.OpError as error:
        raise status_error(error) from error
    except (ValueError, TypeError, KeyError, IndexError) as error:  # A graph that TensorFlow's importer trips over.
        raise StatusError("INVALID_ARGUMENT", f"{path}: {error}") from error
    try:
        _warm_up(servable, path)
    except BaseException:
        servable.close()
        raise
    return servable


def _refuse_python(meta_graph: MetaGraphDef) -> None:
    """Refuse a model that would run Python while it is loaded; what signatures do, the servable sees to.

    Raises:
        StatusError: In the words of a server that has no Python.
    """
    entries = [meta_graph.saver_def.restore_op_name, *old_init_ops(meta_graph)]
    if INIT_OP in meta_graph.signature_def:
        entries += [info.name for info in meta_graph.signature_def[INIT_OP].outputs.values()]
    for _, node in Graph(meta_graph).behind(entries):
        if node.op in _PYTHON:
            raise StatusError(
                "INVALID_ARGUMENT",
                f"No OpKernel was registered to support Op '{node.op}' used by {{{{node {node.name}}}}}\nRegistered "
                "devices: [CPU]\nRegistered kernels:\n  <no registered kernels>\n",
            )


def _warm_up(servable: Servable, path: Path) -> None:
    """Send every recorded request once; the answers do not matter."""
    try:
        for request in read_warmup(path):
            signature = signature_of(servable, request.signature)
            check_inputs(signature, request.inputs)
            run_alone(servable, signature.name, request.inputs)
    except tf.errors.OpError as error:
        raise status_error(error) from error
