"""TensorFlow Serving over gRPC. Imports gRPC and, for its messages, TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, final

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfae.serving.client.description import Metadata, Signature, VersionStatus, read_metadata, read_status
from tfae.serving.client.error import ServingError
from tfae.serving.client.retries import Deadline
from tfae.serving.client.transport import Target, Transport

T = TypeVar("T")

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # 4 MiB by default, which a few hundred reconstructions exceed.
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),  # Nor does the REST client go through a proxy.
    # By default a channel that lost its server fails every call of the next second, whatever our retries do.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


@final
class GrpcTransport(Transport):
    """A channel to ``host``, which is ``host:port``; it connects by itself and reconnects."""

    #: A server of gRPC's default settings takes 4 MiB; some room is left for what stands around the tensors.
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

    def metadata(self, target: Target, deadline: Deadline) -> Metadata:
        """As `Transport` says."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=_model_spec(target), metadata_field=["signature_def"]
        )
        what = f"metadata of {_name(target)}"
        return self._read(
            self._predictions.GetModelMetadata, request, what, deadline, lambda it: read_metadata(_json(it))
        )

    def status(self, target: Target, deadline: Deadline) -> list[VersionStatus]:
        """As `Transport` says."""
        target = Target(target.model, target.version)
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=_model_spec(target))
        what = f"status of {_name(target)}"
        return self._read(self._models.GetModelStatus, request, what, deadline, lambda it: read_status(_json(it)))

    def predict(
        self, target: Target, signature: Signature, inputs: Mapping[str, np.ndarray], deadline: Deadline
    ) -> tuple[dict[str, np.ndarray], int | None]:
        """As `Transport` says."""
        request = predict_pb2.PredictRequest(model_spec=_model_spec(target))
        request.model_spec.signature_name = signature.name
        for name, array in inputs.items():
            dtype = types_pb2.DataType.Value(signature.inputs[name].type_name)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array, dtype, array.shape))
        what = f"predict of {_name(target)}, signature {signature.name}"
        return self._read(self._predictions.Predict, request, what, deadline, _outputs)

    def row_bytes(self, array: np.ndarray) -> np.ndarray:
        """As `Transport` says."""
        if array.dtype.kind == "O":
            rows = array.reshape(len(array), -1).tolist()
            return np.asarray([sum(len(element) + 8 for element in row) for row in rows])
        return np.full(len(array), array.nbytes // len(array))

    def close(self) -> None:
        """As `Transport` says."""
        self._channel.close()

    def _read(
        self, method: Callable[..., Any], request: Any, what: str, deadline: Deadline, read: Callable[[Any], T]
    ) -> T:
        """What ``read`` makes of a good answer."""
        asked = f"{what}, at {self._address}"
        try:
            answer = method(request, timeout=max(deadline.remaining(), 1e-3), metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            if code == "DEADLINE_EXCEEDED":
                details = f"no answer within {deadline.seconds:g} s"
            # A message that one side finds too large is not smaller the next time, nor a certificate any better.
            is_final = "larger than max" in details or "CERTIFICATE_VERIFY_FAILED" in details
            may_be_retried = code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED") and not is_final
            raise ServingError(code, details, asked, may_be_retried) from error
        try:
            return read(answer)
        except (LookupError, TypeError, ValueError) as error:
            message = f"expected an answer of TensorFlow Serving; received another ({error!r})"
            raise ServingError("INTERNAL", message, asked) from error


def _model_spec(target: Target) -> Any:
    spec = model_pb2.ModelSpec(name=target.model)
    if target.version is not None:
        spec.version.value = target.version
    elif target.label is not None:
        spec.version_label = target.label
    return spec


def _name(target: Target) -> str:
    chosen = {"version": target.version, "label": target.label}
    return " ".join([f"model {target.model}", *(f"{name} {it}" for name, it in chosen.items() if it is not None)])


def _outputs(answer: Any) -> tuple[dict[str, np.ndarray], int]:
    arrays = {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}
    return arrays, answer.model_spec.version.value


def _json(answer: Any) -> dict[str, Any]:
    """An answer as REST has it."""
    return MessageToDict(answer, preserving_proto_field_name=True)
