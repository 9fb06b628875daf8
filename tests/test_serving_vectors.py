"""The local server keeps TensorFlow Serving's interface: the exchanges recorded from a real server, asked again.

Held are status, code and parsed values; the words of errors, the layout of JSON and the order of keys are not.
"""

import base64
import contextlib
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from tests.tiny_models import until
from tests.vectors.models import write_models
from tfae.serving.local.server import LocalServer
from tfae.serving.status import StatusError

FOLDER = Path(__file__).parent / "vectors"
SETS = json.loads((FOLDER / "servers.json").read_text(encoding="utf-8"))
#: What a server refuses, or never answers, because it batches. The local server does not batch.
OF_BATCHING = {
    "batching_too_many_rows",
    "batching_uneven_inputs",
    "batching_scalar_in",
    "grpc_batching_too_many_rows",
    "grpc_batching_zero_rows",
}
SECONDS = 20.0
RESPONSES = {
    "Predict": predict_pb2.PredictResponse,
    "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataResponse,
    "GetModelStatus": get_model_status_pb2.GetModelStatusResponse,
}
Record = dict[str, Any]
Start = Callable[[str], LocalServer]


def read(name: str) -> list[Record]:
    """All exchanges of ``"rest"`` or ``"grpc"``."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def parameters(name: str) -> list:
    """The exchanges that the local server is held to, each under its own id."""
    return [pytest.param(record, id=record["id"]) for record in read(name) if record["id"] not in OF_BATCHING]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts the server of a set, once."""
    folder = tmp_path_factory.mktemp("vectors")
    models = folder / "models"
    models.mkdir()
    write_models(models)
    servers: dict[str, LocalServer] = {}
    with contextlib.ExitStack() as stack:

        def start_once(name: str) -> LocalServer:
            if name not in servers:
                config = models / "autoencoder"
                if "config" in SETS[name]:
                    config = folder / f"{name}.config"
                    write_config(config, SETS[name]["config"], models)
                allow_xla = "--xla_cpu_compilation_enabled=true" in SETS[name]["flags"]
                servers[name] = LocalServer(config, poll_seconds=0.1, allow_xla=allow_xla)
                servers[name].start(timeout=60)
                stack.callback(servers[name].stop, 1)
                if "config_after_start" in SETS[name]:
                    write_config(config, SETS[name]["config_after_start"], models)
                    wait_until_settled(servers[name], "pitfalls", range(1, 9))
            return servers[name]

        yield start_once


def write_config(file: Path, lines: list[str], models: Path) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text("\n".join(lines).replace("{MODELS}", str(models)), encoding="utf-8")
    partial.replace(file)


def wait_until_settled(server: LocalServer, model: str, versions: range) -> None:
    """Wait until each version is there, or has failed."""

    def is_settled() -> bool:
        with contextlib.suppress(StatusError):
            return all(server.models.status(model, version)[0].state in ("AVAILABLE", "END") for version in versions)
        return False

    until(is_settled, seconds=30)


@pytest.mark.parametrize("record", parameters("rest"))
def test_rest_answers_as_it_was_recorded(record: Record, start: Start):
    request, recorded = record["request"], record["response"]
    headers = {"Connection": "close", **request["headers"]}
    body = read_body(request)
    if body is not None and "transfer-encoding" not in map(str.lower, headers):
        headers["Content-Length"] = str(len(body))
    connection = http.client.HTTPConnection("127.0.0.1", start(record["set"]).rest_port, timeout=SECONDS)
    with contextlib.closing(connection):
        connection.putrequest(request["method"], request["path"], skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        answer = response.status, parse_body(response.status, response.read(), record)
    expected = parse_body(recorded["status"], read_body(recorded) or b"", record)
    assert answer == (recorded["status"], nearly(expected)), record["shows"]


@pytest.mark.parametrize("record", parameters("grpc"))
def test_grpc_answers_as_it_was_recorded(record: Record, start: Start):
    method, recorded = record["method"], record["response"]
    service = "ModelService" if method == "GetModelStatus" else "PredictionService"
    with grpc.insecure_channel(f"127.0.0.1:{start(record['set']).grpc_port}") as channel:
        call = channel.unary_unary(f"/tensorflow.serving.{service}/{method}")
        try:
            response = call(base64.b64decode(record["request"]["base64"]), timeout=SECONDS)
            answer = "OK", parse_message(method, response)
        except grpc.RpcError as error:
            answer = error.code().name, bool(error.details())
    is_good = recorded["code"] == "OK"
    expected = nearly(parse_message(method, base64.b64decode(recorded["base64"]))) if is_good else True
    assert answer == (recorded["code"], expected), record["shows"]


def test_the_exchanges_of_batching_are_recorded_ones():
    assert {record["id"] for name in ("rest", "grpc") for record in read(name)} >= OF_BATCHING


def read_body(part: Record) -> bytes | None:
    if part.get("body_base64") is not None:
        return base64.b64decode(part["body_base64"])
    return None if part.get("body") is None else part["body"].encode()


def parse_body(status: int, body: bytes, record: Record) -> Any:
    """A successful answer by value; whether an error says something, where the real server does."""
    if status == 200:
        text = body.decode(errors="surrogateescape")
        return json.loads(text) if text else None
    return bool(body) if (read_body(record["response"]) or b"").startswith(b"{") else None


def parse_message(method: str, body: bytes) -> Any:
    message = RESPONSES[method].FromString(body)
    for version in getattr(message, "model_version_status", ()):
        version.status.error_message = str(bool(version.status.error_message))  # It names folders and kernels.
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def nearly(value: Any) -> Any:
    """Equal to what differs by rounding alone, 1e-6 relative."""
    if isinstance(value, dict):
        return {key: nearly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nearly(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return pytest.approx(value, rel=1e-6, abs=1e-30, nan_ok=True)
    return value
