"""A SavedModel in a TensorFlow session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import final

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.config_pb2 import CallableOptions
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef

from tfae.servable.meta_graph import (
    lacks_variables,
    list_old_init_ops,
    list_signatures,
    read_meta_graph,
    unservable_signatures,
)
from tfae.tensor_spec import INIT_OP, Signature


@final
class Servable:
    """The signatures of a SavedModel, loaded and run in the way of TensorFlow Serving.

    As there, neither shapes nor values of requests are compared with the signature; what does not fit fails in a
    kernel, or in the checks that the model's author put into the graph. Eager execution is left as it is. What the
    session holds is given back when nobody refers to the object any more.

    Args:
        path: Folder of the version.
        config: Of the session. By default operations move to a device that has them, and GPU memory grows.
        xla_compilation_enabled: Whether functions with ``jit_compile=True`` may run. Servers on a CPU refuse them
            unless started with ``--xla_cpu_compilation_enabled``.

    Attributes:
        signatures: For clients, by name.
        signature_def_map: The messages they come from, that of the init op included.
        defect: Why requests will fail although it was loaded, or None.

    Raises:
        tf.errors.OpError: If it can not be loaded; code and message are, where possible, those of the server.
        ValueError: If its graph is not one that this TensorFlow knows.
    """

    def __init__(
        self,
        path: Path,
        *,
        config: tf.compat.v1.ConfigProto | None = None,
        xla_compilation_enabled: bool = False,
    ) -> None:
        if config is None:
            config = tf.compat.v1.ConfigProto(allow_soft_placement=True)
            config.gpu_options.allow_growth = True
        self.path = path
        meta_graph = read_meta_graph(path)
        self.signature_def_map: Mapping[str, SignatureDef] = dict(meta_graph.signature_def)
        self.signatures: dict[str, Signature] = list_signatures(meta_graph)
        self.defect: str | None = None
        if lacks_variables(path, meta_graph):
            self.defect = f"{path} has no variables/variables.index, and so no weights. Copy the whole folder again"
        self._unservable = unservable_signatures(meta_graph, xla_compilation_enabled=xla_compilation_enabled)
        if INIT_OP in self._unservable:
            raise self._unservable[INIT_OP]
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        self._callables: dict[str, Callable[..., list]] = {}
        try:
            with self._session.graph.as_default():
                tf.graph_util.import_graph_def(
                    meta_graph.graph_def, name="", producer_op_list=meta_graph.meta_info_def.stripped_op_list
                )
            self._initialize(meta_graph)
        except (KeyError, TypeError, IndexError) as error:
            # What TensorFlow's importer trips over, or a tensor to be fed or run that the graph does not have.
            raise ValueError(
                f"path: expected a SavedModel whose graph TensorFlow can load; received {path} ({error})."
            ) from error

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Ask a signature, from any thread, with all inputs by name in its dtypes; strings are object arrays of bytes.

        Raises:
            tf.errors.OpError: With code and message of the kernel that failed.
        """
        if signature in self._unservable:
            error = self._unservable[signature]
            raise type(error)(None, None, error.message)  # An error of its own for every thread.
        spec = self.signatures[signature]
        if signature not in self._callables:
            self._callables[signature] = self._make_callable(spec)
        results = self._callables[signature](*(inputs[name] for name in spec.inputs))
        # Values without axes come as scalars; as an array, bytes would lose trailing zeros.
        arrays = [np.array(each, object) if isinstance(each, bytes) else np.asarray(each) for each in results]
        return dict(zip(spec.outputs, arrays, strict=True))

    def _initialize(self, meta_graph: MetaGraphDef) -> None:
        """Restore the variables and run the init op, in the order of the server."""
        saver, variables = meta_graph.saver_def, self.path / "variables" / "variables"
        files = {asset.tensor_info.name: asset.filename for asset in meta_graph.asset_file_def}
        assets = {name: str(self.path / "assets" / file) for name, file in files.items()}
        # Without variables a server loads the graph alone, and says AVAILABLE.
        if saver.restore_op_name and variables.with_name("variables.index").is_file():
            self._session.run(saver.restore_op_name, {saver.filename_tensor_name: str(variables)})
        init_ops = list_old_init_ops(meta_graph)
        if INIT_OP in self.signature_def_map:
            init_ops = [info.name for info in self.signature_def_map[INIT_OP].outputs.values()]
        for name in init_ops[:1]:
            self._session.run(name.partition(":")[0], assets)

    def _make_callable(self, signature: Signature) -> Callable[..., list]:
        """A function of the inputs, in the order of the signature, that gives the outputs."""
        definition = self.signature_def_map[signature.name]
        options = CallableOptions(
            feed=[definition.inputs[name].name for name in signature.inputs],
            fetch=[definition.outputs[name].name for name in signature.outputs],
        )
        # The thread that asks runs the graph, which saves a change of threads: 36 µs instead of 94 for a small model.
        options.run_options.inter_op_thread_pool = -1
        # Session.run and make_callable compare feeds with the shapes of the placeholders, which the server does not,
        # and take ten times as long.
        return self._session._make_callable_from_options(options)
