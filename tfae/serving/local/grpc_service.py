"""TensorFlow Serving's gRPC services, PredictionService and ModelService."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, final

import grpc
import grpc.aio
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, get_model_status_pb2, predict_pb2, regression_pb2
from tensorflow_serving.apis import get_model_metadata_pb2 as metadata_pb2

from tfae.serving.local.models import Models, ModelVersion
from tfae.serving.local.prediction import find_signature, run, validate_inputs
from tfae.serving.status import ModelSpec, StatusError

if TYPE_CHECKING:
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    from tfae.tensor_spec import Signature

_LOG = logging.getLogger("tfae.serving")

#: Clients drop trailers of more than 8 KiB, in which a byte may take three, and the error with them.
_MAX_ERROR_BYTES = 2560

#: Fields of a ``TensorProto`` by the NumPy name of the dtype of their values.
_FIELDS = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val"}
_FIELDS |= dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val")
_FIELDS |= {"uint32": "uint32_val", "uint64": "uint64_val", "float16": "half_val", "bfloat16": "half_val"}
_FIELDS |= {"complex64": "scomplex_val", "complex128": "dcomplex_val", "object": "string_val"}


@final
class GrpcService:
    """The methods of both services; predictions run in the threads of ``pool``."""

    def __init__(self, models: Models, pool: Executor, *, max_request_bytes: int) -> None:
        self._models = models
        self._pool = pool
        # A request may be smaller than its tensors, as one value may fill a tensor.
        self._max_tensor_bytes = 4 * max_request_bytes

    def build_handlers(self) -> list[grpc.GenericRpcHandler]:
        """Build the handlers for a server of ``grpc.aio``, which answers all other methods with UNIMPLEMENTED."""
        prediction = {
            "Predict": self._make_handler(predict_pb2.PredictRequest, self._predict),
            "GetModelMetadata": self._make_handler(metadata_pb2.GetModelMetadataRequest, self._metadata),
            "Classify": self._make_handler(classification_pb2.ClassificationRequest, _reject_examples),
            "Regress": self._make_handler(regression_pb2.RegressionRequest, _reject_examples),
        }
        states = self._make_handler(
            get_model_status_pb2.GetModelStatusRequest, lambda request: list_states(self._models, _read_spec(request))
        )
        return [
            grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", prediction),
            grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", {"GetModelStatus": states}),
        ]

    def _make_handler(self, request_type: Any, respond: Callable[[Any], Any]) -> grpc.RpcMethodHandler:
        pool = self._pool if respond == self._predict else None  # A status does not wait for predictions.

        def respond_to(raw: bytes) -> bytes:
            return bytes(respond(request_type.FromString(raw)).SerializeToString())

        async def handle(raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
            try:
                return await asyncio.get_running_loop().run_in_executor(pool, respond_to, raw)
            except StatusError as error:
                failure = error
            except DecodeError as error:
                failure = StatusError("INTERNAL", f"message: expected a {request_type.__name__}; {error}.")
            except Exception as error:
                _LOG.exception("gRPC %s failed", request_type.__name__)
                failure = StatusError("INTERNAL", f"{type(error).__name__}: {error}")
            context.set_code(getattr(grpc.StatusCode, failure.code))
            context.set_details(failure.message.encode("utf-8", "replace")[:_MAX_ERROR_BYTES].decode("utf-8", "ignore"))
            return b""

        return grpc.unary_unary_rpc_method_handler(handle)

    def _predict(self, request: Any) -> Any:
        version, servable = self._models.find(_read_spec(request))
        signature = find_signature(servable, request.model_spec.signature_name)
        validate_inputs(signature, request.inputs)
        inputs = {
            name: _from_proto(name, request.inputs[name], tf.as_dtype(info.dtype_name), self._max_tensor_bytes)
            for name, info in signature.inputs.items()
        }
        wanted = _read_filter(signature, request.output_filter)
        outputs = {name: array for name, array in run(servable, signature, inputs).items() if name in wanted}
        response = predict_pb2.PredictResponse(model_spec=_write_spec(version, signature.name))
        for name, array in outputs.items():
            _to_proto(array, response.outputs[name])
        return response

    def _metadata(self, request: Any) -> Any:
        spec = _read_spec(request)
        self._models.find(spec)  # Whose absence is told first.
        if set(request.metadata_field) != {"signature_def"}:
            received = ", ".join(request.metadata_field) or "none"
            raise StatusError("INVALID_ARGUMENT", f"metadata_field: expected signature_def; received {received}.")
        return describe(self._models, spec)


def describe(models: Models, spec: ModelSpec) -> metadata_pb2.GetModelMetadataResponse:
    """The signatures of a version, with that of its init op."""
    version, servable = models.find(spec)
    response = metadata_pb2.GetModelMetadataResponse(model_spec=_write_spec(version))
    response.metadata["signature_def"].Pack(metadata_pb2.SignatureDefMap(signature_def=servable.signature_def_map))
    return response


def list_states(models: Models, spec: ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
    """The states of the versions of a model; the real server ignores labels too."""
    states = [
        {
            "version": each.version,
            "state": each.state,
            "status": {"error_code": each.error_code, "error_message": each.error_message},
        }
        for each in models.status(spec.name, spec.version)
    ]
    return get_model_status_pb2.GetModelStatusResponse(model_version_status=states)


def _reject_examples(_: Any) -> Any:
    """Answer Classify and Regress, for which tfae exports no signature."""
    raise StatusError("INVALID_ARGUMENT", "The local server answers Predict alone. TensorFlow Serving has the others.")


def _read_spec(request: Any) -> ModelSpec:
    spec = request.model_spec
    if not spec.name:
        raise StatusError("INVALID_ARGUMENT", "model_spec: expected the name of a model; received none.")
    version = spec.version.value if spec.HasField("version") else None
    return ModelSpec(spec.name, version, spec.version_label if spec.HasField("version_label") else None)


def _read_filter(signature: Signature, output_filter: Any) -> Collection[str]:
    """Return the outputs that a request names, or all."""
    wanted = list(output_filter)
    if not set(wanted) <= set(signature.outputs) or len(set(wanted)) < len(wanted):
        raise StatusError(
            "INVALID_ARGUMENT",
            f"output_filter: expected some of {', '.join(signature.outputs)}, each once; received {', '.join(wanted)}.",
        )
    return wanted or signature.outputs


def _write_spec(version: ModelVersion, signature_name: str = "") -> dict[str, Any]:
    return {"name": version.name, "version": {"value": version.number}, "signature_name": signature_name}


def _from_proto(name: str, proto: TensorProto, dtype: tf.DType, max_bytes: int) -> np.ndarray:
    """Convert a tensor of at most ``max_bytes`` as TensorFlow does: too few values are repeated, too many are cut."""
    if proto.dtype != dtype.as_datatype_enum:
        received = types_pb2.DataType.Name(proto.dtype) if proto.dtype in types_pb2.DataType.values() else "none"
        raise StatusError("INVALID_ARGUMENT", f"{name}: expected dtype {dtype.name}; received {received}.")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if math.prod(max(size, 0) for size in shape) * max(dtype.size, 1) > max_bytes:
        raise StatusError("RESOURCE_EXHAUSTED", f"{name}: expected at most {max_bytes} bytes; received shape {shape}.")
    try:
        is_known = min(shape, default=0) >= 0 and not proto.tensor_shape.unknown_rank
        if proto.tensor_content and dtype != tf.string and is_known:  # The usual case, ten times as fast.
            return tf.make_ndarray(proto)
        value = tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy()
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise StatusError("INVALID_ARGUMENT", f"{name}: expected a tensor; {error}.") from error
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


def _to_proto(array: np.ndarray, proto: TensorProto) -> None:
    name = array.dtype.name
    if name not in _FIELDS:
        raise StatusError("UNIMPLEMENTED", f"outputs: expected a dtype that the local server can send; it is {name}.")
    proto.dtype = tf.as_dtype(array.dtype).as_datatype_enum
    proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
    flat = array.reshape(-1)
    if _FIELDS[name] == "half_val":
        flat = flat.view(np.uint16)  # The bit patterns.
    elif array.dtype.kind == "c":
        flat = flat.view(np.float32 if name == "complex64" else np.float64)
    getattr(proto, _FIELDS[name]).extend(flat.tolist())
