"""Requests over REST that are no HTTP, odd HTTP, too slow or too large: refused or cut off, and nobody else suffers."""

import contextlib
import gzip
import time
import urllib.parse
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.malformed import (
    GOOD,
    MAX_REQUEST_BYTES,
    MOST_MEMORY_BYTES,
    PATIENCE,
    PREDICT,
    Rest,
    answers,
    connect,
    examples,
    is_steady,
    watched_server,
)
from tfae.serving import LocalServer
from tfae.serving.local import server as server_module

TIMEOUT = 0.5


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with watched_server(tmp_path_factory.mktemp("malformed")) as started:
        yield started


@pytest.fixture
def rest(server):
    with contextlib.closing(Rest(server.rest_port)) as asked, is_steady():
        yield asked


@pytest.fixture
def hasty(server, monkeypatch):
    """The same models behind a server that waits for nobody."""
    monkeypatch.setattr(server_module, "_MESSAGE_TIMEOUT", TIMEOUT)
    with (
        LocalServer(server.models._source, max_request_bytes=MAX_REQUEST_BYTES) as started,
        contextlib.closing(Rest(started.rest_port)) as asked,
    ):
        yield asked


pieces = st.sampled_from(
    ["v1", "V1", "models", "times", "t%69mes", "versions", "labels", "1", "01", "0", "9" * 30, "-1"]
)
odd_text = st.text(st.characters(codec=None), max_size=8).map(lambda text: text.encode(errors="surrogatepass"))
odd_pieces = st.sampled_from([b"", b"..", b"%", b"%zz", b"%00", b"%ff", b"%2f", b"?a=1", b"#b", b"\\", b"*", b"\xff"])
endings = st.sampled_from([b"", b":predict", b":PREDICT", b":classify", b":regress", b"/metadata", b"/", b":no", b"?"])
targets = st.builds(
    lambda parts, ending: b"/" + b"/".join(parts) + ending,
    st.lists(
        pieces.map(str.encode) | odd_pieces | odd_text | odd_text.map(urllib.parse.quote_from_bytes).map(str.encode),
        max_size=7,
    ),
    endings,
)
near_targets = st.builds(
    lambda name, choice, ending: b"/v1/models/" + name + choice + ending,
    st.just(b"times") | odd_pieces | odd_text,
    st.sampled_from([b"", b"/versions/1", b"/versions/2", b"/versions/" + b"9" * 25, b"/labels/no", b"/labels/%ff"]),
    endings,
)
methods = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"BREW"])


def test_odd_methods_and_paths_are_refused(rest):
    @examples(300)
    @given(st.sampled_from([b"GET", b"POST"]) | methods, near_targets | targets)
    def send(method, target):
        raw = (
            method
            + b" "
            + target
            + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD)
        )
        # A line feed within the target is another request, of which anything can be missing.
        whole = b"\n" not in target and b"\r" not in target
        statuses = [status for status, _ in answers(rest.ask(raw, whole=whole))]
        assert set(statuses) <= {200, 400, 404}
        assert statuses or not whole

    send()
    assert rest.num_sent >= 300


REQUEST_LINES = [b"POST %s HTTP/1.1" % PREDICT, b"GET /v1/models/times HTTP/1.1", b"HEAD /v1/models/times HTTP/1.0"]
REQUEST_LINES += [b"POST", b"", b"POST  %s  HTTP/1.1" % PREDICT, b"post %s http/1.1" % PREDICT, b"GET / HTTP/9.9"]
REQUEST_LINES += [
    b"GET /v1/models/times",
    b"PRI * HTTP/2.0",
    b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03",
    b" GET / HTTP/1.1",
]
HEADERS = [
    b"Host: x",
    b"Host: y\r\nHost: z",
    b"Host",
    b": x",
    b" folded: x",
    b"X:" + b"y" * 9000,
    b"X: \0",
    b"\xff: \xff",
]
HEADERS += [
    b"Content-Length: %s" % size for size in (b"34", b"33", b"35", b"0", b"-1", b"+34", b"0x22", b"9" * 20, b"3 4")
]
HEADERS += [
    b"Transfer-Encoding: %s" % name for name in (b"chunked", b"gzip, chunked", b"identity", b"chunked, chunked")
]
HEADERS += [
    b"Expect: 100-continue",
    b"Expect: 200-ok",
    b"Connection: Upgrade\r\nUpgrade: h2c",
    b"Connection: keep-alive",
]
HEADERS += [b"Content-Encoding: %s" % name for name in (b"gzip", b"br", b"deflate", b"\xff")]
CHUNKS = [
    b"22\r\n%s\r\n" % GOOD,
    b"0\r\n\r\n",
    b"zz\r\n",
    b"-1\r\nx\r\n",
    b"f" * 20 + b"\r\n",
    b"5\r\nabc\r\n",
    b"0\r\nX: y\r\n\r\n",
]
CHUNKS += [b"1;a=b\r\n{\r\n", b"22\n%s\n" % GOOD, b"\r\n", GOOD, b"{}", gzip.compress(GOOD), b"GET / HTTP/1.1\r\n\r\n"]
requests = st.builds(
    lambda line, headers, body, feed: feed.join([line, *headers, b"", body]),
    st.sampled_from(REQUEST_LINES[:3]) | st.sampled_from(REQUEST_LINES) | st.binary(max_size=30),
    st.lists(st.sampled_from(HEADERS) | st.binary(max_size=20), max_size=5),
    st.lists(st.sampled_from(CHUNKS) | st.binary(max_size=20), max_size=4).map(b"".join),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]),
)


def test_broken_framing_is_refused_or_cut_off(rest):
    seen = set()

    @examples(350)
    @given(requests)
    def send(raw):
        statuses = {status for status, _ in answers(rest.ask(raw, whole=False))}
        assert statuses <= {200, 400, 404, 413, 417}
        seen.update(statuses)

    send()
    assert rest.num_sent >= 350
    assert {200, 400} <= seen


def test_broken_gzip_reads_as_an_empty_document(rest):
    packed = gzip.compress(GOOD, mtime=0)

    @examples(150)
    @given(st.integers(0, len(packed) - 1), st.integers(0, 255), st.sampled_from(["change", "cut", "append"]))
    def send(position, byte, what):
        body = {
            "change": packed[:position] + bytes([byte]) + packed[position + 1 :],
            "cut": packed[:position],
            "append": packed + bytes([byte]) * position,
        }[what]
        try:
            good = gzip.decompress(body) == GOOD
        except (EOFError, OSError, ValueError, zlib.error):
            good = False
        status, _ = rest.post(body, headers=b"Content-Encoding: gzip\r\n")
        if body == packed:
            assert status == 200
        elif not good:
            assert status == 400

    send()
    assert rest.num_sent >= 150


def test_a_small_body_that_unpacks_to_a_large_one_is_refused(rest):
    body = gzip.compress(b" " * (64 * MAX_REQUEST_BYTES))
    assert len(body) < MAX_REQUEST_BYTES
    status, document = rest.post(body, headers=b"Content-Encoding: gzip\r\n")
    assert (status, document) == (413, {"error": f"body: expected at most {MAX_REQUEST_BYTES} bytes; received more."})


@pytest.mark.parametrize(
    ("head", "piece", "status"),
    [
        (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 1000, 400),
        (b"GET / HTTP/1.1\r\n", b"X: " + b"y" * 4000 + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n", b"y" * 65536, 400),
        (b"GET /", b"y" * 65536, 400),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n" % PREDICT, b" " * 65536, 413),
        (
            b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % PREDICT,
            b"10000\r\n" + b" " * 65536 + b"\r\n",
            413,
        ),
    ],
    ids=["headers", "long headers", "header", "line", "declared body", "chunked body"],
)
def test_floods_are_refused_and_not_kept_in_memory(rest, head, piece, status):
    sent, answer = 0, b""
    with connect(rest.port) as connection:
        try:
            connection.sendall(head)
            # The server lets the client send for a while, so that it reads the answer, and throws all of it away.
            while sent < 2 * MOST_MEMORY_BYTES:
                connection.sendall(piece)
                sent += len(piece)
        except ConnectionError:
            pass
        try:
            while part := connection.recv(1 << 16):
                answer += part
        except ConnectionError:
            pass  # It was cut off, with what it had been told still under way.
    rest.check()
    assert [found for found, _ in answers(answer)] in ([status], [])


@pytest.mark.parametrize(
    ("head", "drip", "statuses"),
    [
        (b"", b"", []),
        (b"POST %s HTT" % PREDICT, b"", []),
        (b"POST %s HTTP/1.1\r\nHost: x\r\n" % PREDICT, b"X: y\r\n", []),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n" % PREDICT, b"", [408]),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n" % PREDICT, b" ", [408]),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % PREDICT, b"1\r\n \r\n", [408]),
        (b"GET /v1/models/times HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n", b" ", [408]),
        (b"GET /v1/models/times HTTP/1.1\r\nHost: x\r\n\r\n", b"", [200]),
        (b"GET /v1/models/times HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n", [200]),
    ],
    ids=["silent", "line", "headers", "no body", "body", "chunks", "needless body", "idle", "lines"],
)
def test_slow_requests_are_cut_off(hasty, head, drip, statuses):
    began = time.monotonic()
    answer = b""
    with connect(hasty.port) as connection:
        connection.sendall(head)
        connection.settimeout(TIMEOUT / 5)
        while True:
            assert time.monotonic() < began + PATIENCE, f"not cut off; the answer so far is {answer!r}"
            try:
                part = connection.recv(1 << 16)
                if not part:
                    break
                answer += part
            except TimeoutError:
                try:
                    connection.sendall(drip)
                except ConnectionError:
                    break
            except ConnectionError:
                break
    Rest(hasty.port).close()
    assert [status for status, _ in answers(answer)] == statuses
    assert time.monotonic() > began + TIMEOUT / 2


def test_many_slow_requests_keep_nobody_else_waiting(rest):
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{" % PREDICT
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(rest.port)).sendall(head)
        rest.check()
    rest.check()
