"""Operations of a graph that whoever loads or serves it should know of; found without running anything."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from tfae.servable.graph import Graph, Place
from tfae.servable.signatures import old_init_ops, read_meta_graph

_READS, _WRITES = "reads files", "writes files"
_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
#: Kinds of operation by what they can do to the machine that runs them. The first match counts.
_DANGERS = (
    ("|".join(_PYTHON), "runs Python"),
    (r"ShardedFile(name|spec)", None),  # Text only.
    (
        r"ReadFile|MatchingFiles|RecordInput|LoadAndRemapMatrix|GenerateVocabRemapping|Restore(Slice|V2)?"
        r"|InitializeTableFromTextFile(V\d)?|FixedUnigramCandidateSampler"
        r"|(Experimental)?(TextLine|TFRecord|FixedLengthRecord|CSV|LMDB|MatchingFiles|Load|ListSnapshotChunks"
        r"|SnapshotChunk)Dataset(V\d)?"
        r"|(TextLine|TFRecord|FixedLengthRecord|WholeFile|LMDB|Snapshot(Nested)?Dataset)Reader(V\d)?",
        _READS,
    ),
    (
        r"WriteFile|Save(V2|Slices)?|DistributedSave|MergeV2Checkpoints|PrintV2|CreateSummary(File|Db)Writer"
        r"|Write\w*Summary|ImportEvent|(Experimental)?(DatasetToTFRecord|SaveDataset|SnapshotDataset|CacheDataset)(V\d)?",
        _WRITES,
    ),
    (
        r"Debug(Identity|NanCount|NumericSummary)(V\d)?|(Experimental)?(Sql|DataService)Dataset(V\d)?"
        r"|RegisterDataset(V\d)?|RemoteCall|Send|Recv|Collective\w+|WorkerHeartbeat|ConfigureDistributedTPU",
        "talks to other processes or databases",
    ),
    (r"DatasetFromGraph|DeserializeIterator", "runs a graph that can not be seen here"),
    (r"\w*(File|Checkpoint)\w*", "handles files"),  # Whatever TensorFlow may add.
)


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of a graph that can do more than compute.

    Attributes:
        name: Of its node.
        op: Its kind, ``"WriteFile"``.
        function: Name of the function that holds it; None if it is in the graph itself.
        danger: What it can do, ``"writes files"``.
    """

    name: str
    op: str
    function: str | None
    danger: str

    def __str__(self) -> str:
        return f"{self.op} ({self.danger}) at {self.name}" + (f" in {self.function}" if self.function else "")


def find_operations(path: Path) -> list[Operation]:
    """Operations with which the SavedModel in the folder ``path`` can read or write files, run Python and the like.

    What every SavedModel needs is not among them: restoring the variables from its own folder, writing them in a
    function that nothing but a saver calls, reading tables from its own assets.

    Raises:
        tf.errors.OpError: If there is no SavedModel that can be read.
    """
    return dangerous_operations(read_meta_graph(path))


def dangerous_operations(meta_graph: MetaGraphDef) -> list[Operation]:
    """As :func:`find_operations`, of a graph that has been read."""
    graph = Graph(meta_graph)
    may_run = {_key(place) for place in graph.behind(_entries(meta_graph))}
    saver_only = {_key(place) for place in graph.behind([meta_graph.saver_def.save_tensor_name])} - may_run
    # An asset's name that leads out of the folder of the assets is no asset.
    assets = {
        asset.tensor_info.name.partition(":")[0]
        for asset in meta_graph.asset_file_def
        if not Path(asset.filename).is_absolute() and ".." not in Path(asset.filename).parts
    }
    checkpoint = {meta_graph.saver_def.filename_tensor_name.partition(":")[0]}
    library = {function.signature.name for function in meta_graph.graph_def.library.function}
    found = []
    for scope, node in graph:
        danger = None if node.op in library else _danger(node.op)
        if danger is None:
            continue
        place = scope, node
        if (
            (danger == _WRITES and _key(place) in saver_only)
            or (node.op == "RestoreV2" and graph.sources(place, 0) <= checkpoint)
            or (node.op.startswith("InitializeTableFromTextFile") and graph.sources(place, 1) <= assets)
            or (node.op == "FixedUnigramCandidateSampler" and not node.attr["vocab_file"].s)
            or (node.op == "PrintV2" and not node.attr["output_stream"].s.startswith(b"file:"))
        ):
            continue
        found.append(Operation(node.name, node.op, scope, danger))
    return found


def refused_signatures(
    meta_graph: MetaGraphDef, *, xla_compilation_enabled: bool = False
) -> dict[str, tf.errors.OpError]:
    """Signatures that TensorFlow Serving does not run, each with its error; this TensorFlow would run them.

    It has no Python, and on a CPU compiles with XLA only if started with ``--xla_cpu_compilation_enabled``. The model
    becomes AVAILABLE all the same, and every request fails.
    """
    graph = Graph(meta_graph)
    refused: dict[str, tf.errors.OpError] = {}
    for name, signature in meta_graph.signature_def.items():
        for scope, node in graph.behind(info.name for info in signature.outputs.values()):
            if node.op in _PYTHON:
                message = (
                    f"No OpKernel was registered to support Op '{node.op}' used by {{{{node {node.name}}}}}\n"
                    "Registered devices: [CPU]\nRegistered kernels:\n  <no registered kernels>\n"
                )
                refused[name] = tf.errors.InvalidArgumentError(None, None, message)
                break
            if graph.is_compiled(node) and not xla_compilation_enabled:
                function = f"{{{{function_node {scope}}}}}" if scope else ""
                message = f"XLA compilation disabled\n\t [[{function}{{{{node {node.name}}}}}]]"
                refused[name] = tf.errors.InternalError(None, None, message)
                break
    return refused


def _entries(meta_graph: MetaGraphDef) -> list[str]:
    """Tensors and operations that a server asks for: to load the model, and to answer."""
    entries = [meta_graph.saver_def.restore_op_name]
    for signature in meta_graph.signature_def.values():
        entries += [info.name for info in signature.outputs.values()]
    return entries + old_init_ops(meta_graph)


def _danger(op: str) -> str | None:
    for pattern, danger in _DANGERS:
        if re.fullmatch(pattern, op):
            return danger
    return None if hasattr(tf.raw_ops, op) else "is no public operation of this TensorFlow"


def _key(place: Place) -> tuple[str | None, str]:
    return place[0], place[1].name
