"""TensorFlow Serving's gRPC services, PredictionService and ModelService."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, final

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfae.serving.local.journal import Exchange, rows
from tfae.serving.local.models import Lease, Models, ModelSpec
from tfae.serving.local.prediction import check_inputs, signature_of, wanted_outputs
from tfae.serving.local.tensors import from_proto, to_proto
from tfae.serving.status import StatusError

_LOG = logging.getLogger("tfae.serving")

#: Messages of protocol buffers are shorter than 2 GiB; some room is left for what is around the tensors.
_MOST_BYTES = 2**31 - 2**20

#: In bytes. Clients refuse trailers of more than 8 KiB, where a byte may take three, and would see no message at all.
_LONGEST_MESSAGE = 2560


class AbortedError(Exception):
    """A method has refused a call."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


@final
class Call:
    """What a method may know of a call, and do with it; stands in for gRPC's context in threads of ours.

    Args:
        exchange: What is noted of it.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    def abort(self, code: grpc.StatusCode, text: str) -> NoReturn:
        """Refuse."""
        raise AbortedError(code, text)


@final
class Services(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """The answers to all methods; each blocks until it has one.

    Args:
        models: What is served.
        max_tensor_bytes: Largest size of one input, in bytes.
    """

    def __init__(self, models: Models, *, max_tensor_bytes: int) -> None:
        self._models = models
        self._max_tensor_bytes = max_tensor_bytes

    def add_to(self, server: grpc.Server) -> None:
        """Offer the methods, and a refusal of every other one, on a server that was not started yet."""
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, server)
        server.add_generic_rpc_handlers((_Unknown(),))

    def Predict(self, request: Any, context: Call) -> Any:  # noqa: N802
        """Run a signature."""
        response = predict_pb2.PredictResponse()
        with (
            _exchange("Predict", context) as exchange,
            self._lease(request, exchange) as lease,
        ):
            signature = signature_of(lease.servable, request.model_spec.signature_name)
            exchange.signature = signature.name
            check_inputs(signature, request.inputs)
            inputs = {
                name: from_proto(name, request.inputs[name], max_bytes=self._max_tensor_bytes)
                for name in signature.inputs
            }
            exchange.rows = rows(inputs)
            wanted = wanted_outputs(signature, request.output_filter)
            outputs = self._models.run(lease, signature.name, inputs, wanted)
            size = sum(array.nbytes for array in outputs.values())
            if size > _MOST_BYTES:
                raise StatusError("RESOURCE_EXHAUSTED", f"Outputs of {size} bytes are larger than a message can be.")
            for name, array in outputs.items():
                to_proto(array, response.outputs[name])
            _fill(response.model_spec, lease, signature.name)
        return response

    def GetModelMetadata(self, request: Any, context: Call) -> Any:  # noqa: N802
        """Tell the signatures."""
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with _exchange("GetModelMetadata", context) as exchange:
            _require_spec(request)
            if not request.metadata_field:
                raise StatusError(
                    "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"
                )
            for field in request.metadata_field:
                if field != "signature_def":
                    raise StatusError("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
            with self._lease(request, exchange) as lease:
                signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=lease.servable.signature_def_map)
                response.metadata["signature_def"].Pack(signatures)
                _fill(response.model_spec, lease)
        return response

    def GetModelStatus(self, request: Any, context: Call) -> Any:  # noqa: N802
        """Tell which versions there are; a label is not looked at, as in the real server."""
        response = get_model_status_pb2.GetModelStatusResponse()
        with _exchange("GetModelStatus", context) as exchange:
            _require_spec(request)
            spec = request.model_spec
            found = self._models.status(spec.name, spec.version.value if spec.HasField("version") else None)
            exchange.model = spec.name
            for status in found:
                entry = response.model_version_status.add(version=status.version)
                entry.state = get_model_status_pb2.ModelVersionStatus.State.Value(status.state)
                entry.status.error_code = (
                    type(entry.status)
                    .DESCRIPTOR.fields_by_name["error_code"]
                    .enum_type.values_by_name[status.error_code]
                    .number
                )
                entry.status.error_message = status.error_message
        return response

    def Classify(self, request: Any, context: Call) -> Any:  # noqa: N802
        """Refuse: tfae exports no signature for it."""
        self._refuse_examples("Classify", "classification", request, context)

    def Regress(self, request: Any, context: Call) -> Any:  # noqa: N802
        """Refuse: tfae exports no signature for it."""
        self._refuse_examples("Regress", "regression", request, context)

    def MultiInference(self, request: Any, context: Call) -> Any:  # noqa: N802
        """Refuse: tfae exports no signature for it."""
        with _exchange("MultiInference", context):
            raise StatusError("UNIMPLEMENTED", "The local server has no MultiInference. TensorFlow Serving has it.")

    def HandleReloadConfigRequest(self, request: Any, context: Call) -> Any:  # noqa: N802
        """Refuse: whoever reaches the port could have any folder of this machine loaded."""
        with _exchange("HandleReloadConfigRequest", context):
            raise StatusError(
                "UNIMPLEMENTED",
                "The local server takes no config over the network. It reads its model config file again, when that "
                "changes.",
            )

    def _refuse_examples(self, method: str, what: str, request: Any, context: Call) -> None:
        """Answer a method whose inputs are tf.Examples as the real server does where the signature is not for it."""
        with (
            _exchange(method, context) as exchange,
            self._lease(request, exchange) as lease,
        ):
            signature = signature_of(lease.servable, request.model_spec.signature_name)
            exchange.signature = signature.name
            if signature.method_name == "tensorflow/serving/predict":
                definition = lease.servable.signature_def_map[signature.name]
                raise StatusError("INVALID_ARGUMENT", f"No {what} inputs found in SignatureDef: {definition}")
            raise StatusError("UNIMPLEMENTED", f"The local server has no {method}. TensorFlow Serving has it.")

    @contextmanager
    def _lease(self, request: Any, exchange: Exchange) -> Iterator[Lease]:
        """Hold the version that a request names."""
        _require_spec(request)
        spec = request.model_spec
        if not spec.name:
            raise StatusError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        version = spec.version.value if choice == "version" else None
        label = spec.version_label if choice == "version_label" else None
        with self._models.lease(ModelSpec(spec.name, version, label)) as lease:
            exchange.model, exchange.version = lease.name, lease.version
            yield lease


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise StatusError("INVALID_ARGUMENT", "Missing ModelSpec")


def _fill(spec: Any, lease: Lease, signature_name: str = "") -> None:
    """Name in an answer what was used."""
    spec.name, spec.version.value, spec.signature_name = lease.name, lease.version, signature_name


@contextmanager
def _exchange(method: str, context: Call) -> Iterator[Exchange]:
    """Learn about an exchange, and end the call with the code and text of an error."""
    refusal = None
    try:
        yield context.exchange
    except StatusError as error:
        refusal = error
    except Exception as error:
        _LOG.exception("gRPC %s failed", method)
        refusal = StatusError("INTERNAL", f"{type(error).__name__}: {error}")
    if refusal is not None:
        message = refusal.message.encode("utf-8", "replace")[:_LONGEST_MESSAGE].decode("utf-8", "ignore")
        context.abort(getattr(grpc.StatusCode, refusal.code), message)


@final
class _Unknown(grpc.GenericRpcHandler):
    """Refuses the methods that are not there, with the empty text of the real server."""

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The refusal."""
        return grpc.unary_unary_rpc_method_handler(lambda _, context: context.abort(grpc.StatusCode.UNIMPLEMENTED, ""))
