"""The REST client against a server that replays what TensorFlow Serving answers, and that misbehaves when told to."""

import base64
import collections
import json
import pickle
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tfae.serving.client import Client, ServingError, TensorSpec, VersionStatus

# Recorded from a TensorFlow Serving model server, revision d1f407fc22a3.
RECORDED = {
    "one_output": b'{\n    "predictions": [[1.0625, -3.875, 1.375, 2.375]\n    ]\n}',
    "many_outputs": b'{\n    "predictions": [\n        {\n            "is_outlier": true,\n'
    b'            "p_value": 0.142857149,\n            "feature_score": [0.00390625, 34.515625, 2.640625, 2.640625],\n'
    b'            "instance_score": 9.95019531\n        }\n    ]\n}',
    "mixed": b'{\n    "outputs": {\n        "flag": [\n            true\n        ],\n        "i64": [\n'
    b'            2\n        ],\n        "f64": [\n            0.1\n        ],\n        "text": [\n'
    b'            "b!"\n        ],\n        "u8": [\n            8\n        ]\n    }\n}',
    "special": b'{\n    "outputs": {\n        "ratio": [\n            [\n                NaN,\n                1.0\n'
    b'            ]\n        ],\n        "inverse": [\n            [\n                Infinity,\n'
    b"                -Infinity\n            ]\n        ]\n    }\n}",
    "special_rows": b'{\n    "predictions": [\n        {\n            "ratio": [NaN, 1.0],\n'
    b'            "inverse": [Infinity, -Infinity]\n        }\n    ]\n}',
    "only_bytes": b'{\n    "predictions": [{\n            "b64": "YWJj"\n        }, {\n'
    b'            "b64": "/wD+"\n        }\n    ]\n}',
    "raw_string": b'{\n    "predictions": ["\xff\\u0000\xfe"\n    ]\n}',
    "uint64": b'{\n    "outputs": [\n        0,\n        9007199254740993,\n        18446744073709551615\n    ]\n}',
    "scalar": b'{\n    "outputs": 2.5\n}',
    "no_rows": b'{\n    "predictions": []\n}',
    "kernel_error": b'{\n    "error": "Matrix size-incompatible: In[0]: [1,5], In[1]: [4,2]\\n\\t '
    b'[[{{function_node __inference_reconstruct_669}}{{node encoder_1/code_1/BiasAdd}}]]"\n}',
    "assertion": b'{\n    "error": "assertion failed: [inputs: expected shape (batch, 8, 8, 1), batch >= 1; received] '
    b'[2 3]\\n\\t [[{{function_node __inference_score_12}}{{node Assert/Assert}}]]"\n}',
    "unknown_model": b'{\n    "error": "Servable not found for request: Latest(nosuch)"\n}',
    "unknown_label": b'{\n    "error": "Unrecognized servable version label: nosuch"\n}',
    "html": b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n",
    "status": b'{\n "model_version_status": [\n  {\n   "version": "1",\n   "state": "END",\n   "status": {\n'
    b'    "error_code": "DATA_LOSS",\n    "error_message": "Can\'t parse 1/saved_model.pb as binary proto"\n   }\n'
    b'  },\n  {\n   "version": "2",\n   "state": "AVAILABLE",\n   "status": {\n    "error_code": "OK",\n'
    b'    "error_message": ""\n   }\n  }\n ]\n}\n',
    "too_many_rows": b'{\n    "error": "Task size 5 is larger than maximum input batch size 4"\n}',
}


MIXED = {"i64": "DT_INT64", "flag": "DT_BOOL", "text": "DT_STRING", "u8": "DT_UINT8", "f64": "DT_DOUBLE"}


def tensor(dtype, *sides):
    dims = [{"size": str(side), "name": ""} for side in sides]
    return {"name": "x:0", "dtype": dtype, "tensor_shape": {"dim": dims, "unknown_rank": False}}


def signature(inputs, outputs):
    return {"inputs": inputs, "outputs": outputs, "method_name": "tensorflow/serving/predict", "defaults": {}}


def metadata(version, width=4, **more):
    """Laid out as the server lays it out, init op and blanks included."""
    x, float_rows = {"x": tensor("DT_FLOAT", -1, width)}, tensor("DT_FLOAT", -1)
    unknown = {"name": "x:0", "dtype": "DT_UINT64", "tensor_shape": {"dim": [], "unknown_rank": True}}
    unknown_float = {**unknown, "dtype": "DT_FLOAT"}
    signatures = {
        "serving_default": signature(x, {"reconstruction": tensor("DT_FLOAT", -1, width)}),
        "score": signature(x, {"instance_score": float_rows}),
        "detect": signature(
            x,
            {
                "instance_score": float_rows,
                "p_value": float_rows,
                "is_outlier": tensor("DT_BOOL", -1),
                "feature_score": tensor("DT_FLOAT", -1, width),
            },
        ),
        "special_rows": signature(x, {"ratio": tensor("DT_FLOAT", -1, -1), "inverse": tensor("DT_FLOAT", -1, -1)}),
        "special": signature(
            {"x": unknown_float}, {"ratio": tensor("DT_FLOAT", -1, -1), "inverse": tensor("DT_FLOAT", -1, -1)}
        ),
        "mixed": signature(
            {name: tensor(dtype, -1) for name, dtype in MIXED.items()},
            {name: tensor(dtype, -1) for name, dtype in MIXED.items()},
        ),
        "image": signature({"x": tensor("DT_UINT8", -1, 2, 2)}, {"mean": float_rows}),
        "scale": signature(
            {"x": tensor("DT_FLOAT", -1, 2), "factor": tensor("DT_FLOAT")}, {"y": tensor("DT_FLOAT", -1, 2)}
        ),
        "add": signature({"a": tensor("DT_INT64", -1), "b": tensor("DT_INT64", -1)}, {"sum": tensor("DT_INT64", -1)}),
        "only_bytes": signature({"s": tensor("DT_STRING", -1)}, {"raw_bytes": tensor("DT_STRING", -1)}),
        "serve_image_bytes": signature({"image_bytes": tensor("DT_STRING", -1)}, {"instance_score": float_rows}),
        "serve_tf_examples": signature({"examples": tensor("DT_STRING", -1)}, {"instance_score": float_rows}),
        "uint64": signature({"x": unknown}, {"y": unknown}),
        "scalar": signature({"x": tensor("DT_FLOAT")}, {"y": tensor("DT_FLOAT")}),
        "half": signature({"x": tensor("DT_HALF", -1)}, {"y": float_rows}),
        "ones": signature({"n": tensor("DT_FLOAT", -1)}, {"y": tensor("DT_FLOAT", -1, 3)}),
        "__saved_model_init_op": signature({}, {"__saved_model_init_op": tensor("DT_INVALID")}),
        **more,
    }
    spec = {"name": "tiny", "version": str(version), "signature_name": ""}
    return json.dumps(
        {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}}, indent=1
    ).encode()


class Stub(ThreadingHTTPServer):
    """Serves the model ``tiny``: version 1 reconstructs x as 2x, version 2 as 3x; scores are row sums times the same.

    Attributes:
        canned: Bodies to answer predictions of a signature with, or pairs of status and body.
        faults: What happens to the next predictions instead: a status and a body, or the name of a misbehaviour.
        versions: Width of each version that is loaded.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.canned, self.faults = {}, collections.deque()
        self.versions = {1: 4}
        self.requests, self.headers, self.connections = [], [], 0
        self.lock, self.release = threading.Lock(), threading.Event()
        self.in_flight = self.most_in_flight = 0
        self.pause = 0.0
        self.before_predict = lambda: None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def paths(self, ending):
        return [path for path, _ in self.requests if path.endswith(ending)]

    def handle_error(self, request, client_address):
        pass  # Clients that give up are part of the tests.


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def log_message(self, *args):
        pass

    def answer(self, status, body, length=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with self.server.lock:
            self.server.requests.append((self.path, b""))
            self.server.headers.append(self.headers)
        versions = self.server.versions
        version = int(self.path.split("/")[5]) if "/versions/" in self.path else max(versions)
        if version not in versions:
            self.answer(404, RECORDED["unknown_model"])
        elif self.path.endswith("/metadata"):
            self.answer(200, metadata(version, versions[version]))
        else:
            self.answer(200, RECORDED["status"])

    def do_POST(self):
        server = self.server
        if server.faults and server.faults[0] == "deaf":  # It does not read what it is asked.
            server.faults.popleft()
            self.close_connection = True
            self.hang()
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.requests.append((self.path, body))
            server.headers.append(self.headers)
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            fault = server.faults.popleft() if server.faults else None
            server.before_predict()
        time.sleep(server.pause)
        try:
            if isinstance(fault, tuple):
                self.answer(*fault)
            elif fault is not None:
                self.close_connection = True
                getattr(self, fault)()
            else:
                self.answer(*self.predict(json.loads(body)))
        finally:
            with server.lock:
                server.in_flight -= 1

    def predict(self, request):
        canned = self.server.canned.get(request["signature_name"])
        if canned is not None:
            return canned if isinstance(canned, tuple) else (200, canned)
        version = (
            int(self.path.split("/")[5].partition(":")[0]) if "/versions/" in self.path else max(self.server.versions)
        )
        if version not in self.server.versions:
            return 404, RECORDED["unknown_model"]
        x = np.array(request["instances"])
        if x.shape[1:] != (self.server.versions[version],):
            return 400, RECORDED["kernel_error"]
        y = {"serving_default": x * (version + 1), "score": x.sum(axis=1) * (version + 1)}[request["signature_name"]]
        return 200, json.dumps({"predictions": y.tolist()}).encode()

    def reset(self):
        """Close the connection with a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    def vanish(self):
        """Close the connection without an answer."""

    def half(self):
        """Break off in the middle of the answer."""
        self.answer(200, RECORDED["one_output"][:20], length=len(RECORDED["one_output"]))

    def hang(self):
        self.server.release.wait(20)

    def hang_in_the_middle(self):
        self.half()
        self.server.release.wait(20)

    def drip(self):
        self.half()
        self.send_for_ever(b" ")

    def drip_and_close(self):
        """The same, of an answer behind which the connection ends, so that it belongs to the answer alone."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n")
        self.send_for_ever(b" ")

    def drip_headers(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self.send_for_ever(b"a")

    def pause_and_close(self):
        """Send a byte late, and then no more."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n")
        self.server.release.wait(1.4)
        self.wfile.write(b" ")
        self.server.release.wait(20)

    def send_for_ever(self, byte):
        while not self.server.release.wait(0.02):
            self.wfile.write(byte)


@pytest.fixture
def stub():
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def client(stub):
    with Client(stub.url, model="tiny", timeout=10) as client:
        yield client


X = np.array([[1, 2, 3, 4], [0.5, 0.5, 1, 0.5]], "float32")


# What the real server answers


def test_a_single_output_gets_its_name_back(stub, client):
    stub.canned["serving_default"] = RECORDED["one_output"]
    outputs = client.predict("serving_default", x=X[:1])
    assert list(outputs) == ["reconstruction"]
    assert outputs["reconstruction"].dtype == np.float32
    assert outputs["reconstruction"].tolist() == [[1.0625, -3.875, 1.375, 2.375]]


def test_several_outputs_come_in_their_own_dtypes(stub, client):
    stub.canned["detect"] = RECORDED["many_outputs"]
    outputs = client.predict("detect", x=X[:1])
    assert {name: array.dtype.name for name, array in outputs.items()} == {
        "instance_score": "float32",
        "p_value": "float32",
        "is_outlier": "bool",
        "feature_score": "float32",
    }
    assert outputs["is_outlier"].tolist() == [True]
    assert outputs["p_value"] == np.float32(0.142857149)
    assert outputs["feature_score"].tolist() == [[0.00390625, 34.515625, 2.640625, 2.640625]]


def test_several_inputs_go_out_and_come_back_in_columns(stub, client):
    stub.canned["mixed"] = RECORDED["mixed"]
    outputs = client.predict("mixed", i64=[1], flag=[False], text=["b"], u8=[7], f64=[0.1])
    assert json.loads(stub.requests[-1][1])["inputs"] == {
        "i64": [1],
        "flag": [False],
        "text": [{"b64": "Yg=="}],
        "u8": [7],
        "f64": [0.1],
    }
    assert {name: (array.dtype.name, array.tolist()) for name, array in outputs.items()} == {
        "i64": ("int64", [2]),
        "flag": ("bool", [True]),
        "text": ("object", [b"b!"]),
        "u8": ("uint8", [8]),
        "f64": ("float64", [0.1]),
    }


@pytest.mark.parametrize("signature", ["special", "special_rows"])
def test_nan_and_infinity_travel_both_ways(stub, client, signature):
    stub.canned[signature] = RECORDED[signature]
    outputs = client.predict(signature, x=[[np.nan, np.inf, -np.inf, 0]])
    assert b"[[NaN,Infinity,-Infinity,0.0]]" in stub.requests[-1][1]
    np.testing.assert_array_equal(outputs["ratio"], [[np.nan, 1]])
    np.testing.assert_array_equal(outputs["inverse"], [[np.inf, -np.inf]])


def test_bytes_travel_as_base64_and_keep_their_zeros(stub, client):
    stub.canned["only_bytes"] = RECORDED["only_bytes"]
    outputs = client.predict("only_bytes", s=["é", b"\xff\0\0"])
    sent = json.loads(stub.requests[-1][1])["instances"]
    assert [base64.b64decode(item["b64"]) for item in sent] == ["é".encode(), b"\xff\0\0"]
    assert outputs["raw_bytes"].tolist() == [b"abc", b"\xff\0\xfe"]


def test_strings_that_are_not_utf8_are_read(stub, client):
    stub.canned["only_bytes"] = RECORDED["raw_string"]
    assert client.predict("only_bytes", s=["a"])["raw_bytes"].tolist() == [b"\xff\0\xfe"]


def test_integers_beyond_those_of_a_double_are_exact(stub, client):
    stub.canned["uint64"] = RECORDED["uint64"]
    numbers = np.array([0, 2**53 + 1, 2**64 - 1], "uint64")
    outputs = client.predict("uint64", x=numbers)
    assert json.loads(stub.requests[-1][1])["inputs"]["x"] == numbers.tolist()
    np.testing.assert_array_equal(outputs["y"], numbers)


def test_tensors_without_dimensions_are_possible(stub, client):
    stub.canned["scalar"] = RECORDED["scalar"]
    outputs = client.predict("scalar", x=1.5)
    assert json.loads(stub.requests[-1][1])["inputs"] == {"x": 1.5}
    assert outputs["y"].shape == ()
    assert outputs["y"] == 2.5


def test_an_answer_without_rows_has_the_shape_of_the_signature(stub, client):
    stub.canned["ones"] = RECORDED["no_rows"]
    assert client.predict("ones", n=[0])["y"].shape == (0, 3)


def test_inputs_named_like_an_option_go_into_the_mapping(stub, client):
    stub.canned["scale"] = b'{"outputs": [[2.0, 4.0]]}'
    client.predict("scale", {"x": [[1, 2]]}, factor=2)
    assert json.loads(stub.requests[-1][1])["inputs"] == {"x": [[1.0, 2.0]], "factor": 2.0}
    with pytest.raises(
        ValueError, match="inputs: expected every input once; received factor in the mapping and by keyw"
    ):
        client.predict("scale", {"x": [[1, 2]], "factor": 1}, factor=2)


def test_float32_is_sent_so_that_it_reads_back_to_the_same_bits(stub, client):
    x = (np.random.default_rng(0).normal(size=(50, 4)) * 10.0 ** np.arange(-18, 22, 10)).astype("float32")
    client.predict("serving_default", x=x)
    sent = json.loads(stub.requests[-1][1])["instances"]
    np.testing.assert_array_equal(np.array(sent).astype("float32"), x)


def test_metadata_names_shapes_and_dtypes(client):
    found = client.metadata()
    assert (found.model, found.version) == ("tiny", 1)
    assert "__saved_model_init_op" not in found.signatures
    assert found.signatures["image"].inputs == {"x": TensorSpec("DT_UINT8", (None, 2, 2))}
    assert found.signatures["uint64"].inputs["x"].shape is None
    assert "→ x               uint8 (batch, 2, 2)" in str(found)


def test_status_lists_versions_newest_first(client):
    assert client.status() == [
        VersionStatus(2, "AVAILABLE"),
        VersionStatus(1, "END", "DATA_LOSS", "Can't parse 1/saved_model.pb as binary proto"),
    ]


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ((400, RECORDED["kernel_error"]), "INVALID_ARGUMENT", "Matrix size-incompatible: In[0]: [1,5], In[1]: [4,2]"),
        (
            (400, RECORDED["assertion"]),
            "INVALID_ARGUMENT",
            "inputs: expected shape (batch, 8, 8, 1), batch >= 1; received 2 3",
        ),
        ((404, RECORDED["unknown_model"]), "NOT_FOUND", "Servable not found for request: Latest(nosuch)"),
        ((404, RECORDED["html"]), "NOT_FOUND", "<H1>Not Found</H1>"),
        ((400, b""), "INVALID_ARGUMENT", "HTTP status 400"),
        ((501, b'{"error": ""}'), "UNIMPLEMENTED", "HTTP status 501"),
        ((418, b'{"error": "\xff"}'), "UNKNOWN", "\N{REPLACEMENT CHARACTER}"),
        ((302, b""), "UNKNOWN", "HTTP status 302"),
    ],
)
def test_the_servers_message_is_raised(stub, client, answer, code, message):
    stub.canned["score"] = answer
    with pytest.raises(ServingError, match=r"POST http://.*/v1/models/tiny:predict, signature score") as raised:
        client.score(X)
    assert raised.value.code == code
    assert message in raised.value.message
    assert "{{" not in str(raised.value)
    assert not raised.value.may_be_retried
    assert len(stub.paths(":predict")) == 1


def test_the_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(ServingError("NOT_FOUND", "no", "GET /", True)))
    assert (error.code, error.message, error.request, error.may_be_retried) == ("NOT_FOUND", "no", "GET /", True)


# What is checked before anything is sent


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("score", {"x": [[1, 2, 3]]}, r"x: expected shape \(batch, 4\); received \(1, 3\)\.$"),
        ("score", {"x": [1, 2, 3, 4]}, r"received \(4,\)\. Add the batch axis: x\[None\]\.$"),
        ("score", {"x": [[1, 2, 3, 4], [1]]}, "x: expected an array; received nested lists that are none"),
        ("score", {"x": [["1", "2", "3", "4"]]}, r"x: expected values that float32 can hold; received <U1\."),
        (
            "score",
            {"x": [[1e39, 0, 0, 0]]},
            r"expected values that float32 can hold; received float64 with a value of 1e\+39",
        ),
        (
            "score",
            {"x": np.array([[2**24, 2**24 + 1, 0, 0]])},
            r"x: expected values that float32 can hold; received int64 with a value of 16777217\.$",
        ),
        ("mixed", {**{key: [1] for key in MIXED}, "text": ["a"], "f64": [2**63 - 1]}, "f64: .*of 9223372036854775807"),
        (
            "score",
            {"x": np.ma.masked_equal(X, 2)},
            r"x: expected values without a mask, .*; received some that are masked\. .*x\.filled",
        ),
        ("only_bytes", {"s": np.ma.array(["a", "b"], mask=[False, True])}, "s: expected values without a mask"),
        ("score", {"y": X}, "inputs: expected x, the inputs of signature score; received y"),
        ("score", {}, "received none"),
        (
            "image",
            {"x": np.full((1, 2, 2), 256)},
            "expected values that uint8 can hold; received int64 with a value of 256",
        ),
        ("image", {"x": np.full((1, 2, 2), -1)}, "uint8 can hold; received int64 with a value of -1"),
        ("image", {"x": np.full((1, 2, 2), 0.5)}, "uint8 can hold; received float64 with a value of 0.5"),
        ("image", {"x": np.full((1, 2, 2), np.nan)}, "uint8 can hold; received float64 with a value of nan"),
        ("add", {"a": [1, 2], "b": [1]}, "the same number of rows in every input; received 2 in a, 1 in b"),
        ("add", {"a": np.array([2**64 - 1], "uint64"), "b": [1]}, "a: expected values that int64 can hold"),
        ("only_bytes", {"s": [1]}, "s: expected bytes or text; received int"),
        ("only_bytes", {"s": ["\ud800"]}, "s: expected text that UTF-8 can hold"),
        ("half", {"x": [1.0]}, "x: expected an input of a dtype that REST carries; received float16.*grpc://"),
        (
            "nosuch",
            {"x": X},
            "signature: expected one of add, detect, .* which version 1 of tiny has; received 'nosuch'",
        ),
    ],
)
def test_what_does_not_fit_the_signature_is_refused_and_not_sent(stub, client, name, inputs, message):
    with pytest.raises(ValueError, match=message):
        client.predict(name, **inputs)
    assert stub.paths(":predict") == []


def test_whole_numbers_of_any_dtype_go_into_integers(stub, client):
    stub.canned["image"] = b'{"predictions": [1.0]}'
    client.predict("image", x=np.full((1, 2, 2), 255.0))
    assert b'"instances":[[[255,255],[255,255]]]' in stub.requests[-1][1]


def test_integers_that_a_float_holds_and_masks_that_hide_nothing_are_sent(stub, client):
    integers = [[2**24, 2**24 + 2, -(2**40), 0]]
    client.score(np.array(integers))
    assert np.array(json.loads(stub.requests[-1][1])["instances"], "float32").tolist() == integers
    assert client.score(np.ma.array(X, mask=False))[0] == 20


def test_no_rows_give_no_rows_and_nothing_is_sent(stub, client):
    assert client.score(X[:0]).shape == (0,)
    assert client.reconstruct(X[:0]).shape == (0, 4)
    assert client.predict("detect", x=X[:0])["is_outlier"].dtype == bool
    assert client.score_images([]).shape == (0,)
    assert stub.paths(":predict") == []
    with pytest.raises(ValueError, match=r"expected shape \(batch, 4\); received \(0, 3\)"):
        client.score(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="inputs: expected at least one row, as outputs of signature uint64"):
        client.predict("uint64", x=[])


def test_images_are_given_as_bytes_or_as_paths(stub, client, tmp_path):
    stub.canned["serve_image_bytes"] = b'{"predictions": [1.0, 2.0, 3.0]}'
    (tmp_path / "b.png").write_bytes(b"\x89PNG\0")
    scores = client.score_images([b"\xff\xd8", tmp_path / "b.png", str(tmp_path / "b.png")])
    assert scores.tolist() == [1, 2, 3]
    sent = json.loads(stub.requests[-1][1])["instances"]
    assert [base64.b64decode(item["b64"]) for item in sent] == [b"\xff\xd8", b"\x89PNG\0", b"\x89PNG\0"]
    with pytest.raises(ValueError, match=r"images: expected a list; .* \[image\]"):
        client.score_images(b"\xff\xd8")


def test_examples_are_given_as_messages_or_serialized(stub, client):
    class Message:
        def SerializeToString(self):  # noqa: N802
            return b"\x0a\0"

    stub.canned["serve_tf_examples"] = b'{"predictions": [1.0, 2.0]}'
    assert client.score_examples([Message(), b"\x0a\0"]).tolist() == [1, 2]
    sent = json.loads(stub.requests[-1][1])["instances"]
    assert sent == [{"b64": "CgA="}, {"b64": "CgA="}]


# Large inputs


def rows(number):
    return np.arange(number * 4, dtype="float32").reshape(number, 4)


def test_a_large_input_is_sent_in_pieces_and_put_together_in_order(stub):
    stub.pause = 0.01
    with Client(stub.url, model="tiny", batch_size=3, concurrency=2) as client:
        np.testing.assert_array_equal(client.reconstruct(rows(50)), rows(50) * 2)
        np.testing.assert_array_equal(client.score(rows(7), batch_size=2), rows(7).sum(axis=1) * 2)
    sizes = [len(json.loads(body)["instances"]) for path, body in stub.requests if path.endswith(":predict")]
    assert sorted(sizes[:17]) == [2] + [3] * 16
    assert sorted(sizes[17:]) == [1, 2, 2, 2]
    assert stub.most_in_flight == 2
    assert set(stub.paths(":predict")) == {"/v1/models/tiny/versions/1:predict"}


def test_requests_are_cut_by_their_bytes_too(stub, client):
    stub.canned["serve_image_bytes"] = (400, b'{"error": "seen"}')
    with pytest.raises(ServingError, match="seen"):
        client.score_images([bytes(2 * 2**20)] * 3)
    lengths = [len(body) for path, body in stub.requests if path.endswith(":predict")]
    assert lengths
    assert all(2.5e6 < length < 4 * 2**20 for length in lengths)


def test_requests_with_nan_are_no_longer_than_they_are_taken_for(stub, client):
    x = np.full((60_000, 4), -0.0000063184107, "float32")  # As long as a float32 gets.
    x[0, 0] = np.nan
    stub.canned["score"] = (400, b'{"error": "seen"}')
    with pytest.raises(ServingError, match="seen"):
        client.score(x, batch_size=10**6)
    longest = max((body for path, body in stub.requests if path.endswith(":predict")), key=len)
    assert 2.5e6 < len(longest) < 4 * 2**20
    np.testing.assert_array_equal(np.array(json.loads(longest)["instances"][:2]).astype("float32"), x[:2])


def test_all_pieces_are_answered_by_the_same_version(stub):
    def publish():
        if len(stub.paths(":predict")) == 4:
            stub.versions = {2: 4}

    stub.before_predict = publish
    with Client(stub.url, model="tiny", batch_size=2) as client:
        np.testing.assert_array_equal(client.reconstruct(rows(20)), rows(20) * 3)


def test_an_error_in_one_piece_names_its_rows_and_ends_the_others(stub):
    stub.faults.extend([(500, b'{"error": "XLA compilation disabled"}')] * 2)
    with (
        Client(stub.url, model="tiny", batch_size=1, concurrency=1) as client,
        pytest.raises(ServingError, match=r"XLA compilation disabled \(INTERNAL; asked: .*, rows 0 to 0\)"),
    ):
        client.score(rows(100))
    assert len(stub.paths(":predict")) < 20


def test_a_server_that_takes_fewer_rows_gets_fewer(stub, client):
    stub.faults.append((400, RECORDED["too_many_rows"]))
    np.testing.assert_array_equal(client.score(rows(5)), rows(5).sum(axis=1) * 2)
    client.score(rows(9))
    sizes = [len(json.loads(body)["instances"]) for path, body in stub.requests if path.endswith(":predict")]
    assert sizes[0] == 5
    assert sorted(sizes[1:3]) == [1, 4]
    assert sorted(sizes[3:]) == [1, 4, 4]


def test_a_large_answer_is_read_whole(stub, client):
    stub.canned["special"] = json.dumps({"outputs": {"ratio": [[0.5] * 10**6], "inverse": [[0.25] * 10**6]}}).encode()
    outputs = client.predict("special", x=X[:1])
    assert outputs["ratio"].shape == (1, 10**6)
    assert (outputs["inverse"] == 0.25).all()


def test_progress_is_shown_when_asked(stub, client, capsys):
    client.score(rows(10), batch_size=5)
    assert capsys.readouterr().err == ""
    client.score(rows(10), batch_size=5, progress=True)
    assert "10/10" in capsys.readouterr().err


# Metadata that gets old


def test_metadata_is_fetched_once(stub, client):
    for _ in range(5):
        client.score(X)
    assert len(stub.paths("/metadata")) == 1


def test_an_input_that_fits_a_new_version_is_sent(stub, client):
    client.score(X)
    stub.versions = {2: 5}
    np.testing.assert_array_equal(client.score(np.ones((1, 5))), [15])
    with pytest.raises(ValueError, match=r"expected shape \(batch, 5\)"):
        client.score(X)


def test_an_input_that_a_new_version_refuses_is_checked_anew(stub, client):
    client.score(X)
    stub.versions = {2: 5}
    with pytest.raises(ValueError, match=r"x: expected shape \(batch, 5\); received \(2, 4\)"):
        client.score(X)


def test_a_new_version_is_used_as_soon_as_the_server_has_it(stub, client):
    assert client.score(X)[0] == 20
    stub.versions = {1: 4, 2: 4}
    assert client.score(X)[0] == 30


def test_version_and_label_are_part_of_the_path(stub):
    stub.versions = {1: 4, 2: 4}
    with Client(stub.url + "/", model="tiny", version=1) as client:
        assert client.score(X)[0] == 20
        client.status()
    assert [path for path, _ in stub.requests] == [
        "/v1/models/tiny/versions/1/metadata",
        "/v1/models/tiny/versions/1:predict",
        "/v1/models/tiny/versions/1",
    ]
    stub.requests.clear()
    with Client(stub.url + "/behind/a/proxy", model="ti/ny é", label="a b") as client:
        client.metadata()
    assert stub.requests[0][0] == "/behind/a/proxy/v1/models/ti%2Fny%20%C3%A9/labels/a%20b/metadata"


# Servers that misbehave


@pytest.mark.parametrize(
    "fault",
    [(503, b'{"error": "busy"}'), (429, b""), "reset", "vanish", "half"],
    ids=["503", "429", "reset", "vanish", "half"],
)
def test_what_may_be_retried_is_retried(stub, client, fault):
    client.metadata()
    stub.faults.extend([fault] * 2)
    assert client.score(X)[0] == 20
    assert len(stub.paths(":predict")) == 3


def test_retries_end_after_so_many(stub):
    stub.faults.extend([(503, b'{"error": "busy"}')] * 9)
    with Client(stub.url, model="tiny", retries=2) as client, pytest.raises(ServingError, match="busy") as raised:
        client.score(X)
    assert (raised.value.code, raised.value.may_be_retried) == ("UNAVAILABLE", True)
    assert len(stub.paths(":predict")) == 3


def test_retries_end_with_the_time(stub):
    stub.faults.extend([(503, b'{"error": "busy"}')] * 99)
    with Client(stub.url, model="tiny", retries=99) as client:
        client.metadata()
        with pytest.raises(ServingError, match="busy"):
            client.score(X, timeout=0.5)
    assert 2 <= len(stub.paths(":predict")) <= 6  # The pauses alone are 0.05 s, 0.1 s, 0.2 s, … at least.


def test_a_refused_connection_is_unavailable():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # And never listens.
        client = Client(f"http://127.0.0.1:{unused.getsockname()[1]}", model="tiny", retries=1)
        with pytest.raises(ServingError, match=r"no connection: Failed to establish .*refused") as raised:
            client.status()
    assert raised.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("fault", ["hang", "hang_in_the_middle", "drip", "drip_and_close", "drip_headers"])
def test_a_server_that_does_not_finish_is_given_up(stub, client, fault):
    client.metadata()
    stub.faults.append(fault)
    start = time.monotonic()
    with pytest.raises(ServingError, match=r"no answer within 0.3 s") as raised:
        client.score(X, timeout=0.3)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - start < 15  # Not a measure of speed: it hangs for 20 s or for ever.
    assert client.score(X)[0] == 20


def test_a_late_byte_does_not_start_the_time_anew(stub, client):
    client.metadata()
    stub.faults.append("pause_and_close")
    start = time.monotonic()
    with pytest.raises(ServingError, match=r"no answer within 1\.5 s"):
        client.score(X, timeout=1.5)
    assert time.monotonic() - start < 2.7  # The byte comes after 1.4 s, so that it would be 2.9 s.


def test_a_server_that_does_not_read_is_given_up(stub, client):
    stub.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)  # Of the connections that it accepts, too.
    client.metadata()
    stub.faults.append("deaf")
    with pytest.raises(ServingError, match="no answer within 1 s") as raised:
        client.score_images([bytes(2**23)], timeout=1)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    assert not stub.faults
    assert stub.paths(":predict") == []
    assert client.score(X)[0] == 20


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome</html>",
        b"[]",
        b'{"outputs": [1.0, 2.0]}',
        b'{"predictions": null}',
        b'{"predictions": [1.0, null]}',
        b'{"predictions": [1.0, "2.0"]}',
        b'{"predictions": [[1.0], 2.0]}',
        b'{"predictions": [true, false]}',
        b'{"predictions": {"nosuch": [1.0]}}',
        b'{"predictions": [1.0, 2.0',
        b"[" * 100_000,
    ],
)
def test_an_answer_that_is_none_is_an_error(stub, client, body):
    stub.canned["score"] = body
    with pytest.raises(ServingError, match="expected an answer of TensorFlow Serving; received") as raised:
        client.score(X)
    assert raised.value.code == "INTERNAL"


def test_an_answer_of_another_shape_is_an_error(stub, client):
    stub.canned["score"] = b'{"predictions": [[1.0], [2.0]]}'
    with pytest.raises(
        ServingError, match=r"expected outputs instance_score \(batch,\), .*received instance_score \(2, 1\)"
    ):
        client.score(X)


def test_an_answer_with_another_number_of_rows_is_an_error(stub, client):
    stub.canned["score"] = b'{"predictions": [1.0]}'
    with pytest.raises(ServingError, match="with a batch of 2; received"):
        client.score(X)
    with pytest.raises(ServingError, match="with a batch of 3; received"):
        client.predict("score", x=rows(6), batch_size=3)
    assert client.predict("score", x=X)["instance_score"].tolist() == [1]  # Not every signature is of a row each.


def test_metadata_that_is_none_is_an_error(stub):
    stub.versions = {1: "wide"}
    with (
        Client(stub.url, model="tiny") as client,
        pytest.raises(ServingError, match="expected an answer of TensorFlow"),
    ):
        client.score(X)


# Readiness


def test_waiting_ends_with_a_real_answer_and_not_with_available(stub):
    stub.faults.extend([(400, b'{"error": "Could not find variable"}'), (404, RECORDED["unknown_model"])])
    with Client(stub.url, model="tiny", retries=0) as client:
        assert client.status()[0].state == "AVAILABLE"
        client.wait_until_ready(timeout=10)
    assert len(stub.paths(":predict")) == 3


def test_waiting_takes_a_server_that_is_not_there_yet():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ready = threading.Event()

    def wait():
        with Client(f"http://127.0.0.1:{port}", model="tiny", retries=0) as client:
            client.wait_until_ready(timeout=20)
        ready.set()

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    assert not ready.is_set()

    class Late(Stub):
        def __init__(self):
            super().__init__()
            self.socket.close()
            self.socket = socket.socket()
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.server_address = ("127.0.0.1", port)
            self.server_bind()
            self.server_activate()

    with Late() as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        thread.join(20)
        server.shutdown()
        serving.join()
    assert ready.is_set()


def test_waiting_ends_in_time_with_the_reason(stub, client):
    stub.canned["serving_default"] = (400, b'{"error": "Could not find variable"}')
    with pytest.raises(
        ServingError, match=r"not ready within 0.3 s, at last because of: Could not find variable"
    ) as raised:
        client.wait_until_ready(timeout=0.3)
    assert raised.value.code == "DEADLINE_EXCEEDED"


def test_waiting_does_not_wait_for_a_token_to_become_right(stub, client):
    stub.canned["serving_default"] = (401, b'{"error": "no token"}')
    with pytest.raises(ServingError, match="no token"):
        client.wait_until_ready(timeout=60)


def test_waiting_can_ask_something_else(stub, client):
    stub.canned["only_bytes"] = RECORDED["only_bytes"]
    with pytest.raises(ValueError, match="inputs: expected what to ask signature only_bytes with"):
        client.wait_until_ready(signature="only_bytes")
    client.wait_until_ready(signature="only_bytes", inputs={"s": ["a", "b"]})


# Connections


def test_connections_are_used_again(stub, client):
    for _ in range(10):
        client.score(X)
    assert stub.connections == 1


def test_a_client_may_be_used_by_several_threads(stub, client):
    answers = {}

    def ask(number):
        answers[number] = [client.score(np.full((1, 4), number))[0] for _ in range(10)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == {number: [8 * number] * 10 for number in range(8)}
    assert stub.connections <= 4


def test_the_token_is_sent_and_not_shown(stub):
    with Client(stub.url, model="tiny", token="secret") as client:
        client.score(X)
        assert "secret" not in repr(client)
    assert {headers["Authorization"] for headers in stub.headers} == {"Bearer secret"}


def test_a_closed_client_says_so(stub):
    with Client(stub.url, model="tiny") as client:
        client.score(X)
    client.close()
    with pytest.raises(ValueError, match="client: expected one that is open"):
        client.score(X)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificate, is not installed")
def test_tls_is_checked_against_the_given_certificates(stub, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    stub.socket = context.wrap_socket(stub.socket, server_side=True)
    address = stub.url.replace("http", "https")
    with Client(address, model="tiny", ca_file=certificate) as client:
        assert client.score(X)[0] == 20
    with Client(address, model="tiny") as client, pytest.raises(ServingError, match="no trusted connection") as raised:
        client.score(X)
    assert not raised.value.may_be_retried


def test_the_rest_client_imports_neither_tensorflow_nor_grpc():
    code = (
        "import sys; from tfae.serving import Client; Client('http://localhost:1', model='m').close(); "
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'tensorflow', 'keras', 'grpc', 'rich', 'aiohttp'}))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert output == "[]\n"


# Arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"address": "localhost:8501"},
            r'address: expected http://.*received \'localhost:8501\'\. Write "http://localhost',
        ),
        ({"address": "ftp://localhost"}, "address: expected http://.*received 'ftp://localhost'"),
        ({"address": "http://"}, "address: expected"),
        ({"address": "http://[::1"}, "address: expected"),
        ({"address": None}, "address: expected"),
        ({"address": "http://user:secret@localhost"}, "nothing that holds @, . or #; received something else"),
        ({"address": "http://localhost:8501/v1/models/digits"}, "Leave out /v1 and what follows"),
        ({"address": "grpc://localhost:8500/path"}, "gRPC has no paths"),
        ({"model": ""}, "model: expected the name of a model"),
        ({"model": "."}, r"model: expected the name of a model on the server; received '\.'"),
        ({"model": ".."}, r"model: expected the name of a model on the server; received '\.\.'"),
        ({"version": 1, "label": "stable"}, "label: expected no label beside version=1; received 'stable'"),
        ({"version": -1}, "version: expected an integer of at least 0; received -1"),
        ({"version": "1"}, "version: expected an integer of at least 0; received '1'"),
        ({"label": ""}, "label: expected the name of a version label"),
        ({"label": ".."}, "label: expected the name of a version label"),
        ({"timeout": 0}, "timeout: expected a positive number of seconds; received 0"),
        ({"timeout": float("inf")}, "timeout: expected a positive number of seconds; received inf"),
        ({"timeout": True}, "timeout: expected a positive number of seconds; received True"),
        ({"timeout": "3"}, "timeout: expected a positive number of seconds; received '3'"),
        ({"batch_size": True}, "batch_size: expected an integer of at least 1; received True"),
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1; received 0"),
        ({"concurrency": 1.5}, r"concurrency: expected an integer of at least 1; received 1\.5"),
        ({"retries": -1}, "retries: expected an integer of at least 0; received -1"),
        ({"token": "a\r\nX: y"}, r"token: expected printable ASCII without blanks; received something else\."),
        ({"ca_file": "ca.pem"}, "ca_file: expected none with http://"),
        (
            {"address": "https://localhost", "ca_file": "no/such.pem"},
            "ca_file: expected a PEM file; received no/such.pem",
        ),
    ],
)
def test_arguments_that_can_not_be_meant_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Client(**{"address": "http://localhost:8501", "model": "digits", **arguments})


def test_numbers_of_numpy_are_numbers(stub):
    with Client(stub.url, model="tiny", timeout=np.float32(3), batch_size=np.int64(2), version=np.uint8(1)) as client:
        assert client.score(X, timeout=np.int32(3))[0] == 20


def test_options_of_a_call_are_checked(stub, client):
    with pytest.raises(ValueError, match="batch_size: expected an integer of at least 1; received 0"):
        client.score(X, batch_size=0)
    with pytest.raises(ValueError, match="timeout: expected a positive number of seconds; received -1"):
        client.score(X, timeout=-1)
    with pytest.raises(TypeError, match="expected the options timeout, batch_size and progress; received batchsize"):
        client.score(X, batchsize=1)
