"""Operations of a graph that whoever loads or serves it should know of; found without running anything."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from tfae.servable.graph import Graph, Place, tensor_name
from tfae.servable.signatures import INIT_OP, assets_of, old_init_ops, read_meta_graph

_READS, _WRITES = "reads files", "writes files"
_PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
#: Kinds of operation by what they can do to the machine that runs them. The first match counts.
_DANGERS = (
    ("|".join(_PYTHON), "runs Python"),
    (r"ShardedFile(name|spec)", None),  # Text only.
    (
        r"ReadFile|MatchingFiles|RecordInput|LoadAndRemapMatrix|GenerateVocabRemapping|Restore(Slice|V2)?"
        r"|InitializeTableFromTextFile(V\d)?|InitializeTRTResource|DecodeProto(V\d)?|EncodeProto|FixedUnigramCandidateSampler"
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
    (r"Abort", "ends the process"),
    (r"DatasetFromGraph|DeserializeIterator", "runs a graph that can not be seen here"),
    (r"\w*(File|Checkpoint)\w*", "handles files"),  # Whatever TensorFlow may add.
)


@dataclasses.dataclass(frozen=True)
class Operation:
    """What in a SavedModel can do more than compute.

    Attributes:
        name: Of its node; of a link, the path in the folder of the version.
        op: Its kind, ``"WriteFile"``, or ``"link"``.
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

    What every SavedModel needs is not among them: restoring the variables from its own folder when it is loaded,
    writing them in a function that nothing but a saver calls, filling tables from its own assets when it is loaded.
    Links among its files that lead out of its folder are.

    Raises:
        tf.errors.OpError: If there is no SavedModel that can be read.
    """
    return dangerous_operations(read_meta_graph(path)) + _links(path)


def dangerous_operations(meta_graph: MetaGraphDef) -> list[Operation]:
    """As :func:`find_operations`, of a graph that has been read, without its files.

    Raises:
        tf.errors.OpError: If its list of assets is damaged.
    """
    graph = Graph(meta_graph)
    restore, init, answers = (_Places(graph, names) for names in _entries(meta_graph))
    save = _Places(graph, [meta_graph.saver_def.save_tensor_name])
    # Whoever loads the model puts its own paths in place of these tensors, but only while it does: what restores runs
    # with the name of the checkpoint, what initialises with those of the assets, and signatures with neither.
    given = {
        tensor_name(info.name) for signature in meta_graph.signature_def.values() for info in signature.inputs.values()
    }
    checkpoint = {tensor_name(meta_graph.saver_def.filename_tensor_name)} - given
    # An asset's name that leads out of the folder of the assets is no asset.
    assets, elsewhere = set[str](), set[str]()
    for asset in assets_of(meta_graph):
        outside = Path(asset.filename).is_absolute() or ".." in Path(asset.filename).parts
        (elsewhere if outside else assets).add(tensor_name(asset.tensor_info.name))
    assets -= elsewhere | given
    if any("Inplace" in node.op for _, node in [*restore, *init]):  # These change the paths themselves.
        checkpoint, assets = set(), set()
    library = {function.signature.name for function in meta_graph.graph_def.library.function}
    found = []
    for place in graph:
        scope, node = place
        # TensorFlow refuses functions that are called like operations; they do not hide the operation here.
        danger = None if node.op in library and not hasattr(tf.raw_ops, node.op) else _danger(node.op)
        if danger is None or _is_harmless(node):
            continue
        runs = place in restore, place in init, place in answers
        sources, allowed = set[str | None](), set[str]()
        if node.op == "RestoreV2" and runs == (True, False, False):
            sources, allowed = graph.sources(place, 0), checkpoint
        elif node.op.startswith("InitializeTableFromTextFile") and runs == (False, True, False):
            sources, allowed = graph.sources(place, 1, load=[*restore, *init], not_here=restore), assets
        if (sources and sources <= allowed) or (danger == _WRITES and place in save and not any(runs)):
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


class _Places:
    """The nodes that may run when tensors or operations are asked for."""

    def __init__(self, graph: Graph, tensors: Iterable[str]) -> None:
        self._places = list(graph.behind(tensors))
        self._keys = {(scope, node.name) for scope, node in self._places}

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def __contains__(self, place: Place) -> bool:
        return (place[0], place[1].name) in self._keys


def _entries(meta_graph: MetaGraphDef) -> tuple[list[str], list[str], list[str]]:
    """Tensors and operations that a server asks for: to restore variables, to initialise, and to answer."""
    init, answers = old_init_ops(meta_graph), list[str]()
    for name, signature in meta_graph.signature_def.items():
        (init if name == INIT_OP else answers).extend(info.name for info in signature.outputs.values())
    return [meta_graph.saver_def.restore_op_name], init, answers


def _is_harmless(node: NodeDef) -> bool:
    """Whether an operation that can handle files is told not to."""

    def text(attribute: str) -> bytes:
        # Asking a protobuf map for a key that it lacks would add it.
        return node.attr[attribute].s if attribute in node.attr else b""

    if node.op == "FixedUnigramCandidateSampler":
        return not text("vocab_file")
    if node.op == "PrintV2":
        return not text("output_stream").startswith(b"file:")
    if node.op in ("DecodeProtoV2", "EncodeProto"):
        return text("descriptor_source") in (b"", b"local://") or text("descriptor_source").startswith(b"bytes://")
    return False


def _links(path: Path) -> list[Operation]:
    """Files that are read with the model and lie, behind a link, elsewhere."""
    folder = path.resolve()
    files = [path / name for name in ("assets", "assets.extra", "variables")]
    files += [file for parent in files for file in sorted(parent.rglob("*"))]
    return [
        Operation(str(file.relative_to(path)), "link", None, "leads out of the folder of the SavedModel")
        for file in files
        if not _is_within(file, folder)
    ]


def _is_within(file: Path, folder: Path) -> bool:
    try:
        return file.resolve().is_relative_to(folder)
    except (OSError, RuntimeError):  # Links in a circle.
        return False


def _danger(op: str) -> str | None:
    for pattern, danger in _DANGERS:
        if re.fullmatch(pattern, op):
            return danger
    return None if hasattr(tf.raw_ops, op) else "is no public operation of this TensorFlow"
