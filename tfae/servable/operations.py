"""Operations of a graph that may do more than compute, found without running anything."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

from tfae.servable.meta_graph import PYTHON, list_old_init_ops, node_name, read_meta_graph

#: What models of tfae and of Keras are made of, in any version and with the gradients: expressions that name no
#: operation of TensorFlow which reaches files, processes, the network, Python, or memory that is not the model's.
_COMPUTES = r"""
# Values, calls and control flow
Assert Case CheckNumerics Const DeviceIndex EnsureShape Enter Exit FakeParam IdentityN? If LoopCond Merge NextIteration
NoOp Placeholder(WithDefault)? PreventGradient Snapshot (Stateful)?PartitionedCall StopGradient Switch While
# Variables, tables, and lists of tensors
(Anonymous)?(Mutable)?(Dense)?HashTable(OfTensors)? Assign(Add|Sub)?VariableOp DestroyResourceOp DisableCopyOnRead
EmptyTensorList InitializeTable LookupTable\w+ ReadVariableOp Resource(Gather|Scatter)\w* ResourceStridedSliceAssign
TensorArray\w* TensorList\w+ VarHandleOp VariableShape VarIsInitializedOp
# Shapes, and elements by index
BatchToSpace(ND)? Bitcast Broadcast\w+ Concat(Offset)? ConjugateTranspose DepthToSpace Diag(Part)? DynamicPartition
ExpandDims Fill Gather(Nd)? InvertPermutation LinSpace ListDiff LowerBound MirrorPad OneHot OnesLike Pack Pad
(Parallel)?DynamicStitch Range Rank Reshape Reverse(Sequence)? Roll ScatterNd(NonAliasingAdd)? Select ShapeN? Size Slice
SpaceToBatch(ND)? SpaceToDepth SplitV? Squeeze StridedSlice Tensor(Scatter|StridedSlice)\w+ Tile Transpose
Unique(WithCounts)? Unpack UnravelIndex UpperBound Where XlaDynamicUpdateSlice ZerosLike
# Arithmetic by element
Abs AccumulateN Acosh? AddN? Angle ApproximateEqual Asinh? Atan[2h]? Bessel\w+ Betainc Bitwise(And|Or|Xor) Cast Ceil
ClipByValue Complex(Abs)? Conj Cosh? Cross Digamma Div(NoNan)? Equal Erf(c|inv)? Exp(m1)? Floor(Div|Mod)?
Greater(Equal)? Igammac? Imag Invert Is(Finite|Inf|Nan) LeftShift Less(Equal)? Lgamma Log(1p)? Logical(And|Not|Or)
Maximum Minimum Mod Mul(NoNan)? Ndtri Neg NextAfter NotEqual Polygamma PopulationCount Pow Real(Div)? Reciprocal
RightShift Rint Round Rsqrt Sign Sinh? Sqrt Square SquaredDifference Sub Tanh? Truncate(Div|Mod) Xdivy Xlog1py Xlogy
Zeta
# Reductions, order and counts
All Any Arg(Max|Min) Bucketize Cumprod Cumsum CumulativeLogsumexp (Dense|Ragged|Sparse)?Bincount EuclideanNorm
HistogramFixedWidth InTopK Max Mean Min NthElement Prod (Sparse|Unsorted)?Segment\w+ Sum TopK
# Layers and losses
(Avg|Max)Pool(3D|WithArgmax)? BiasAdd (Conv2D|Conv3D|DepthwiseConv2dNative)(Backprop(Filter|Input))? CTC\w+ CudnnRNN\w*
DataFormat(DimMap|VecPermute) Dilation2D Elu Extract(Image|Volume)Patches FakeQuantWithMinMax(Args|Vars(PerChannel)?)
Fractional(Avg|Max)Pool FusedBatchNorm L2Loss LeakyRelu LogSoftmax LRN QuantizeAndDequantize Relu6? Selu Sigmoid Softmax
Softplus Softsign (Sparse)?SoftmaxCrossEntropyWithLogits
# Matrices and spectra
BandedTriangularSolve BatchMatMul Cholesky Eig Einsum I?R?FFT([23N]D)? LogMatrixDeterminant Lu MatMul Matrix\w+ Qr
SelfAdjointEig Svd Tridiagonal(MatMul|Solve)
# Images, sound, and what requests hold
Adjust(Contrast|Hue|Saturation)(v2)? AudioSpectrogram (Combined)?NonMaxSuppression\w* CropAndResize
Decode(AndCropJpeg|Base64|Bmp|Compressed|CSV|Gif|Image|Jpeg|JSONExample|PaddedRaw|Png|Raw|Wav) DrawBoundingBoxes
Encode(Base64|Jpeg|Png|Wav) Extract(Glimpse|JpegShape) HSVToRGB ImageProjectiveTransform Mfcc
Parse(Single)?(Sequence)?Example ParseTensor Resize\w+ RGBToHSV ScaleAndTranslate SerializeTensor
# Text
AsString Fingerprint ReduceJoin ShardedFilename (Static)?Regex(FullMatch|Replace) String\w+ Substr Unicode\w+
# Ragged and sparse tensors
DenseTo(Dense|Sparse)SetOperation (Dense|Ragged|Sparse)CountSparseOutput (Deserialize|Serialize)(Many)?Sparse Ragged\w+
SetSize Sparse(Add|Concat|Cross|CrossHashed|DenseCwise\w+|FillEmptyRows|MatMul|Reduce\w+|Reorder|Reshape|Slice|Softmax)
Sparse(SparseMaximum|SparseMinimum|Split|TensorDense\w+|ToDense|ToSparseSetOperation)
# Random numbers
Multinomial (Parameterized)?TruncatedNormal Random(Gamma|Poisson|Shuffle|StandardNormal|Uniform|UniformInt)
Rng(ReadAndSkip|Skip) Stateful(RandomBinomial|StandardNormal|TruncatedNormal|Uniform\w*) Stateless\w+
"""
_COMPUTING = re.compile(rf"({'|'.join(re.sub('#.*', '', _COMPUTES).split())})(Grad)?(V\d)?")


def find_operations(path: Path) -> list[str]:
    """What in the SavedModel in the folder ``path`` may do more than compute, each in words; nothing of it is run.

    That is every operation that is not known to only compute, in the graph or in any function, whether or not anything
    calls it, but for what the saver needs; and links that lead out of the folder. A table that is filled from a file is
    among them, even from one of the model's own: there are too many ways to change which file that is.

    Raises:
        tf.errors.OpError: If there is no SavedModel that can be read.
    """
    folder = path.resolve()
    links = [
        f"link (leads out of the folder of the SavedModel) at {file.relative_to(folder)}"
        for file in sorted(folder.rglob("*"))
        if file.is_symlink() and not Path(os.path.realpath(file)).is_relative_to(folder)
    ]
    return dangerous_operations(read_meta_graph(path)) + links


def dangerous_operations(meta_graph: MetaGraphDef) -> list[str]:
    """As :func:`find_operations`, of a graph that has been read, without its files."""
    saves, restores = _saver_functions(meta_graph)
    places = [("", "", node) for node in meta_graph.graph_def.node]
    for function in meta_graph.graph_def.library.function:
        prefix = function.signature.input_arg[0].name if function.signature.input_arg else ""
        places += [(function.signature.name, prefix, node) for node in function.node_def]
    return [
        f"{node.op} ({'runs Python' if node.op in PYTHON else 'unknown, may do anything'}) at {node.name}"
        + (f" in {function}" if function else "")
        for function, prefix, node in places
        if not _COMPUTING.fullmatch(node.op)
        and not (function == saves and node.op in ("SaveV2", "MergeV2Checkpoints"))
        and not (function == restores and node.op == "RestoreV2" and node.input[:1] == [prefix])
    ]


def _saver_functions(meta_graph: MetaGraphDef) -> list[str | None]:
    """The functions with which the saver, and nothing else, saves variables and restores them.

    Whoever loads a model asks for ``restore_op_name``, with a path of its own in place of ``filename_tensor_name``;
    whoever serves it never asks for ``save_tensor_name``. So the second function may read the file that its first
    argument names, if that is this tensor, and the first may write, if nothing else can run them.
    """
    graph_def, saver = meta_graph.graph_def, meta_graph.saver_def
    others = [name for node in graph_def.node for name in node.input] + list_old_init_ops(meta_graph)
    others += [info.name for signature in meta_graph.signature_def.values() for info in signature.outputs.values()]
    calls = {node.name: node for node in graph_def.node if node.op == "StatefulPartitionedCall"}
    for name in map(node_name, others):
        calls.pop(name, None)
    restore = calls.pop(node_name(saver.restore_op_name), None)  # And is not what saves, too.
    save = calls.get(node_name(saver.save_tensor_name))
    if restore is not None and restore.input[:1] != [saver.filename_tensor_name.removesuffix(":0")]:
        restore = None
    names = [call.attr["f"].func.name if call is not None else "" for call in (save, restore)]
    # Named twice, by itself and in the call, a function is no branch and no gradient either. TensorFlow may also put a
    # function in the place of another that says that it implements the same.
    content = graph_def.SerializeToString()
    substitutes = {
        function.signature.name for function in graph_def.library.function if "api_implements" in function.attr
    }
    return [name if name not in substitutes and content.count(name.encode()) == 2 else None for name in names]
