"""Requests that are broken, of wrong types, too slow or too large: each is refused, and nobody else suffers."""

import contextlib
import gzip
import http.client
import json
import logging
import re
import resource
import socket
import sys
import threading
import time
import zlib
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from tests import tiny_models
from tfae.serving import LocalServer
from tfae.serving.local import server as server_module

#: Seconds in which there has to be an answer.
PATIENCE = 30
MAX_REQUEST_BYTES = 1 << 20
#: Most further memory of server and test together, by test: 64 MiB for the others.
MOST_BYTES = {
    "test_a_small_body_that_unpacks_to_a_large_one_is_refused": 96 << 20,
    "test_deep_and_long_documents_are_refused_at_once": 128 << 20,
}
#: The same for all messages over gRPC, hundreds of requests.
MOST_GRPC_BYTES = 224 << 20
PREDICT = b"/v1/models/times:predict"
CHUNKED = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % PREDICT
#: A request that is in order; the answer has these rows doubled.
GOOD = b'{"instances": [[1, 2.5], [-3, 4]]}'
GRPC_PREDICT = "/tensorflow.serving.PredictionService/Predict"


def examples(count):
    """Settings of a test that sends that many requests, the same ones each time."""
    unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=unhurried)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that doubles; at the end it has failed in nothing."""
    folder = tmp_path_factory.mktemp("malformed") / "times"
    tiny_models.write(folder / "1", 2.0)
    failures = []
    watch = logging.Handler(logging.ERROR)
    watch.emit = lambda record: failures.append(logging.Formatter().format(record))
    logging.getLogger().addHandler(watch)
    try:
        with LocalServer(folder, max_request_bytes=MAX_REQUEST_BYTES) as started:
            yield started
    finally:
        logging.getLogger().removeHandler(watch)
    assert not failures, f"the server failed {len(failures)} times; first {failures[0]}"


@pytest.fixture(scope="module")
def client(server):
    asked = Rest(server.rest_port)
    yield asked
    asked.good.close()


@pytest.fixture
def rest(client, request):
    with is_steady(MOST_BYTES.get(request.node.originalname, 64 << 20)):
        yield client


@contextlib.contextmanager
def is_steady(most_bytes):
    """Hold that threads, open connections and memory are no more afterwards than before, the server's pool aside."""
    threads, files, peak = threading.active_count(), num_open_files(), peak_bytes()
    yield
    tiny_models.until(lambda: num_open_files() <= files, PATIENCE)
    assert threading.active_count() <= threads + 16
    assert peak_bytes() < peak + most_bytes


def num_open_files():
    return sum(1 for _ in Path("/dev/fd").iterdir())


def peak_bytes():
    """Most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Rest:
    """A client that sends any bytes, and then sees whether the server still answers."""

    def __init__(self, port):
        self.port = port
        self.good = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.check()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def ask(self, raw):
        """Status and body of each answer to these bytes; then a good request."""
        with self.connect() as connection:
            connection.sendall(raw)
            found = answers(receive(connection))
        self.check()
        return found

    def post(self, body, headers=b""):
        """Status and JSON of the answer to a request with that body."""
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s" % (PREDICT, headers)
        ((status, text),) = self.ask(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
        document = json.loads(text.decode(errors="surrogateescape"))
        assert status == 200 or (list(document) == ["error"] and document["error"])
        return status, document

    def check(self):
        """Hold that a good request gets the right answer."""
        self.good.request("POST", PREDICT.decode(), GOOD)
        response = self.good.getresponse()
        assert response.status == 200
        assert json.loads(response.read()) == {"predictions": [[2, 5], [-6, 8]]}


def receive(connection):
    """All that comes until the server closes the connection, or cuts it off."""
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            answer += part
    return answer


def answers(raw):
    """Status and body of each answer that a server has sent."""
    found = []
    while raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        line = re.match(rb"HTTP/1\.[01] (\d{3}) ", head)
        assert line, f"no answer of HTTP: {raw!r}"
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        size = int(length[1]) if length else 0
        found.append((int(line[1]), rest[:size]))
        raw = rest[size:]
    return found


PARTS = ["v1", "V1", "models", "times", "t%69mes", "versions", "labels", "1", "01", "9" * 30, "-1", "..", "%", "%zz"]
PARTS += ["%00", "%ff", "%2f", "?a=1", "\\", "*", "\xff", "é"]
ENDINGS = ["", ":predict", ":PREDICT", ":classify", "/metadata", "/", ":no", "?"]


@examples(200)
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]),
    st.lists(st.sampled_from(PARTS), max_size=5).map("/".join),
    st.sampled_from(["/", "/v1/models/", "/v1/models/times/"]),
    st.sampled_from(ENDINGS),
)
def test_odd_methods_and_paths_are_refused(client, method, parts, start, ending):
    line = f"{method} {start}{parts}{ending} HTTP/1.1".encode("latin-1")
    found = client.ask(line + b"\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD))
    assert [status for status, _ in found] in ([200], [400], [404])


@pytest.mark.parametrize(
    "raw",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",  # TLS
        CHUNKED + b"zz\r\n",
    ],
)
def test_what_is_not_http_is_a_bad_request(rest, raw):
    assert [status for status, _ in rest.ask(raw)] == [400]


PACKED = gzip.compress(GOOD, mtime=0)


@examples(100)
@given(st.integers(0, len(PACKED) - 1), st.integers(0, 255), st.sampled_from(["change", "cut", "append"]))
def test_broken_gzip_is_refused(client, position, byte, what):
    body = {
        "change": PACKED[:position] + bytes([byte]) + PACKED[position + 1 :],
        "cut": PACKED[:position],
        "append": PACKED + bytes([byte]) * position,
    }[what]
    try:
        is_good = gzip.decompress(body) == GOOD
    except (EOFError, OSError, ValueError, zlib.error):
        is_good = False
    status, _ = client.post(body, headers=b"Content-Encoding: gzip\r\n")
    assert status == 200 if body == PACKED else is_good or status == 400


def test_a_small_body_that_unpacks_to_a_large_one_is_refused(rest):
    body = gzip.compress(b" " * (64 * MAX_REQUEST_BYTES))
    status, document = rest.post(body, headers=b"Content-Encoding: gzip\r\n")
    assert (status, document) == (413, {"error": f"body: expected at most {MAX_REQUEST_BYTES} bytes; received more."})


@pytest.mark.parametrize(
    ("head", "piece", "status"),
    [
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 1000, 400),
        (b"GET / HTTP/1.1\r\n", b"y" * 65536, 400),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n" % PREDICT, b" " * 65536, 413),
        (CHUNKED, b"10000\r\n%s\r\n" % (b" " * 65536), 413),
    ],
    ids=["headers", "header", "declared body", "chunked body"],
)
def test_floods_are_refused_and_not_kept_in_memory(rest, head, piece, status):
    with rest.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head)
            # The server lets the client send for a while, so that it reads the answer, and throws all of it away.
            for _ in range((256 << 20) // len(piece)):
                connection.sendall(piece)
        answer = receive(connection)
    rest.check()
    # Or it was cut off, with what it had been told still under way.
    assert [found for found, _ in answers(answer)] in ([status], [])


@pytest.mark.parametrize(
    ("head", "drip", "statuses"),
    [
        (b"", b"", []),
        (b"POST %s HTTP/1.1\r\nHost: x\r\n" % PREDICT, b"X: y\r\n", []),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n" % PREDICT, b" ", [408]),
        (CHUNKED, b"1\r\n \r\n", [408]),
        (b"GET /v1/models/times HTTP/1.1\r\nHost: x\r\n\r\n", b"", [200]),
    ],
    ids=["silent", "headers", "body", "chunks", "idle"],
)
def test_slow_requests_are_cut_off(server, client, monkeypatch, head, drip, statuses):
    monkeypatch.setattr(server_module, "_MESSAGE_TIMEOUT", 0.5)
    answer, began = b"", time.monotonic()
    with (
        LocalServer(*server.models._source.args) as hasty,
        socket.create_connection(("127.0.0.1", hasty.rest_port), timeout=0.1) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.sendall(head)
        while True:
            assert time.monotonic() < began + PATIENCE, f"not cut off; the answer so far is {answer!r}"
            try:
                if not (part := connection.recv(1 << 16)):
                    break
                answer += part
            except TimeoutError:
                connection.sendall(drip)
    assert [status for status, _ in answers(answer)] == statuses
    assert time.monotonic() > began + 0.25
    client.check()


NEARLY = [
    GOOD,
    b'{"signature_name": "serving_default", "instances": [{"x": [1, 2]}, {"x": [1e3, -0.5]}]}',
    b'{"inputs": {"x": [[1, 2], [3, 4]]}}',
]
TOKENS = [bytes([byte]) for byte in b'[]{},:"\\\0\xff-.']
TOKENS += [b"\xef\xbb\xbf", b"\r\n", b"NaN", b"-Inf", b"1e999", b"9" * 400, b"18446744073709551616", b"01", b"null"]
TOKENS += [b"true", b'{"b64": "AA"}', b"[" * 700, rb"\ud800", rb"\u00", b"/**/"]
TOKENS += [b'"instances": 1,', b'"inputs": [],', b'"signature_name": 3,', b'"x":']
edits = st.lists(
    st.tuples(st.sampled_from("-+=~"), st.integers(0, 90), st.integers(1, 9), st.sampled_from(TOKENS) | st.binary()),
    min_size=1,
    max_size=4,
)


@examples(400)
@given(st.sampled_from(NEARLY), edits)
def test_nearly_right_json_is_answered_or_refused(client, text, changes):
    for kind, start, size, token in changes:
        start %= len(text) + 1
        piece = text[start : start + size]
        text = text[:start] + {"-": b"", "+": token + piece, "=": piece * 3, "~": token}[kind] + text[start + size :]
    assert client.post(text)[0] in (200, 400)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None))
numbers = st.integers(-9, 300) | st.floats() | st.sampled_from([2**31, -(2**63) - 1, 2**64, 10**310])
objects = st.fixed_dictionaries({}, optional=dict.fromkeys(("x", "a", "b", "text", "b64", "é"), scalars))
tensors = st.recursive(
    numbers | scalars | objects,
    lambda inner: st.lists(inner, max_size=3) | st.fixed_dictionaries({"x": inner}) | st.lists(numbers, max_size=3),
    max_leaves=12,
)
SIGNATURES = ["add", "finite", "half", "strings", "total", "", "no", "__saved_model_init_op"]
documents = st.fixed_dictionaries(
    {}, optional={"signature_name": st.sampled_from(SIGNATURES) | scalars, "instances": tensors, "inputs": tensors}
)


@examples(300)
@given(documents | tensors, st.booleans())
def test_documents_of_wrong_types_shapes_and_names_are_answered_or_refused(client, document, is_escaped):
    body = json.dumps(document, ensure_ascii=is_escaped).encode(errors="surrogatepass")
    assert client.post(body)[0] in ((200, 400, 501) if b'"half"' in body else (200, 400))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"[" * 1_000_000, "JSON Parse error"),
        (b'{"instances": ' + b"[" * 9_000 + b"]" * 9_000 + b"}", "JSON Parse error|lists of equal lengths"),
        (b'{"inputs": ' + b'{"x": ' * 9_000 + b"1" + b"}" * 9_000 + b"}", "JSON Parse error|received dict"),
        (b'{"instances": [[1, ' + b"9" * 1_000_000 + b"]]}", "number too large"),
        (b'{"instances": "' + b"x" * 1_000_000 + b'"}', "instances: expected a list"),
        (b'{"signature_name": "' + b"x" * 1_000_000 + b'", "instances": [1]}', "signature_name: expected one of"),
    ],
    ids=["open", "lists", "objects", "digits", "string", "name"],
)
def test_deep_and_long_documents_are_refused_at_once(rest, body, error):
    status, document = rest.post(body)
    assert status == 400
    assert re.search(error, document["error"])


DT_FLOAT = 1
REQUESTS = {
    GRPC_PREDICT: predict_pb2.PredictRequest,
    "/tensorflow.serving.PredictionService/GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    "/tensorflow.serving.PredictionService/Classify": classification_pb2.ClassificationRequest,
    "/tensorflow.serving.ModelService/GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
}
#: What the real server answers to requests that it can read.
REFUSALS = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED"}


def predict_request(**fields):
    """The bytes of a request that is in order, but for these fields of its tensor; the answer has 2, 5, -6, 8."""
    tensor = {"dtype": DT_FLOAT, "tensor_shape": {"dim": [{"size": 2}] * 2}, "float_val": [1, 2.5, -3, 4], **fields}
    inputs = {"x": tensor_pb2.TensorProto(**tensor)}
    return predict_pb2.PredictRequest(model_spec={"name": "times"}, inputs=inputs).SerializeToString()


GOOD_MESSAGE = predict_request()


@pytest.fixture(scope="module")
def ask(server):
    """Sends any bytes, gives the code and what is said, and sees whether the server still answers."""
    with grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel:

        def call(method, message, **options):
            try:
                return "OK", channel.unary_unary(method)(message, timeout=PATIENCE, **options)
            except grpc.RpcError as error:
                return error.code().name, error.details()

        def call_and_check(method, message, **options):
            found = call(method, message, **options)
            code, answer = call(GRPC_PREDICT, GOOD_MESSAGE)
            assert code == "OK", answer
            assert list(predict_pb2.PredictResponse.FromString(answer).outputs["y"].float_val) == [2, 5, -6, 8]
            return found

        call_and_check(GRPC_PREDICT, GOOD_MESSAGE)  # Connects.
        with is_steady(MOST_GRPC_BYTES):
            yield call_and_check


places = st.integers(0, len(GOOD_MESSAGE) - 1)
byte_edits = st.lists(
    st.tuples(places, st.integers(0, 4), st.binary(max_size=4) | st.just(GOOD_MESSAGE)), min_size=1, max_size=4
)


@examples(300)
@given(st.sampled_from([GRPC_PREDICT, *REQUESTS]), byte_edits, st.none() | st.binary(max_size=60))
def test_bytes_that_are_no_message_are_refused(ask, method, changes, noise):
    raw = GOOD_MESSAGE
    for start, size, piece in changes:
        raw = raw[:start] + piece + raw[start + size :]
    raw = raw if noise is None else noise
    code, said = ask(method, raw)
    try:
        REQUESTS[method].FromString(raw)
    except DecodeError:
        assert code == "INTERNAL"  # As the real server's gRPC says it.
        assert said.startswith(f"message: expected a {REQUESTS[method].__name__}; ")
    else:
        assert code in {"OK", *REFUSALS}


sizes = st.integers(0, 3) | st.sampled_from([-1, -(2**63), 2**20, 2**31, 2**32 + 1, 2**40, 2**62, 2**63 - 1])
shapes = st.lists(st.integers(1, 2), min_size=2, max_size=2) | st.lists(sizes, max_size=4)
shapes |= st.lists(st.sampled_from([0, 1, 2**62]), min_size=30, max_size=300)
protos = st.builds(
    lambda shape, is_unknown, **fields: tensor_pb2.TensorProto(
        tensor_shape={"dim": [{"size": size} for size in shape], "unknown_rank": is_unknown}, **fields
    ),
    shapes,
    st.booleans(),
    dtype=st.just(DT_FLOAT) | st.integers(0, 25) | st.sampled_from([101, 7, -1, 2**31 - 1]),
    float_val=st.lists(st.floats(width=32), max_size=6),
    int_val=st.just([]) | st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
    string_val=st.just([]) | st.lists(st.binary(max_size=5), max_size=3),
    half_val=st.just([]) | st.lists(st.integers(0, 2**31 - 1), max_size=3),
    tensor_content=st.just(b"") | st.binary(max_size=20),
)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
specs = st.fixed_dictionaries(
    {"name": st.just("times") | texts},
    optional={
        "signature_name": st.sampled_from(SIGNATURES) | texts,
        "version": st.builds(lambda value: {"value": value}, st.sampled_from([1, 0, -1, 2**63 - 1])),
    },
) | st.fixed_dictionaries({"name": st.just("times"), "version_label": texts})
predictions = st.builds(
    predict_pb2.PredictRequest,
    model_spec=st.just({"name": "times"}) | specs | st.none(),
    inputs=st.builds(lambda proto: {"x": proto}, protos)
    | st.dictionaries(st.sampled_from(["x", "a", "b", "text", ""]) | texts, protos, max_size=3),
    output_filter=st.just([]) | st.lists(st.sampled_from(["y", "sum", "", "no"]) | texts, max_size=3),
)


@examples(400)
@given(predictions)
def test_messages_that_contradict_themselves_are_answered_or_refused(ask, message):
    code, answer = ask(GRPC_PREDICT, message.SerializeToString())
    assert code in {"OK", *REFUSALS}, answer


@pytest.mark.parametrize("size", [-1, 2**26, 2**31, 2**40, 2**61, 2**62, 2**63 - 1])
def test_a_size_below_0_and_a_large_shape_without_values_are_refused_and_take_no_memory(ask, size):
    content = {"tensor_content": np.ones(4, "float32").tobytes(), "float_val": []} if size < 0 else {}
    code, message = ask(GRPC_PREDICT, predict_request(tensor_shape={"dim": [{"size": size}, {"size": 2}]}, **content))
    assert code == ("INVALID_ARGUMENT" if size < 0 else "RESOURCE_EXHAUSTED"), message


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=["plain", "gzip"])
def test_messages_over_the_limit_are_refused(ask, compression):
    request = predict_pb2.PredictRequest.FromString(GOOD_MESSAGE)  # Filled in place: memory is measured.
    request.inputs["x"].tensor_content = bytes(32 * MAX_REQUEST_BYTES)
    assert ask(GRPC_PREDICT, request.SerializeToString(), compression=compression)[0] == "RESOURCE_EXHAUSTED"
