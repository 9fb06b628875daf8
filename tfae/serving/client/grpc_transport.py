"""TensorFlow Serving over gRPC. Imports gRPC and, for its messages, TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, final

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfae.serving.client.error import Deadline, ServingError
from tfae.serving.status import Metadata, ModelSpec, VersionStatus, read_metadata, read_status
from tfae.tensor_spec import Signature

T = TypeVar("T")

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # 4 MiB by default, less than a few hundred reconstructions.
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),  # As in the REST client.
    # By default a channel that lost its server fails every call of the next second, retries included.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


@final
class GrpcTransport:
    """A channel to ``host``, which is ``host:port``; it connects and reconnects by itself."""

    #: Most bytes of a request with more than one row: the 4 MiB of a server with gRPC's defaults, less what surrounds
    #: the tensors.
    max_bytes = 4 * 2**20 - 2**16

    def __init__(self, address: str, host: str, *, tls: bool, token: str | None, ca_file: str | None) -> None:
        self._address = address
        self._metadata = None if token is None else (("authorization", f"Bearer {token}"),)
        if tls:
            roots = None if ca_file is None else Path(ca_file).read_bytes()
            self._channel = grpc.secure_channel(host, grpc.ssl_channel_credentials(roots), options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(host, options=_OPTIONS)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def metadata(self, spec: ModelSpec, deadline: Deadline) -> Metadata:
        """Ask for the signatures of a version."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        method = self._predictions.GetModelMetadata
        return self._ask("metadata", method, request, spec, deadline, lambda it: read_metadata(_to_json(it)))

    def status(self, spec: ModelSpec, deadline: Deadline) -> list[VersionStatus]:
        """Ask for the states of the versions, newest first; a label is ignored."""
        request, spec = get_model_status_pb2.GetModelStatusRequest(), ModelSpec(spec.name, spec.version)
        method = self._models.GetModelStatus
        return self._ask("status", method, request, spec, deadline, lambda it: read_status(_to_json(it)))

    def predict(
        self, spec: ModelSpec, signature: Signature, inputs: Mapping[str, np.ndarray], deadline: Deadline
    ) -> tuple[dict[str, np.ndarray], int]:
        """Ask for outputs by name, and the version that gave them."""
        request = predict_pb2.PredictRequest(model_spec={"signature_name": signature.name})
        for name, array in inputs.items():
            dtype = tf.as_dtype(signature.inputs[name].dtype_name)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array, dtype, array.shape))

        def read(response: Any) -> tuple[dict[str, np.ndarray], int]:
            arrays = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
            return arrays, response.model_spec.version.value

        return self._ask("predict", self._predictions.Predict, request, spec, deadline, read)

    def estimate_row_bytes(self, array: np.ndarray) -> int:
        """About how many bytes of a request the largest row takes."""
        if array.dtype.kind == "O":
            return max(sum(len(element) + 8 for element in row) for row in array.reshape(len(array), -1).tolist())
        return array.nbytes // len(array)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _ask(
        self,
        what: str,
        method: Callable[..., Any],
        request: Any,
        spec: ModelSpec,
        deadline: Deadline,
        read: Callable[[Any], T],
    ) -> T:
        """Return what ``read`` makes of the response to a request, whose model is set here."""
        request.model_spec.name = spec.name
        if spec.version is not None:
            request.model_spec.version.value = spec.version
        elif spec.label is not None:
            request.model_spec.version_label = spec.label
        parts = {"model": spec.name, "version": spec.version, "label": spec.label}
        named = " ".join(f"{part} {value}" for part, value in parts.items() if value is not None)
        signature = f", signature {request.model_spec.signature_name}" if request.model_spec.signature_name else ""
        asked = f"{what} of {named}{signature}, at {self._address}"
        try:
            response = method(request, timeout=max(deadline.remaining(), 1e-3), metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            if code == "DEADLINE_EXCEEDED":
                details = f"no answer within {deadline.seconds:g} s"
            # Neither a message that is too large nor a certificate that is not trusted changes with a retry.
            is_final = "larger than max" in details or "CERTIFICATE_VERIFY_FAILED" in details
            may_be_retried = code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED") and not is_final
            raise ServingError(code, details, asked, may_be_retried) from error
        try:
            return read(response)
        except (LookupError, TypeError, ValueError) as error:
            message = f"expected an answer of TensorFlow Serving; received another ({error!r})"
            raise ServingError("INTERNAL", message, asked) from error


def _to_json(response: Any) -> dict[str, Any]:
    return MessageToDict(response, preserving_proto_field_name=True)
