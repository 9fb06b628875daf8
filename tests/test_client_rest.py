"""The REST client against a server that replays what TensorFlow Serving answers, and that misbehaves when told to."""

import concurrent.futures
import json
import pickle
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.samples import normal
from tests.stub_server import ANY_RANK, KERNEL_ERROR, UNKNOWN_MODEL, Stub, X, error, rows
from tfae.serving.client import Client, ServingError, TensorSpec, VersionStatus

ONLY_BYTES = b'{"predictions": [{"b64": "YWJj"}, {"b64": "/wD+"}]}'
MIXED = {"i64": "INT64", "flag": "BOOL", "text": "STRING", "f64": "DOUBLE"}


def more_signatures():
    score, wide = ("FLOAT", -1), ("FLOAT", -1, -1)
    mixed = {name: (dtype, -1) for name, dtype in MIXED.items()}
    ratios = {"ratio": wide, "inverse": wide}
    detected = {"instance_score": score, "is_outlier": ("BOOL", -1), "feature_score": wide}
    return {
        "detect": ({"x": wide}, detected),
        "special_rows": ({"x": wide}, ratios),
        "special": ({"x": ("FLOAT", ANY_RANK)}, ratios),
        "mixed": (mixed, mixed),
        "image": ({"x": ("UINT8", -1, 2, 2)}, {"mean": score}),
        "scale": ({"x": wide, "factor": ("FLOAT",)}, {"y": wide}),
        "add": ({"a": ("INT64", -1), "b": ("INT64", -1)}, {"sum": ("INT64", -1)}),
        "only_bytes": ({"s": ("STRING", -1)}, {"raw_bytes": ("STRING", -1)}),
        "uint64": ({"x": ("UINT64", ANY_RANK)}, {"y": ("UINT64", ANY_RANK)}),
        "scalar": ({"x": ("FLOAT",)}, {"y": ("FLOAT",)}),
        "half": ({"x": ("HALF", -1)}, {"y": score}),
        "bfloat16": ({"x": ("BFLOAT16", -1)}, {"y": score}),
        "ones": ({"n": score}, {"y": ("FLOAT", -1, 3)}),
    }


@pytest.fixture
def stub():
    with Stub() as server:
        server.start()
        yield server
        server.stop()


@pytest.fixture
def client(stub):
    stub.more_signatures = more_signatures()
    with Client(stub.url, model="tiny", timeout=10) as client:
        yield client


def strings(*elements):
    return np.array(elements, object)


def floats(values):
    return np.array(values, "float32")


BOTH = np.array([True, False])
BIG = np.array([0, 2**53 + 1, 2**64 - 1], "uint64")  # No double holds the last two.
SPECIAL = {"x": [[np.nan, np.inf, -np.inf, 0]]}
# Inputs of a signature, and what is sent of them.
SENT = {
    "serving_default": ({"x": X[:1]}, '"instances":[[1.0,2.0,3.0,4.0]]'),
    "detect": ({"x": X[:1]}, '"instances":[[1.0,2.0,3.0,4.0]]'),
    "mixed": (
        {"i64": [1], "flag": [False], "text": ["b"], "f64": [0.1]},
        '"inputs":{"i64":[1],"flag":[false],"text":[{"b64":"Yg=="}],"f64":[0.1]}',
    ),
    "special": (SPECIAL, '"inputs":{"x":[[NaN,Infinity,-Infinity,0.0]]}'),
    "special_rows": (SPECIAL, '"instances":[[NaN,Infinity,-Infinity,0.0]]'),
    "only_bytes": ({"s": ["é", b"\xff\0\0"]}, '"instances":[{"b64":"w6k="},{"b64":"/wAA"}]'),
    "uint64": ({"x": BIG}, '"inputs":{"x":[0,9007199254740993,18446744073709551615]}'),
    "scalar": ({"x": 1.5}, '"inputs":{"x":1.5}'),
    "ones": ({"n": [0]}, '"instances":[0.0]'),
    "image": ({"x": np.full((1, 2, 2), 255.0)}, '"instances":[[[255,255],[255,255]]]'),
}
RATIOS = {"ratio": floats([[np.nan, 1]]), "inverse": floats([[np.inf, -np.inf]])}
# What TensorFlow Serving (revision d1f407fc22a3) answers for a signature, but for blanks, and what that is.
ANSWERED = [
    ("serving_default", b'{"predictions": [[1.5, -3.875, 1, 2]]}', {"reconstruction": floats([[1.5, -3.875, 1, 2]])}),
    (
        "detect",
        b'{"predictions": [{"is_outlier": true, "feature_score": [34.5, 2.0], "instance_score": 9.95019531}]}',
        {"instance_score": floats([9.95019531]), "is_outlier": BOTH[:1], "feature_score": floats([[34.5, 2]])},
    ),
    (
        "mixed",
        b'{"outputs": {"flag": [true], "i64": [2], "f64": [0.1], "text": ["b!"]}}',
        {"i64": np.array([2], "int64"), "flag": BOTH[:1], "text": strings(b"b!"), "f64": np.array([0.1])},
    ),
    ("special", b'{"outputs": {"ratio": [[NaN, 1.0]], "inverse": [[Infinity, -Infinity]]}}', RATIOS),
    ("special_rows", b'{"predictions": [{"ratio": [NaN, 1.0], "inverse": [Infinity, -Infinity]}]}', RATIOS),
    ("only_bytes", ONLY_BYTES, {"raw_bytes": strings(b"abc", b"\xff\0\xfe")}),
    ("only_bytes", b'{"predictions": ["\xff\\u0000\xfe"]}', {"raw_bytes": strings(b"\xff\0\xfe")}),  # No UTF-8.
    ("uint64", b'{"outputs": [0, 9007199254740993, 18446744073709551615]}', {"y": BIG}),
    ("scalar", b'{"outputs": 2.5}', {"y": floats(2.5)}),
    ("ones", b'{"predictions": []}', {"y": np.zeros((0, 3), "float32")}),
]


@pytest.mark.parametrize("signature", SENT)
def test_inputs_are_sent_in_rows_or_in_columns(stub, client, signature):
    inputs, sent = SENT[signature]
    stub.canned[signature] = (400, error("seen"))
    with pytest.raises(ServingError, match="seen"):
        client.call(signature, **inputs)
    assert sent.encode() in stub.predictions()[0]


@pytest.mark.parametrize(("signature", "body", "expected"), ANSWERED)
def test_outputs_come_back_by_name_in_their_own_dtypes(stub, client, signature, body, expected):
    stub.canned[signature] = body
    found = client.call(signature, **SENT[signature][0])
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_inputs_named_like_an_option_go_into_the_mapping(stub, client):
    stub.canned["scale"] = b'{"outputs": [[2.0, 4.0]]}'
    client.call("scale", {"x": [[1, 2]]}, factor=2)
    assert b'"inputs":{"x":[[1.0,2.0]],"factor":2.0}' in stub.predictions()[-1]
    with pytest.raises(ValueError, match="every input once; received factor in the mapping and by keyword"):
        client.call("scale", {"x": [[1, 2]], "factor": 1}, factor=2)


def test_metadata_names_shapes_and_dtypes_and_status_lists_versions_newest_first(client):
    found = client.metadata()
    assert (found.model, found.version) == ("tiny", 1)
    assert "__saved_model_init_op" not in found.signatures
    assert found.signatures["image"].inputs == {"x": TensorSpec("uint8", (None, 2, 2))}
    assert found.signatures["uint64"].inputs["x"].shape is None
    assert "→ x               uint8 (batch, 2, 2)" in str(found)
    assert client.status() == [VersionStatus(2, "AVAILABLE"), VersionStatus(1, "END", "DATA_LOSS", "Can't parse")]


ASSERTION = (
    "assertion failed: [inputs: expected shape (batch, 8), batch >= 1; received] [2 3]\n\t "
    "[[{{function_node __inference_score_12}}{{node Assert/Assert}}]]"
)


@pytest.mark.parametrize(
    ("reply", "code", "message"),
    [
        ((400, error(KERNEL_ERROR)), "INVALID_ARGUMENT", "Matrix size-incompatible: In[0]: [1,5], In[1]: [4,2]"),
        ((400, error(ASSERTION)), "INVALID_ARGUMENT", "inputs: expected shape (batch, 8), batch >= 1; received 2 3"),
        ((404, UNKNOWN_MODEL), "NOT_FOUND", "Servable not found for request: Latest(nosuch)"),
        ((404, b"<HTML><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"), "NOT_FOUND", "<H1>Not Found</H1>"),
        ((400, b""), "INVALID_ARGUMENT", "HTTP status 400"),
        ((501, b'{"error": ""}'), "UNIMPLEMENTED", "HTTP status 501"),
        ((418, b'{"error": "\xff"}'), "UNKNOWN", "\N{REPLACEMENT CHARACTER}"),
        ((302, b""), "UNKNOWN", "HTTP status 302"),
    ],
)
def test_the_servers_message_is_raised(stub, client, reply, code, message):
    stub.canned["score"] = reply
    with pytest.raises(ServingError, match=r"POST http://.*/v1/models/tiny:predict, signature score") as raised:
        client.score(X)
    assert (raised.value.code, raised.value.may_be_retried) == (code, False)
    assert message in raised.value.message
    assert "{{" not in str(raised.value)
    assert len(stub.predictions()) == 1


def test_the_error_can_be_pickled():
    error = ServingError("NOT_FOUND", "no", "GET /", True)
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("score", {"x": [[1, 2, 3]]}, r"x: expected shape \(batch, 4\); received \(1, 3\)\.$"),
        ("score", {"x": [1, 2, 3, 4]}, r"received \(4,\)\. Add the batch axis: x\[None\]\.$"),
        ("score", {"x": [[1, 2, 3, 4], [1]]}, "x: expected an array; received lists that are none"),
        ("score", {"x": [["1", "2", "3", "4"]]}, r"x: expected values that float32 can hold; received <U1\."),
        ("score", {"x": [[1e39, 0, 0, 0]]}, r"float32 can hold; received float64 with a value of 1e\+39"),
        ("score", {"x": [[2**24, 2**24 + 1, 0, 0]]}, r"float32 can hold; received int64 with a value of 16777217"),
        ("mixed", {**{key: [1] for key in MIXED}, "text": ["a"], "f64": [2**63 - 1]}, "f64: .*of 9223372036854775807"),
        ("score", {"x": np.ma.masked_equal(X, 2)}, r"x: expected values without a mask; .* are masked\. .*fill"),
        ("only_bytes", {"s": np.ma.array(["a", "b"], mask=[False, True])}, "s: expected values without a mask"),
        ("score", {"y": X}, "inputs: expected x for signature score; received y"),
        ("score", {}, "received none"),
        ("image", {"x": np.full((1, 2, 2), 256)}, "uint8 can hold; received int64 with a value of 256"),
        ("image", {"x": np.full((1, 2, 2), np.nan)}, "uint8 can hold; received float64 with a value of nan"),
        ("add", {"a": [1, 2], "b": [1]}, "the same number of rows in every input; received 2 in a, 1 in b"),
        ("add", {"a": np.array([2**64 - 1], "uint64"), "b": [1]}, "a: expected values that int64 can hold"),
        ("only_bytes", {"s": [1.5]}, "s: expected bytes or text; received float"),
        ("only_bytes", {"s": ["\ud800"]}, "s: expected text that UTF-8 can hold"),
        ("half", {"x": [1.0]}, "x: expected an input of a dtype that REST carries; received float16.*grpc://"),
        ("half", {"x": [-2048, -2049]}, "x: expected values that float16 can hold; received int64 .* of -2049"),
        ("half", {"x": [0, 70000]}, "x: expected values that float16 can hold; received int64 with a value of 70000"),
        ("bfloat16", {"x": [256, 257]}, "x: expected values that bfloat16 can hold; received int64 .* of 257"),
        ("nosuch", {"x": X}, "signature: expected one of add, .* which version 1 of tiny has; received 'nosuch'"),
    ],
)
def test_what_does_not_fit_the_signature_is_refused_and_not_sent(stub, client, name, inputs, message):
    with pytest.raises(ValueError, match=message):
        client.call(name, **inputs)
    assert stub.predictions() == []


def test_floats_and_integers_that_one_holds_are_sent_to_the_bit_and_masks_that_hide_nothing_ignored(stub, client):
    small_and_large = normal(50, 4) * 10.0 ** np.arange(-18, 22, 10)
    for x in (small_and_large.astype("float32"), np.array([[2**24, 2**24 + 2, -(2**40), 0]])):
        client.score(x)
        np.testing.assert_array_equal(np.array(stub.sent()[-1], "float32"), x)
    assert client.score(np.ma.array(X, mask=False))[0] == 20


def test_no_rows_give_no_rows_and_nothing_is_sent(stub, client):
    assert client.score(X[:0]).shape == (0,)
    assert client.reconstruct(X[:0]).shape == (0, 4)
    assert client.call("detect", x=X[:0])["is_outlier"].dtype == bool
    assert client.call("serve_image_bytes", image_bytes=[])["instance_score"].shape == (0,)
    assert stub.predictions() == []
    with pytest.raises(ValueError, match=r"expected shape \(batch, 4\); received \(0, 3\)"):
        client.score(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="inputs: expected at least one row, as outputs of signature uint64"):
        client.call("uint64", x=[])


def test_a_large_input_is_sent_in_pieces_and_put_together_in_order(stub):
    stub.pause = 0.01
    with Client(stub.url, model="tiny", batch_size=3, concurrency=2) as client:
        np.testing.assert_array_equal(client.reconstruct(rows(50)), rows(50) * 2)
        np.testing.assert_array_equal(client.score(rows(7), batch_size=2), rows(7).sum(axis=1) * 2)
    sizes = [len(rows) for rows in stub.sent()]
    assert sorted(sizes[:17]) == [2] + [3] * 16
    assert sorted(sizes[17:]) == [1, 2, 2, 2]
    assert stub.most_in_flight == 2
    assert set(stub.paths(":predict")) == {"/v1/models/tiny/versions/1:predict"}


@pytest.mark.parametrize(
    ("signature", "name", "array"),
    [
        ("serve_image_bytes", "image_bytes", [bytes(2 * 2**20)] * 3),
        # As long as a float32 gets, with a NaN.
        ("score", "x", np.append(np.full(239_999, -0.0000063184107, "float32"), np.float32(np.nan)).reshape(-1, 4)),
    ],
)
def test_requests_are_cut_by_their_bytes_too(stub, client, signature, name, array):
    stub.canned[signature] = (400, error("seen"))
    with pytest.raises(ServingError, match="seen"):
        client.call(signature, batch_size=10**6, **{name: array})
    assert 2.5e6 < max(map(len, stub.predictions())) < 4 * 2**20


def test_all_pieces_are_answered_by_the_same_version(stub):
    def publish():
        if len(stub.predictions()) == 4:
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
    assert len(stub.predictions()) < 20


def test_a_server_that_takes_fewer_rows_gets_fewer(stub, client):
    stub.faults.append((400, error("Task size 5 is larger than maximum input batch size 4")))
    np.testing.assert_array_equal(client.score(rows(5)), rows(5).sum(axis=1) * 2)
    client.score(rows(9))
    sizes = [len(rows) for rows in stub.sent()]
    assert sizes[0] == 5
    assert sorted(sizes[1:3]) == [1, 4]
    assert sorted(sizes[3:]) == [1, 4, 4]


def test_a_large_answer_is_read_whole(stub, client):
    stub.canned["special"] = json.dumps({"outputs": {"ratio": [[0.5] * 10**5], "inverse": [[0.25] * 10**5]}}).encode()
    outputs = client.call("special", x=X[:1])
    assert outputs["ratio"].shape == (1, 10**5)
    assert (outputs["inverse"] == 0.25).all()


def test_metadata_is_fetched_once_and_again_when_an_input_does_not_fit_any_more_or_is_refused(stub, client):
    for _ in range(3):
        client.score(X)
    stub.versions = {1: 4, 2: 4}
    assert client.score(X)[0] == 30  # Nothing is told of that version, and nothing has to be.
    assert len(stub.paths("/metadata")) == 1
    stub.versions = {2: 5}
    with pytest.raises(ValueError, match=r"x: expected shape \(batch, 5\); received \(2, 4\)"):
        client.score(X)  # The server refuses what fitted the version before.
    stub.versions = {3: 4}
    np.testing.assert_array_equal(client.score(X), X.sum(axis=1) * 4)
    with pytest.raises(ValueError, match=r"expected shape \(batch, 4\)"):
        client.score(np.ones((1, 5)))


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


@pytest.mark.parametrize("fault", [(503, b'{"error": "busy"}'), (429, b""), "reset", "vanish", "half"], ids=str)
def test_what_may_be_retried_is_retried(stub, client, fault):
    client.metadata()
    stub.faults.extend([fault] * 2)
    assert client.score(X)[0] == 20
    assert len(stub.predictions()) == 3


@pytest.mark.parametrize(("retries", "timeout", "least", "most"), [(2, 10, 3, 3), (99, 0.5, 2, 6)])
def test_retries_end_after_so_many_and_with_the_time(stub, retries, timeout, least, most):
    with Client(stub.url, model="tiny", retries=retries) as client:
        client.metadata()
        stub.faults.extend([(503, error("busy"))] * 99)
        with pytest.raises(ServingError, match="busy") as raised:
            client.score(X, timeout=timeout)
    assert (raised.value.code, raised.value.may_be_retried) == ("UNAVAILABLE", True)
    assert least <= len(stub.predictions()) <= most  # The pauses are 0.05 s, 0.1 s, 0.2 s, … at least.


# Not measures of speed: it hangs for 20 s or for ever, and late bytes, after 1.4 s each, must not start the time anew.
@pytest.mark.parametrize(
    ("fault", "timeout", "most"),
    [(fault, 0.3, 15) for fault in ("hang", "hang_in_the_middle", "drip", "drip_and_close")] + [("late", 1.5, 2.7)],
)
def test_a_server_that_does_not_finish_is_given_up(stub, client, fault, timeout, most):
    client.metadata()
    stub.faults.append(fault)
    start = time.monotonic()
    with pytest.raises(ServingError, match=f"no answer within {timeout} s") as raised:
        client.score(X, timeout=timeout)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    assert time.monotonic() - start < most
    assert client.score(X)[0] == 20


def test_a_server_that_does_not_read_is_given_up(stub, client):
    stub.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)  # Of the connections that it accepts, too.
    client.metadata()
    stub.faults.append("deaf")
    with pytest.raises(ServingError, match="no answer within 1 s") as raised:
        client.call("serve_image_bytes", image_bytes=[bytes(2**23)], timeout=1)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    assert not stub.faults
    assert stub.predictions() == []
    assert client.score(X)[0] == 20


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>Welcome</html>",
        '{"outputs": [1.0, 2.0]}',
        '{"predictions": [1.0, null]}',
        '{"predictions": [1.0, "2.0"]}',
        '{"predictions": [[1.0], 2.0]}',
        '{"predictions": [true, false]}',
        '{"predictions": {"nosuch": [1.0]}}',
        '{"predictions": [1.0, 2.0',
        "[" * 100_000,
    ],
)
def test_an_answer_that_is_none_is_an_error(stub, client, body):
    stub.canned["score"] = body.encode()
    with pytest.raises(ServingError, match="expected an answer of TensorFlow Serving; received") as raised:
        client.score(X)
    assert raised.value.code == "INTERNAL"


def test_an_answer_of_another_shape_or_number_of_rows_and_metadata_that_is_none_are_errors(stub, client):
    stub.canned["score"] = b'{"predictions": [[1.0], [2.0]]}'
    with pytest.raises(ServingError, match=r"outputs instance_score \(batch,\), .*received instance_score \(2, 1\)"):
        client.score(X)
    stub.canned["score"] = b'{"predictions": [1.0]}'
    with pytest.raises(ServingError, match="with a batch of 2; received"):
        client.score(X)
    with pytest.raises(ServingError, match="with a batch of 3; received"):
        client.call("score", x=rows(6), batch_size=3)
    assert client.call("score", x=X)["instance_score"].tolist() == [1]  # Not every signature is of a row each.
    stub.versions = {1: "wide"}
    with pytest.raises(ServingError, match="expected an answer of TensorFlow"):
        client.metadata()


def test_waiting_ends_with_a_real_answer_and_not_with_available(stub):
    stub.faults.extend([(400, error("Could not find variable")), (404, UNKNOWN_MODEL)])
    with Client(stub.url, model="tiny", retries=0) as client:
        assert client.status()[0].state == "AVAILABLE"
        client.wait_until_ready(timeout=10)
    assert len(stub.predictions()) == 3


def test_a_server_that_is_not_there_yet_is_unavailable_and_can_be_waited_for():
    with Stub() as server, Client(server.url, model="tiny", retries=1) as client:
        with pytest.raises(ServingError, match=r"no connection: Failed to establish .*refused") as raised:
            client.status()
        assert raised.value.code == "UNAVAILABLE"
        with pytest.raises(ServingError, match=r"not ready within 0\.1 s, .*no connection"):
            client.wait_until_ready(timeout=0.1)
        timer = threading.Timer(0.2, server.start)
        timer.start()
        client.wait_until_ready(timeout=20)
        timer.join()
        server.stop()


def test_waiting_ends_in_time_with_the_reason_and_does_not_wait_for_a_token_to_become_right(stub, client):
    stub.canned["serving_default"] = (400, error("Could not find variable"))
    with pytest.raises(ServingError, match=r"within 0.3 s, at last because of: Could not find variable") as raised:
        client.wait_until_ready(timeout=0.3)
    assert raised.value.code == "DEADLINE_EXCEEDED"
    stub.canned["serving_default"] = (401, error("no token"))
    with pytest.raises(ServingError, match=r"^no token"):
        client.wait_until_ready(timeout=60)


def test_waiting_can_ask_something_else(stub, client):
    stub.canned["only_bytes"] = ONLY_BYTES
    with pytest.raises(ValueError, match="inputs: expected what to ask signature only_bytes with"):
        client.wait_until_ready(signature="only_bytes")
    client.wait_until_ready(signature="only_bytes", inputs={"s": ["a", "b"]})


def test_connections_are_used_again_and_by_several_threads(stub, client):
    def ask(number):
        return [client.score(np.full((1, 4), number))[0] for _ in range(10)]

    ask(1)
    assert stub.connections == 1
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [[8 * number] * 10 for number in range(8)]
    assert stub.connections <= 4


def test_the_token_is_sent_and_not_shown_and_a_closed_client_says_so(stub):
    with Client(stub.url, model="tiny", token="secret") as client:
        client.score(X)
        assert "secret" not in repr(client)
    assert {headers["Authorization"] for headers in stub.headers} == {"Bearer secret"}
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"address": "localhost:8501"}, r"address: expected http://.*'localhost:8501'\. Write \"http://localhost:8501"),
        ({"address": "ftp://localhost"}, "address: expected http://.*received 'ftp://localhost'"),
        ({"address": "http://"}, "address: expected"),
        ({"address": "http://[::1"}, "address: expected"),
        ({"address": None}, "address: expected"),
        ({"address": "http://user:secret@localhost"}, "nothing that holds @, . or #; received something else"),
        ({"address": "http://localhost:8501/v1/models/digits"}, "Leave out /v1 and what follows"),
        ({"address": "grpc://localhost:8500/path"}, "gRPC has no paths"),
        ({"model": ""}, "model: expected the name of a model"),
        ({"model": ".."}, r"model: expected the name of a model on the server; received '\.\.'"),
        ({"version": 1, "label": "stable"}, "label: expected no label beside version=1; received 'stable'"),
        ({"version": -1}, "version: expected an integer of at least 0; received -1"),
        ({"version": "1"}, "version: expected an integer of at least 0; received '1'"),
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
        ({"address": "https://localhost", "ca_file": "no/such.pem"}, "expected a PEM file; received no/such.pem"),
    ],
)
def test_arguments_that_can_not_be_meant_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Client(**{"address": "http://localhost:8501", "model": "digits", **arguments})


def test_options_may_be_numbers_of_numpy_and_those_of_a_call_are_checked_too(stub):
    with Client(stub.url, model="tiny", timeout=np.float32(3), batch_size=np.int64(2), version=np.uint8(1)) as client:
        assert client.score(X, timeout=np.int32(3))[0] == 20
        with pytest.raises(ValueError, match="batch_size: expected an integer of at least 1; received 0"):
            client.score(X, batch_size=0)
        with pytest.raises(ValueError, match="timeout: expected a positive number of seconds; received -1"):
            client.score(X, timeout=-1)
        with pytest.raises(TypeError, match="unexpected keyword argument 'batch'"):
            client.score(X, batch=1)
