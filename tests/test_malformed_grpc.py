"""Requests over gRPC that are no message, or one that makes no sense: each is refused, and nobody else suffers."""

import contextlib
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import classification_pb2, get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from tests.malformed import MAX_REQUEST_BYTES, PATIENCE, connect, examples, exchange, is_steady, watched_server

PREDICTION = "/tensorflow.serving.PredictionService/"
PREDICT = PREDICTION + "Predict"
REQUESTS = {
    PREDICT: predict_pb2.PredictRequest,
    PREDICTION + "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
    PREDICTION + "Classify": classification_pb2.ClassificationRequest,
    "/tensorflow.serving.ModelService/GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
}
#: What the real server answers to requests that it can read.
REFUSALS = (
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
)
DT_FLOAT = 1


def good():
    """A request that is in order; the answer has 2, 5, -6, 8."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "times"
    proto = request.inputs["x"]
    proto.dtype = DT_FLOAT
    for size in (2, 2):
        proto.tensor_shape.dim.add().size = size
    proto.float_val.extend([1, 2.5, -3, 4])
    return request


GOOD = good().SerializeToString()


class Grpc:
    """A client that sends any bytes, and then sees whether the server still answers."""

    def __init__(self, port):
        self.num_sent = 0
        self.port = port
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        self.check()

    def call(self, method, message, **options):
        """Code of the answer, and the answer or the error's text."""
        try:
            return "OK", self.channel.unary_unary(method)(message, timeout=PATIENCE, **options)
        except grpc.RpcError as error:
            return error.code().name, error.details()

    def ask(self, method, message, **options):
        """As `call` does; then a good request."""
        self.num_sent += 1
        answer = self.call(method, message, **options)
        self.check()
        return answer

    def check(self):
        """Hold that a good request gets the right answer."""
        code, message = self.call(PREDICT, GOOD)
        assert code == "OK", message
        assert list(predict_pb2.PredictResponse.FromString(message).outputs["y"].float_val) == [2, 5, -6, 8]

    def close(self):
        self.channel.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with watched_server(tmp_path_factory.mktemp("malformed")) as started:
        yield started


@pytest.fixture
def client(server):
    with contextlib.closing(Grpc(server.grpc_port)) as asked, is_steady():
        yield asked


def is_message(method, raw):
    try:
        REQUESTS[method].FromString(raw)
    except DecodeError:
        return False
    return True


places = st.integers(0, len(GOOD) - 1)
edits = st.lists(st.tuples(places, st.just(1), st.binary(min_size=1, max_size=1)), min_size=1, max_size=2)
edits |= st.lists(st.tuples(places, st.integers(0, 4), st.binary(max_size=4) | st.just(GOOD)), min_size=1, max_size=4)


def test_bytes_that_are_no_message_are_refused(client):
    seen = set()

    @examples(500)
    @given(st.sampled_from([PREDICT, *REQUESTS]), edits, st.none() | st.none() | st.binary(max_size=60))
    def send(method, changes, noise):
        raw = GOOD
        for start, size, piece in changes:
            raw = raw[:start] + piece + raw[start + size :]
        raw = raw if noise is None else noise
        code, _ = client.ask(method, raw)
        # gRPC itself says so of bytes that are no message.
        assert (code in ("OK", *REFUSALS)) if is_message(method, raw) else (code == "INTERNAL")
        seen.add(code)

    send()
    assert client.num_sent >= 500
    assert {"OK", "INTERNAL", "INVALID_ARGUMENT"} <= seen


numbers = st.lists(st.floats(width=32), max_size=6)
sizes = st.integers(0, 3) | st.sampled_from([-1, -(2**63), 2**20, 2**31, 2**32 + 1, 2**40, 2**62, 2**63 - 1])
shapes = st.lists(st.integers(1, 2), min_size=2, max_size=2) | st.lists(sizes, max_size=4)
shapes |= st.lists(st.sampled_from([0, 1, 2**62]), min_size=30, max_size=300)
protos = st.builds(
    lambda shape, unknown, **fields: {
        "tensor_shape": {"dim": [{"size": size} for size in shape], "unknown_rank": unknown},
        **fields,
    },
    shapes,
    st.sampled_from([False, False, False, True]),
    dtype=st.just(DT_FLOAT) | st.integers(0, 25) | st.sampled_from([101, 7, -1, 2**31 - 1]),
    float_val=numbers,
    int_val=st.just([]) | st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
    string_val=st.just([]) | st.lists(st.binary(max_size=5), max_size=3),
    half_val=st.just([]) | st.lists(st.integers(0, 2**31 - 1), max_size=3),
    dcomplex_val=st.just([]) | st.lists(st.floats(), max_size=3),
    tensor_content=st.just(b"") | st.binary(max_size=20),
)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
floats = st.builds(
    lambda num_rows, values: {
        "dtype": DT_FLOAT,
        "tensor_shape": {"dim": [{"size": num_rows}, {"size": 2}]},
        "float_val": values,
    },
    st.integers(1, 3),
    numbers,
)
input_names = st.sampled_from(["x", "a", "b", "text", "X", ""]) | texts
one_input = st.builds(lambda proto: {"x": proto}, protos | floats)
signatures = ["", "serving_default", "add", "finite", "half", "strings", "total", "__saved_model_init_op", "no"]
specs = st.fixed_dictionaries(
    {"name": st.sampled_from(["times", "times", "times", "times", "", "no"]) | texts},
    optional={
        "signature_name": st.sampled_from(signatures) | texts,
        "version": st.builds(lambda value: {"value": value}, st.sampled_from([1, 1, 0, -1, 2**63 - 1])),
    },
) | st.fixed_dictionaries({"name": st.just("times"), "version_label": st.sampled_from(["", "stable"]) | texts})
predictions = st.builds(
    predict_pb2.PredictRequest,
    model_spec=st.just({"name": "times"}) | st.just({"name": "times"}) | specs | st.none(),
    inputs=one_input | one_input | st.dictionaries(input_names, protos, max_size=3),
    output_filter=st.just([]) | st.lists(st.sampled_from(["y", "sum", "", "no"]) | texts, max_size=3),
)


def expected(request):
    """What a request for ``serving_default`` in float32 must give; None if it is anything else."""
    proto = request.inputs["x"] if set(request.inputs) == {"x"} else None
    if proto is None or request.model_spec.SerializeToString() != good().model_spec.SerializeToString():
        return None
    shape = [dim.size for dim in proto.tensor_shape.dim]
    simple = len(shape) == 2 and shape[1] == 2 and 0 < shape[0] < 4 and not proto.tensor_shape.unknown_rank
    if not simple or proto.dtype != DT_FLOAT or proto.tensor_content or request.output_filter:
        return None
    count, given_values = shape[0] * shape[1], list(proto.float_val)
    # Too few: the last is repeated; none: zeros; too many: cut.
    filled = (given_values + count * [given_values[-1] if given_values else 0.0])[:count]
    with np.errstate(over="ignore"):
        return np.array(filled, "float32") * np.float32(2)


def test_messages_that_contradict_themselves_are_refused_or_read_as_the_real_server_reads_them(client):
    seen, compared = set(), 0

    @examples(700)
    @given(predictions)
    def send(request):
        nonlocal compared
        wanted = expected(request)
        code, answer = client.ask(PREDICT, request.SerializeToString())
        assert code in ("OK", *REFUSALS), answer
        seen.add(code)
        if wanted is not None:
            assert code == "OK", answer
            found = predict_pb2.PredictResponse.FromString(answer).outputs["y"].float_val
            # Kernels take denormal numbers for zero.
            np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-37)
            compared += 1

    send()
    assert client.num_sent >= 700
    assert compared >= 20
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"} <= seen


@pytest.mark.parametrize("size", [2**26, 2**31, 2**40, 2**61, 2**62, 2**63 - 1])
def test_a_large_shape_without_values_takes_no_memory(client, size):
    request = good()
    request.inputs["x"].tensor_shape.dim[0].size = size
    code, message = client.ask(PREDICT, request.SerializeToString())
    assert code == "RESOURCE_EXHAUSTED", message


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip], ids=["plain", "gzip"])
def test_messages_over_the_limit_are_refused(client, compression):
    request = good()
    request.inputs["x"].tensor_content = bytes(32 * MAX_REQUEST_BYTES)
    code, _ = client.ask(PREDICT, request.SerializeToString(), compression=compression)
    assert code == "RESOURCE_EXHAUSTED"


def test_headers_over_the_limit_are_refused(client):
    code, _ = client.ask(PREDICT, GOOD, metadata=[("x", "y" * 1_000_000)])
    assert code == "RESOURCE_EXHAUSTED"


def test_unknown_methods_are_refused(client):
    for method in (
        "/",
        "/x",
        PREDICTION,
        PREDICTION + "Nothing",
        PREDICTION + "predict",
        "/grpc.health.v1.Health/Check",
    ):
        code, _ = client.ask(method, GOOD)
        assert code == "UNIMPLEMENTED"


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
frames = st.builds(
    lambda length, kind, flags, stream, body: length.to_bytes(3, "big") + bytes([kind, flags]) + stream + body,
    st.integers(0, 40) | st.just(2**24 - 1),
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([bytes(4), b"\0\0\0\1", b"\0\0\0\2", b"\xff" * 4]),
    st.binary(max_size=40),
)


def test_bytes_that_are_no_http_2_are_cut_off(client):
    @examples(80)
    @given(st.binary(max_size=60) | st.lists(frames, max_size=4).map(lambda sent: PREFACE + b"".join(sent)))
    def send(raw):
        client.num_sent += 1
        exchange(client.port, raw, whole=False)
        client.check()

    send()
    assert client.num_sent >= 80


def test_calls_that_never_send_their_message_keep_nobody_else_waiting(client):
    over = threading.Event()

    def nothing():
        over.wait(6 * PATIENCE)
        return
        yield

    with contextlib.closing(grpc.insecure_channel(f"127.0.0.1:{client.port}")) as channel:
        calls = [channel.stream_unary(PREDICT).future(nothing()) for _ in range(100)]
        try:
            for _ in range(20):
                client.check()
                time.sleep(0.02)  # By and by all of them have arrived.
        finally:
            over.set()
            for call in calls:
                call.cancel()
    client.check()


def test_silent_connections_keep_nobody_else_waiting(client):
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(client.port)).sendall(PREFACE)
        client.check()
    client.check()
