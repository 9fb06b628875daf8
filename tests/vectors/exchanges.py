"""The recorded exchanges: asking them again, and comparing the answers."""

from __future__ import annotations

import base64
import http.client
import json
import re
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

FOLDER = Path(__file__).parent
#: Headers that were recorded.
_HEADERS = (
    "content-type",
    "content-encoding",
    "allow",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
)
#: Where in the graph a kernel failed, as JSON text and as text: functions are numbered as they are traced.
_GRAPH_NODE = re.compile(rb"(?:(?:\\n|\\t|\s)*\[\[\{\{.*?\}\}\]\])+", re.DOTALL)
_MODELS = re.compile(rb"(?<![\w.])/[^\s:;,'\"\\]*?/models/")
_SECONDS = 20.0
_PREDICTION = "/tensorflow.serving.PredictionService/"
_RESPONSES = {
    "Predict": (_PREDICTION, predict_pb2.PredictResponse),
    "GetModelMetadata": (_PREDICTION, get_model_metadata_pb2.GetModelMetadataResponse),
    "Classify": (_PREDICTION, classification_pb2.ClassificationResponse),
    "Regress": (_PREDICTION, regression_pb2.RegressionResponse),
    "MultiInference": (_PREDICTION, inference_pb2.MultiInferenceResponse),
    "NoSuchMethod": (_PREDICTION, predict_pb2.PredictResponse),
    "GetModelStatus": ("/tensorflow.serving.ModelService/", get_model_status_pb2.GetModelStatusResponse),
}

Record = dict[str, Any]


def read(name: str) -> list[Record]:
    """All exchanges of ``"rest"`` or ``"grpc"``."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def rest_answer(record: Record, port: int) -> dict[str, Any]:
    """Status, headers and comparable body of what a server at ``port`` answers now."""
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
        received = {name.lower(): value for name, value in response.getheaders() if name.lower() in _HEADERS}
        return _rest(record, response.status, received, response.read())
    finally:
        connection.close()


def recorded_rest_answer(record: Record) -> dict[str, Any]:
    """The same of what was recorded."""
    response = record["response"]
    return _rest(record, response["status"], response["headers"], _body(response) or b"")


def grpc_answer(record: Record, channel: grpc.Channel) -> dict[str, Any]:
    """Code, and message or comparable answer, of what a server answers now; silence is DEADLINE_EXCEEDED."""
    service, _ = _RESPONSES[record["method"]]
    call = channel.unary_unary(service + record["method"], lambda request: request, lambda response: response)
    try:
        response = call(base64.b64decode(record["request"]["base64"]), timeout=record.get("timeout_s", _SECONDS))
    except grpc.RpcError as error:
        return _grpc(record, error.code().name, error.details(), b"")
    return _grpc(record, "OK", "", response)


def recorded_grpc_answer(record: Record) -> dict[str, Any]:
    """The same of what was recorded."""
    response = record["response"]
    if response is None:
        return {"code": "DEADLINE_EXCEEDED"}
    body = base64.b64decode(response.get("base64") or "")
    return _grpc(record, response["code"], response.get("message", ""), body)


def _rest(record: Record, status: int, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = {"status": status, "headers": headers}
    if record["compare"] == "json":
        answer["body"] = json.loads(body, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    elif record["compare"] == "bytes":
        answer["body"] = _normalised(record, body)
    return answer


def _grpc(record: Record, code: str, message: str, body: bytes) -> dict[str, Any]:
    if record["response"] is None or (code != "OK" and record["compare"] == "code"):
        return {"code": code}
    if code != "OK":
        return {"code": code, "message": _normalised(record, message.encode())}
    parsed = _RESPONSES[record["method"]][1].FromString(body)
    answer = json_format.MessageToJson(parsed, sort_keys=True)
    return {"code": code, "answer": json.loads(_normalised(record, answer.encode()))}


class _Number(str):
    """A number as it is written: 1.0 is not 1, and no string either."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Number) and str(self) == str(other)

    __hash__ = str.__hash__


def _body(part: Record) -> bytes | None:
    if part.get("body_base64") is not None:
        return base64.b64decode(part["body_base64"])
    return None if part.get("body") is None else part["body"].encode()


def _normalised(record: Record, text: bytes) -> bytes:
    """Without what differs between two sound servers."""
    if "graph_node" in record["normalise"]:
        text = _GRAPH_NODE.sub(b"", text)
    if "models_dir" in record["normalise"]:
        text = _MODELS.sub(b"{MODELS}/", text)
    return text
