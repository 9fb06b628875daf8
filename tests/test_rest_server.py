"""The REST server around the models: connections, limits, the token, and stopping. The models are stand-ins."""

import contextlib
import gzip
import http.client
import io
import json
import socket
import threading
import time
from types import SimpleNamespace

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from tfae.servable.signatures import Signature, TensorInfo
from tfae.serving.local.journal import Exchange, Journal
from tfae.serving.local.metrics import Metrics
from tfae.serving.local.models import VersionStatus
from tfae.serving.local.rest import RestServer
from tfae.serving.local.rest.handler import Handler
from tfae.serving.status import StatusError

FLOATS = TensorInfo("x:0", tf.float32, (None, 2))
GOOD = b'{"instances": [[1, 2], [3, 4]]}'
GOOD_ANSWER = {"predictions": [[2.0, 4.0], [6.0, 8.0]]}
PREDICT = "/v1/models/digits:predict"
METRICS = "/monitoring/prometheus/metrics"


class StandIn:
    """A model ``digits`` that doubles what it is given, and waits first if it is told to."""

    def __init__(self):
        signature = Signature("serving_default", "tensorflow/serving/predict", {"x": FLOATS}, {"y": FLOATS})
        servable = SimpleNamespace(
            signatures={"serving_default": signature},
            signature_def_map={"serving_default": SignatureDef(), "__saved_model_init_op": SignatureDef()},
        )
        self.lease_of_digits = SimpleNamespace(name="digits", version=3, servable=servable)
        self.running = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.failure = None

    @contextlib.contextmanager
    def lease(self, spec):
        if spec.name != "digits":
            raise StatusError("NOT_FOUND", f"Servable not found for request: Latest({spec.name})")
        yield self.lease_of_digits

    def run(self, lease, signature_name, inputs):
        self.running.release()
        assert self.may_go_on.wait(20)
        if self.failure is not None:
            raise self.failure
        return {"y": inputs["x"] * 2}

    def status(self, name, version=None):
        return [VersionStatus(3, "AVAILABLE")]


@pytest.fixture
def models():
    return StandIn()


@pytest.fixture
def serve(models):
    """Starts a server with the given settings, and stops it in the end."""
    with contextlib.ExitStack() as stack:

        def start(journal=None, **settings):
            server = RestServer(models, journal or Journal(), port=0, **settings)
            server.start()
            stack.callback(models.may_go_on.set)
            stack.callback(server.stop, 5)
            return server

        yield start


def ask(server, method="POST", path=PREDICT, body=GOOD, **headers):
    """Status, headers and body of an answer, over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def received(server, *parts):
    """All that a server sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_a_prediction_is_answered(serve):
    status, headers, body = ask(serve())
    assert (status, headers["Content-Type"], json.loads(body)) == (200, "application/json", GOOD_ANSWER)


def test_a_connection_is_kept_after_an_error(serve):
    connection = http.client.HTTPConnection("127.0.0.1", serve().port, timeout=10)
    with contextlib.closing(connection):
        for body, status in ((b"{", 400), (GOOD, 200), (b"", 400), (GOOD, 200)):
            connection.request("POST", PREDICT, body)
            response = connection.getresponse()
            response.read()
            assert response.status == status
            assert connection.sock is not None


@pytest.mark.parametrize("method", ["TRACE", "BREW"])
def test_a_method_that_libevent_does_not_know_is_not_implemented(serve, method):
    status, headers, body = ask(serve(), method)
    assert (status, headers["Content-Type"]) == (501, "text/html")
    assert b"<H1>Not Implemented</H1>" in body


@pytest.mark.parametrize("target", [b"/v1/models/<m>", b"/v1/models/%zz", b"/v1/models/m\x80"])
def test_a_target_that_is_no_uri_is_a_bad_request(serve, target):
    answer = received(serve(), b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"<H1>Bad Request</H1>" in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",  # TLS
    ],
)
def test_what_is_not_http_is_a_bad_request(serve, request_):
    server = serve(body_timeout=1)
    answer = received(server, request_)
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"\r\nServer: tfae\r\n" in answer
    assert ask(server)[0] == 200


def test_bodies_may_be_packed_or_in_chunks(serve):
    server = serve()
    assert json.loads(ask(server, body=gzip.compress(GOOD), Content_Encoding="gzip")[2]) == GOOD_ANSWER
    assert json.loads(ask(server, body=iter([GOOD[:5], GOOD[5:]]))[2]) == GOOD_ANSWER
    status, _, body = ask(server, body=gzip.compress(GOOD)[:-4], Content_Encoding="gzip")
    assert (status, json.loads(body)["error"]) == (400, "JSON Parse error: The document is empty")


def test_chunks_that_are_none_are_a_bad_request(serve):
    server = serve()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert received(server, head + b"zz\r\n").startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert ask(server)[0] == 200


def test_a_client_that_goes_away_harms_nobody(serve, models, caplog):
    log = io.StringIO()
    server = serve(Journal(log))
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{{".encode())
    models.may_go_on.clear()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode() + GOOD)
        assert models.running.acquire(timeout=10)
    models.may_go_on.set()
    assert ask(server)[0] == 200
    assert not caplog.records
    deadline = time.monotonic() + 10
    while len(log.getvalue().splitlines()) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    codes = sorted(json.loads(line)["code"] for line in log.getvalue().splitlines())
    assert codes == ["INVALID_ARGUMENT", "OK", "OK"]


def test_pages_of_other_sites_may_read_every_answer_where_that_is_wanted(serve):
    server = serve(cors=True, max_request_bytes=100)
    for body, status in ((GOOD, 200), (b"{", 400), (b"x" * 101, 413)):
        answered, headers, _ = ask(server, body=body)
        assert (answered, headers.get("Access-Control-Allow-Origin")) == (status, "*")
    assert "Access-Control-Allow-Origin" not in ask(server, path="/")[1]
    assert "Access-Control-Allow-Origin" not in ask(serve())[1]


def test_a_client_that_waits_to_be_told_is_told_to_send_its_body(serve):
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {len(GOOD)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", serve().port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(GOOD)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x" * 101, {}),
        (iter([b"x" * 60, b"x" * 60]), {}),
        (gzip.compress(b"x" * 101), {"Content_Encoding": "gzip"}),
    ],
    ids=["with its length", "in chunks", "packed"],
)
def test_a_body_that_is_too_large_is_cut_off(serve, body, headers):
    server = serve(max_request_bytes=100)
    status, answered, text = ask(server, body=body, **headers)
    assert (status, answered["Connection"]) == (413, "close")
    assert json.loads(text)["error"] == "Request body larger than 100 bytes"
    assert ask(server)[0] == 200


def test_a_body_that_does_not_come_is_cut_off(serve):
    answer = received(
        serve(body_timeout=0.3), f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{{".encode()
    )
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"error": "Request body not received within 0.3 seconds"' in answer


@pytest.mark.parametrize("sent", [b"", b"POST /v1/models/digits:predict HTTP/1.1\r\nHo"])
def test_a_client_that_sends_no_head_is_cut_off(serve, sent):
    assert received(serve(body_timeout=0.3), sent) == b""


def test_slow_clients_do_not_hinder_others(serve):
    server = serve(threads=2)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        assert ask(server)[0] == 200


def test_a_token_is_asked_for_and_compared(serve):
    server = serve(token="secret", metrics=Metrics(), cors=True)
    for given_headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
        for method, path in (
            ("POST", PREDICT),
            ("GET", "/v1/models/digits"),
            ("GET", "/monitoring/prometheus/metrics"),
        ):
            status, headers, body = ask(server, method, path, **given_headers)
            assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "Authorization: Bearer" in json.loads(body)["error"]
    assert ask(server, Authorization="Bearer secret")[0] == 200
    # Browsers ask without it whether they may send it.
    status, headers, _ = ask(server, "OPTIONS", body=None, Origin="http://a")
    assert (status, headers["Access-Control-Allow-Headers"]) == (200, "Content-Type, Authorization")


def test_metrics_are_shown_where_they_are_wanted_only(serve):
    metrics = Metrics()
    server = serve(Journal(metrics=metrics), metrics=metrics)
    ask(server)
    status, headers, body = ask(server, "GET", METRICS, body=None)
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert (
        b'tfae_requests_total{code="OK",method="POST",model="digits",protocol="REST",signature="serving_default"} 1.0'
        in body
    )
    status, headers, body = ask(serve(), "GET", METRICS, body=None)
    assert (status, headers["Content-Type"]) == (404, "text/html")


def test_each_exchange_is_noted(serve):
    log = io.StringIO()
    server = serve(Journal(log), max_request_bytes=1000)
    ask(server)
    ask(server, body=b"{")
    ask(server, "BREW")
    ask(server, body=b"x" * 1001)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    kept = ("method", "model", "version", "signature", "rows", "code", "status", "request_bytes")
    assert [{key: line[key] for key in kept if key in line} for line in lines] == [
        {
            "method": "POST",
            "model": "digits",
            "version": 3,
            "signature": "serving_default",
            "rows": 2,
            "code": "OK",
            "status": 200,
            "request_bytes": len(GOOD),
        },
        {"method": "POST", "code": "INVALID_ARGUMENT", "status": 400, "request_bytes": 1},
        {"method": "OTHER", "code": "UNIMPLEMENTED", "status": 501, "request_bytes": 0},
        {"method": "POST", "code": "RESOURCE_EXHAUSTED", "status": 413, "request_bytes": 0},
    ]
    assert all(line["peer"].startswith("127.0.0.1:") for line in lines)


def test_a_path_that_is_no_text_can_be_written_into_a_file(serve, tmp_path):
    with (tmp_path / "access.jsonl").open("w", encoding="utf-8") as log:
        server = serve(Journal(log))
        assert b" 400 " in received(server, b"GET /v1/models/%ff\xff HTTP/1.1\r\nHost: a\r\n\r\n")
        assert ask(server)[0] == 200
    assert len((tmp_path / "access.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_a_failure_of_the_server_itself_is_internal(serve, models, caplog):
    models.failure = RuntimeError("out of order")
    server = serve()
    status, _, body = ask(server)
    assert (status, json.loads(body)) == (500, {"error": "RuntimeError: out of order"})
    assert "out of order" in caplog.text
    models.failure = None
    assert ask(server)[0] == 200


def test_a_server_that_is_stopped_finishes_what_is_in_flight(serve, models):
    server = serve()
    models.may_go_on.clear()
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(ask(server))) for _ in range(4)]
    for client in clients:
        client.start()
    for _ in clients:
        assert models.running.acquire(timeout=10)
    stopping = threading.Thread(target=server.stop, args=(10,))
    stopping.start()
    deadline = time.monotonic() + 10
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:  # Until it listens no more.
            socket.create_connection(("127.0.0.1", server.port), timeout=10).close()
            time.sleep(0.01)
    assert stopping.is_alive()
    models.may_go_on.set()
    for thread in [*clients, stopping]:
        thread.join(10)
        assert not thread.is_alive()
    assert [(status, json.loads(body)) for status, _, body in answers] == [(200, GOOD_ANSWER)] * 4


def test_a_server_that_is_stopped_waits_no_longer_than_its_grace(serve, models):
    server = serve()
    models.may_go_on.clear()
    failures = []

    def client():
        try:
            ask(server)
        except (ConnectionError, http.client.HTTPException) as error:
            failures.append(error)

    thread = threading.Thread(target=client)
    thread.start()
    assert models.running.acquire(timeout=10)
    began = time.monotonic()
    server.stop(0.2)
    assert time.monotonic() - began < 5
    thread.join(10)
    assert len(failures) == 1


def test_a_port_that_is_taken_is_told(serve, models):
    with pytest.raises(OSError, match="address already in use"):
        RestServer(models, Journal(), port=serve().port).start()


def requests():
    """Requests of which most are wrong somewhere."""
    names = st.sampled_from(["instances", "inputs", "signature_name", "x", "b64", "y"])
    leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3))
    values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
    bodies = st.one_of(
        values.map(lambda value: json.dumps(value).encode()),
        st.dictionaries(names, values, min_size=1, max_size=3).map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=20),
        st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=3)).map(
            lambda cut: GOOD[: cut[0]] + cut[1] + GOOD[cut[0] + 1 :]
        ),
    )
    parts = st.sampled_from(
        ["/", "v1", "models", "digits", ":predict", "versions", "1", "labels", "metadata", "?", "%2F", "é"]
    )
    paths = st.one_of(st.just(PREDICT), st.lists(parts, max_size=8).map(lambda given_parts: "/" + "".join(given_parts)))
    return st.tuples(st.sampled_from(["POST", "POST", "GET", "PUT", "OPTIONS"]), paths, bodies)


@settings(deadline=None, max_examples=2000)
@given(requests())
def test_whatever_is_asked_there_is_an_answer(request_):
    method, path, body = request_
    handler = Handler(StandIn())
    answer = handler.answer(method, path, body, Exchange("REST", method, path, ""))
    assert answer.status in (200, 400, 404, 501)
    if answer.headers["Content-Type"] == "application/json" and answer.body:
        document = json.loads(answer.body)
        assert ("error" in document) == (answer.status != 200)
    good = handler.answer("POST", PREDICT, GOOD, Exchange("REST", "POST", PREDICT, ""))
    assert json.loads(good.body) == GOOD_ANSWER


def damaged():
    """A good request with a few bytes changed, anywhere."""
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(GOOD)}\r\nContent-Type: a/b\r\n\r\n"
    good = head.encode() + GOOD
    changes = st.lists(
        st.tuples(st.integers(0, len(good)), st.integers(0, 9), st.one_of(st.binary(max_size=4), st.just(good))),
        min_size=1,
        max_size=3,
    )

    def change(all_changes):
        text = good
        for at, length, new in all_changes:
            text = text[:at] + new + text[at + length :]
        return text

    return changes.map(change)


def test_whatever_comes_over_a_connection_others_are_answered(serve):
    server = serve(body_timeout=2)

    @settings(deadline=None, max_examples=200)
    @given(damaged())
    def send(text):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    pass

    send()
    status, _, body = ask(server)
    assert (status, json.loads(body)) == (200, GOOD_ANSWER)
