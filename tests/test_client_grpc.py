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

from tfae.serving.client import Client, ServingError, VersionStatus

X = np.array([[1, 2, 3, 4], [0.5, 0.5, 1, 0.5]], "float32")
# Recorded from a TensorFlow Serving model server, revision d1f407fc22a3: answers carry typed fields.
RECORDED = {
    "special": {
        "y": {
            "dtype": "DT_FLOAT",
            "tensor_shape": {"dim": [{"size": "5"}]},
            "float_val": ["NaN", "Infinity", "-Infinity", -0.0, 1.4013e-45],
        }
    },
    "half": {"y": {"dtype": "DT_HALF", "tensor_shape": {"dim": [{"size": "2"}]}, "half_val": [15360, 16384]}},
    "bfloat16": {"y": {"dtype": "DT_BFLOAT16", "tensor_shape": {"dim": [{"size": "2"}]}, "half_val": [16128, 16448]}},
    "uint8": {"y": {"dtype": "DT_UINT8", "tensor_shape": {"dim": [{"size": "3"}]}, "int_val": [1, 255, 0]}},
    "uint16": {"y": {"dtype": "DT_UINT16", "tensor_shape": {"dim": [{"size": "2"}]}, "int_val": [0, 65535]}},
    "uint64": {"y": {"dtype": "DT_UINT64", "tensor_shape": {"dim": [{"size": "1"}]}, "uint64_val": [str(2**64 - 1)]}},
    "bool": {"y": {"dtype": "DT_BOOL", "tensor_shape": {"dim": [{"size": "2"}]}, "bool_val": [True, False]}},
    "string": {"y": {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": "2"}]}, "string_val": ["/wD+", "YQA="]}},
    "scalar": {"y": {"dtype": "DT_FLOAT", "tensor_shape": {}, "float_val": [2.5]}},
}


def info(dtype, *sides):
    return {"name": "x:0", "dtype": dtype, "tensor_shape": {"dim": [{"size": str(side)} for side in sides]}}


ANY_RANK = {"name": "x:0", "tensor_shape": {"unknown_rank": True}}
TYPES = {"special": "FLOAT", "scalar": "FLOAT"}


def signatures(width):
    x = {"x": info("DT_FLOAT", -1, width)}
    echo = {}
    for name in RECORDED:
        dtype = "DT_" + TYPES.get(name, name).upper()
        echo[name] = {"inputs": {"x": {**ANY_RANK, "dtype": dtype}}, "outputs": {"y": {**ANY_RANK, "dtype": dtype}}}
    return {
        "serving_default": {"inputs": x, "outputs": {"reconstruction": info("DT_FLOAT", -1, width)}},
        "score": {"inputs": x, "outputs": {"instance_score": info("DT_FLOAT", -1)}},
        "wide": {"inputs": x, "outputs": {"y": info("DT_FLOAT", -1, -1)}},
        "serve_image_bytes": {
            "inputs": {"image_bytes": info("DT_STRING", -1)},
            "outputs": {"instance_score": info("DT_FLOAT", -1)},
        },
        "__saved_model_init_op": {
            "outputs": {"__saved_model_init_op": {"name": "NoOp", "tensor_shape": ANY_RANK["tensor_shape"]}}
        },
        **echo,
    }


class Stub(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """Serves the model ``tiny``: version 1 reconstructs x as 2x, version 2 as 3x; scores are row sums of that."""

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
            json_format.ParseDict({"outputs": RECORDED[name]}, answer)
            return answer
        if name == "serve_image_bytes":
            scores = [len(image) for image in request.inputs["image_bytes"].string_val]
            answer.outputs["instance_score"].CopyFrom(tf.make_tensor_proto(scores, tf.float32))
            return answer
        x = tf.make_ndarray(request.inputs["x"])
        if x.shape[1] != self.versions[version]:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                "Matrix size-incompatible: In[0]: [1,3], In[1]: [4,2]\n\t [[{{function_node f}}{{node a/BiasAdd}}]]",
            )
        if name == "wide":
            key, y = "y", np.zeros((len(x), 10**6), "float32")
        elif name == "score":
            key, y = "instance_score", x.sum(axis=1) * (version + 1)
        else:
            key, y = "reconstruction", x * (version + 1)
        answer.outputs[key].CopyFrom(tf.make_tensor_proto(y, tf.float32))
        return answer

    def GetModelMetadata(self, request, context):  # noqa: N802
        self.metadata_requests += 1
        version = self.version(request.model_spec, context)
        assert list(request.metadata_field) == ["signature_def"]
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name, answer.model_spec.version.value = "tiny", version
        found = json_format.ParseDict(
            {"signature_def": signatures(self.versions[version])}, get_model_metadata_pb2.SignatureDefMap()
        )
        answer.metadata["signature_def"].Pack(found)
        return answer

    def GetModelStatus(self, request, context):  # noqa: N802
        versions = [
            {"version": "1", "state": "END", "status": {"error_code": "DATA_LOSS", "error_message": "Can't parse"}},
            {"version": "2", "state": "AVAILABLE", "status": {}},
        ]
        return json_format.ParseDict({"model_version_status": versions}, get_model_status_pb2.GetModelStatusResponse())


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


def rows(number):
    return np.arange(number * 4, dtype="float32").reshape(number, 4)


def test_arrays_go_out_as_raw_content_and_come_back(stub, client):
    np.testing.assert_array_equal(client.reconstruct(X), X * 2)
    sent = stub.requests[-1]
    assert sent.inputs["x"].tensor_content == X.tobytes()
    assert (sent.model_spec.name, sent.model_spec.signature_name) == ("tiny", "serving_default")
    assert not sent.model_spec.WhichOneof("version_choice")


@pytest.mark.parametrize(
    ("signature", "x", "expected"),
    [
        ("special", [np.nan, np.inf, 0], np.array([np.nan, np.inf, -np.inf, -0.0, 1.4013e-45], "float32")),
        ("half", [1.0, 2.0], np.array([1, 2], "float16")),
        ("bfloat16", [1.0, 2.0], np.array([0.5, 3.0], tf.bfloat16.as_numpy_dtype)),
        ("uint8", [1, 255, 0], np.array([1, 255, 0], "uint8")),
        ("uint16", [0, 65535], np.array([0, 65535], "uint16")),
        ("uint64", np.array([2**64 - 1], "uint64"), np.array([2**64 - 1], "uint64")),
        ("bool", [True, False], np.array([True, False])),
        ("string", [b"\xff\0\xfe", "a\0"], np.array([b"\xff\0\xfe", b"a\0"], object)),
        ("scalar", 1.5, np.float32(2.5)),
    ],
)
def test_every_dtype_is_sent_and_read(stub, client, signature, x, expected):
    found = client.predict(signature, x=x)["y"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    sent = tf.make_ndarray(stub.requests[-1].inputs["x"])
    assert sent.dtype == expected.dtype
    encoded = [item.encode() if isinstance(item, str) else item for item in x] if signature == "string" else x
    np.testing.assert_array_equal(sent, np.array(encoded, dtype=expected.dtype))


def test_metadata_and_status_read_as_over_rest(client):
    found = client.metadata()
    assert (found.model, found.version) == ("tiny", 1)
    assert "__saved_model_init_op" not in found.signatures
    assert str(found.signatures["serve_image_bytes"].inputs["image_bytes"]) == "string (batch,)"
    assert found.signatures["half"].inputs["x"].shape is None
    assert client.status() == [VersionStatus(2, "AVAILABLE"), VersionStatus(1, "END", "DATA_LOSS", "Can't parse")]


def test_version_and_label_are_part_of_the_request(stub):
    stub.versions = {1: 4, 2: 4}
    for arguments, expected in (({}, 30), ({"version": 1}, 20), ({"label": "stable"}, 20)):
        with Client(stub.url, model="tiny", **arguments) as client:
            assert client.score(X)[0] == expected


def test_what_does_not_fit_the_signature_is_refused_and_not_sent(stub, client):
    with pytest.raises(ValueError, match=r"x: expected shape \(batch, 4\); received \(1, 3\)"):
        client.score([[1, 2, 3]])
    with pytest.raises(ValueError, match="x: expected values that uint8 can hold; received int64 with a value of 256"):
        client.predict("uint8", x=[256])
    for signature, x in (("bfloat16", [256, 257]), ("half", [-2048, -2049]), ("half", [0, 70000])):
        message = f"x: expected values that b?float16 can hold; received int64 with a value of {x[1]}"
        with pytest.raises(ValueError, match=message):
            client.predict(signature, x=x)
    assert client.score(X[:0]).shape == (0,)
    assert stub.requests == []


def test_requests_stay_below_the_limit_of_a_default_server(stub, client):
    images = [b"x" * 3 * 2**20, b"x" * 2**19, b"x" * 2**20, b"x" * 2**21]
    np.testing.assert_array_equal(client.score_images(images), [len(image) for image in images])
    assert len(stub.requests) == 2
    np.testing.assert_array_equal(client.reconstruct(rows(300_000), batch_size=10**6), rows(300_000) * 2)
    assert len(stub.requests) == 4


def test_answers_beyond_four_mebibytes_are_read(client):
    assert client.predict("wide", x=X)["y"].nbytes == 8_000_000


def test_all_pieces_are_answered_by_the_same_version(stub, client):
    client.metadata()
    stub.versions = {1: 4, 2: 4}
    np.testing.assert_array_equal(client.reconstruct(rows(20), batch_size=3), rows(20) * 3)
    assert {request.model_spec.version.value for request in stub.requests} == {2}


def test_metadata_is_fetched_again_when_an_answer_names_another_version(stub, client):
    client.score(X)
    client.score(X)
    assert stub.metadata_requests == 1
    stub.versions = {1: 4, 2: 4}
    assert client.score(X)[0] == 30
    client.score(X)
    client.score(X)
    assert stub.metadata_requests == 2


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
        client.score_images([bytes(5 * 2**20)])
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
    with Client("grpc://127.0.0.1:9", model="tiny", retries=0, timeout=10) as client:
        with pytest.raises(ServingError, match=r"at grpc://127\.0\.0\.1:9") as raised:
            client.status()
        assert raised.value.code == "UNAVAILABLE"


def test_waiting_ends_with_a_real_answer(stub, client):
    stub.faults.extend(
        [(grpc.StatusCode.FAILED_PRECONDITION, "Could not find variable"), (grpc.StatusCode.NOT_FOUND, "no")]
    )
    client.wait_until_ready(timeout=10)
    assert len(stub.requests) == 3


def test_the_token_is_sent(stub):
    with Client(stub.url, model="tiny", token="secret") as client:
        client.score(X)
    assert stub.headers[-1]["authorization"] == "Bearer secret"
