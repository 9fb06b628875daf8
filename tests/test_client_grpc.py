"""The gRPC client against a server of the official stubs that misbehaves when told to."""

import collections
import concurrent.futures
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests import stub_server
from tests.stub_server import ANY_RANK, KERNEL_ERROR, STATUS, X, rows, signature_def
from tfae.serving.client import Client, ServingError, VersionStatus

FLOATS = np.array([np.nan, np.inf, -np.inf, -0.0, 1.4013e-45], "float32")
BFLOATS = np.array([0.5, 3.0], tf.bfloat16.as_numpy_dtype)
BYTES = np.array([b"\xff\0\xfe", b"a\0"], object)
# Arrays that go out and come back by their dtype, and the field in which a TensorFlow Serving model server (revision
# d1f407fc22a3) answers them, as JSON has it.
RECORDED = {
    "FLOAT": (FLOATS, "float_val", ["NaN", "Infinity", "-Infinity", -0.0, 1.4013e-45]),
    "HALF": (np.array([1, 2], "float16"), "half_val", [15360, 16384]),
    "BFLOAT16": (BFLOATS, "half_val", [16128, 16448]),
    "UINT8": (np.array([1, 255, 0], "uint8"), "int_val", [1, 255, 0]),
    "UINT16": (np.array([0, 65535], "uint16"), "int_val", [0, 65535]),
    "UINT64": (np.array([2**64 - 1], "uint64"), "uint64_val", [str(2**64 - 1)]),
    "BOOL": (np.array([True, False]), "bool_val", [True, False]),
    "STRING": (BYTES, "string_val", ["/wD+", "YQA="]),
    "DOUBLE": (np.array(2.5), "double_val", [2.5]),
}


class Stub(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """Serves the model ``tiny``."""

    def __init__(self):
        self.faults = collections.deque()
        self.versions = {1: 4}
        self.requests, self.metadata_requests, self.headers = [], 0, []
        self.release = threading.Event()
        self.lock = threading.Lock()
        self.url = None

    def version(self, spec, context):
        if spec.version_label == "stable":
            return 1
        version = spec.version.value if spec.HasField("version") else max(self.versions)
        if version not in self.versions:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Specific(tiny, {version})")
        return version

    def Predict(self, request, context):  # noqa: N802
        with self.lock:
            self.requests.append(request)
            self.headers.append(dict(context.invocation_metadata()))
            fault = self.faults.popleft() if self.faults else None
        if fault == "hang":
            self.release.wait(20)
        elif fault is not None:
            context.abort(*fault)
        version = self.version(request.model_spec, context)
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name, answer.model_spec.version.value = "tiny", version
        name = request.model_spec.signature_name
        if name in RECORDED:
            array, field, values = RECORDED[name]
            tensor = {**stub_server.tensor(name, *array.shape), field: values}
            del tensor["name"]
            json_format.ParseDict({"outputs": {"y": tensor}}, answer)
            return answer
        if name == "serve_image_bytes":
            scores = [len(image) for image in request.inputs["image_bytes"].string_val]
            answer.outputs["instance_score"].CopyFrom(tf.make_tensor_proto(scores, tf.float32))
            return answer
        x = tf.make_ndarray(request.inputs["x"])
        if x.shape[1] != self.versions[version]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, KERNEL_ERROR)
        key = {"wide": "y", "score": "instance_score", "serving_default": "reconstruction"}[name]
        y = np.zeros((len(x), 10**6)) if name == "wide" else stub_server.answer(name, x, version)
        answer.outputs[key].CopyFrom(tf.make_tensor_proto(y, tf.float32))
        return answer

    def GetModelMetadata(self, request, context):  # noqa: N802
        self.metadata_requests += 1
        version = self.version(request.model_spec, context)
        assert list(request.metadata_field) == ["signature_def"]
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name, answer.model_spec.version.value = "tiny", version
        width = self.versions[version]
        echo = {name: ({"x": (name, ANY_RANK)}, {"y": (name, ANY_RANK)}) for name in RECORDED}
        wide = {"x": ("FLOAT", -1, width)}, {"y": ("FLOAT", -1, -1)}
        told = signature_def(**stub_server.signatures(width), **echo, wide=wide)
        found = json_format.ParseDict({"signature_def": told}, get_model_metadata_pb2.SignatureDefMap())
        answer.metadata["signature_def"].Pack(found)
        return answer

    def GetModelStatus(self, request, context):  # noqa: N802
        return json_format.ParseDict(STATUS, get_model_status_pb2.GetModelStatusResponse())


@pytest.fixture
def stub():
    stub = Stub()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool)  # With gRPC's default limit of 4 MiB for what it receives.
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(stub, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(stub, server)
        stub.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield stub
        stub.release.set()
        server.stop(None).wait(20)


@pytest.fixture
def client(stub):
    with Client(stub.url, model="tiny", timeout=10) as client:
        yield client


def test_arrays_go_out_as_raw_content_and_come_back(stub, client):
    np.testing.assert_array_equal(client.reconstruct(X), X * 2)
    sent = stub.requests[-1]
    assert sent.inputs["x"].tensor_content == X.tobytes()
    assert (sent.model_spec.name, sent.model_spec.signature_name) == ("tiny", "serving_default")
    assert not sent.model_spec.WhichOneof("version_choice")


@pytest.mark.parametrize("dtype", RECORDED)
def test_every_dtype_is_sent_and_read(stub, client, dtype):
    array = RECORDED[dtype][0]
    given = [BYTES[0], "a\0"] if dtype == "STRING" else array.tolist()
    np.testing.assert_array_equal(client.call(dtype, x=given)["y"], array, strict=True)
    np.testing.assert_array_equal(tf.make_ndarray(stub.requests[-1].inputs["x"]), array, strict=True)


def test_metadata_and_status_read_as_over_rest(client):
    found = client.metadata()
    assert (found.model, found.version) == ("tiny", 1)
    assert "__saved_model_init_op" not in found.signatures
    assert str(found.signatures["serve_image_bytes"].inputs["image_bytes"]) == "string (batch,)"
    assert found.signatures["HALF"].inputs["x"].shape is None
    assert client.status() == [VersionStatus(2, "AVAILABLE"), VersionStatus(1, "END", "DATA_LOSS", "Can't parse")]


def test_version_label_and_token_are_part_of_the_request(stub):
    stub.versions = {1: 4, 2: 4}
    for arguments, expected in (({}, 30), ({"version": 1}, 20), ({"label": "stable"}, 20)):
        with Client(stub.url, model="tiny", token="secret", **arguments) as client:
            assert client.score(X)[0] == expected
    assert stub.headers[-1]["authorization"] == "Bearer secret"


def test_requests_stay_below_the_limit_of_a_default_server_and_answers_beyond_it_are_read(stub, client):
    images = [b"x" * 3 * 2**20, b"x" * 2**19, b"x" * 2**20, b"x" * 2**21]
    np.testing.assert_array_equal(
        client.call("serve_image_bytes", image_bytes=images)["instance_score"], [len(image) for image in images]
    )
    assert len(stub.requests) == 4  # As many rows in each, however small some are.
    np.testing.assert_array_equal(client.reconstruct(rows(300_000), batch_size=10**6), rows(300_000) * 2)
    assert len(stub.requests) == 6
    assert client.call("wide", x=X)["y"].nbytes == 8_000_000


def test_metadata_is_fetched_again_when_an_answer_names_another_version(stub, client):
    for versions, expected, fetched in (({1: 4}, 20, 1), ({1: 4, 2: 4}, 30, 2)):
        stub.versions = versions
        assert [client.score(X)[0] for _ in range(3)] == [expected] * 3
        client.score(X)
        assert stub.metadata_requests == fetched


def test_the_servers_message_is_raised(stub, client):
    client.metadata()
    stub.versions = {2: 5}
    stub.faults.append((grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "score" not found.'))
    with pytest.raises(ValueError, match=r"x: expected shape \(batch, 5\)"):
        client.score(X)
    stub.faults.extend([(grpc.StatusCode.INTERNAL, "XLA compilation disabled\n\t [[{{node a/b}}]]")] * 2)
    with pytest.raises(ServingError, match=r"signature score, at grpc://127") as raised:
        client.score(np.ones((1, 5)))
    assert (raised.value.code, raised.value.message) == ("INTERNAL", "XLA compilation disabled")
    assert not raised.value.may_be_retried


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_may_be_retried_is_retried(stub, client, code):
    client.metadata()
    stub.faults.extend([(code, "busy")] * 2)
    assert client.score(X)[0] == 20
    assert len(stub.requests) == 3


def test_a_message_that_is_too_large_is_not_sent_again(stub, client):
    with pytest.raises(ServingError, match="larger than max") as raised:
        client.call("serve_image_bytes", image_bytes=[bytes(5 * 2**20)])
    assert raised.value.code == "RESOURCE_EXHAUSTED"
    assert not raised.value.may_be_retried


def test_a_server_that_does_not_answer_is_given_up(stub, client):
    client.metadata()
    stub.faults.append("hang")
    with pytest.raises(ServingError, match=r"no answer within 0\.3 s") as raised:
        client.score(X, timeout=0.3)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    assert client.score(X)[0] == 20


def test_a_server_that_is_not_there_is_unavailable():
    with (
        Client("grpc://127.0.0.1:9", model="tiny", retries=0, timeout=10) as client,
        pytest.raises(ServingError, match=r"at grpc://127\.0\.0\.1:9") as raised,
    ):
        client.status()
    assert raised.value.code == "UNAVAILABLE"
