"""The recorded exchanges: asking them again, and comparing what an answer means to a client."""

from __future__ import annotations

import base64
import http.client
import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

FOLDER = Path(__file__).parent
_SECONDS = 20.0
_SERVICES = {"GetModelStatus": "/tensorflow.serving.ModelService/"}
_RESPONSES = {
    "Predict": predict_pb2.PredictResponse,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataResponse,
    "GetModelStatus": get_model_status_pb2.GetModelStatusResponse,
}

Record = dict[str, Any]


def read(name: str) -> list[Record]:
    """All exchanges of ``"rest"`` or ``"grpc"``."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def rest_answer(record: Record, port: int) -> tuple[int, Any]:
    """Status and meaning of what a server at ``port`` answers now."""
    request = record["request"]
    headers = {"Connection": "close", **request["headers"]}
    body = _body(request)
    if body is not None and "transfer-encoding" not in map(str.lower, headers):
        headers["Content-Length"] = str(len(body))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.putrequest(request["method"], request["path"], skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, _meaning(response.status, response.read(), record)
    finally:
        connection.close()


def recorded_rest_answer(record: Record) -> tuple[int, Any]:
    """The same of what was recorded; numbers to 1e-6."""
    response = record["response"]
    return response["status"], _nearly(_meaning(response["status"], _body(response) or b"", record))


def grpc_answer(record: Record, channel: grpc.Channel) -> tuple[str, Any]:
    """Code and meaning of what a server answers now."""
    path = _SERVICES.get(record["method"], "/tensorflow.serving.PredictionService/") + record["method"]
    call = channel.unary_unary(path, lambda request: request, lambda response: response)
    try:
        response = call(base64.b64decode(record["request"]["base64"]), timeout=_SECONDS)
    except grpc.RpcError as error:
        return error.code().name, bool(error.details())
    return "OK", _message(record, response)


def recorded_grpc_answer(record: Record) -> tuple[str, Any]:
    """The same of what was recorded; numbers to 1e-6."""
    response = record["response"]
    if response["code"] != "OK":
        return response["code"], True
    return "OK", _nearly(_message(record, base64.b64decode(response["base64"])))


def _meaning(status: int, body: bytes, record: Record) -> Any:
    """A successful answer by value; whether an error says something, where the real server does."""
    if status == 200:
        text = body.decode(errors="surrogateescape")
        return json.loads(text) if text else None
    recorded = _body(record["response"]) or b""
    return bool(body) if recorded.startswith(b"{") else None


def _message(record: Record, body: bytes) -> Any:
    message = _RESPONSES[record["method"]].FromString(body)
    for version in getattr(message, "model_version_status", ()):
        version.status.error_message = str(bool(version.status.error_message))  # It names folders and kernels.
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _nearly(value: Any) -> Any:
    """Equal to what differs by rounding alone."""
    if isinstance(value, dict):
        return {key: _nearly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_nearly(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return pytest.approx(value, rel=1e-6, abs=1e-30, nan_ok=True)
    return value


def _body(part: Record) -> bytes | None:
    if part.get("body_base64") is not None:
        return base64.b64decode(part["body_base64"])
    return None if part.get("body") is None else part["body"].encode()
