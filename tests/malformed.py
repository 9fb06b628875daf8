"""A server that is watched while it gets requests that are broken, over plain sockets.

Client libraries would refuse to send most of these requests.
"""

import contextlib
import http.client
import json
import logging
import re
import resource
import socket
import sys
import threading
import time
from pathlib import Path

from hypothesis import HealthCheck, settings

from tests import tiny_models
from tfae.serving.local.server import LocalServer

#: Seconds in which there has to be an answer.
PATIENCE = 30
#: After so many seconds without an answer, a request counts as one that the server waits for the rest of.
_QUIET_SECONDS = 0.05
MAX_REQUEST_BYTES = 1 << 20
#: That the server and the test may need for anything; what is sent is larger where that matters.
MOST_MEMORY_BYTES = 128 << 20
PREDICT = b"/v1/models/times:predict"
#: A request that is in order; the answer has these rows doubled.
GOOD = b'{"instances": [[1, 2.5], [-3, 4]]}'


def examples(count):
    """Settings of a test that sends that many requests, the same ones each time."""
    unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=unhurried)


@contextlib.contextmanager
def watched_server(folder):
    """A server that doubles; at the end it has failed in nothing."""
    (folder / "times").mkdir()
    tiny_models.write(folder / "times" / "1", 2.0)
    failures = []
    watch = logging.Handler(logging.ERROR)
    watch.emit = lambda record: failures.append(logging.Formatter().format(record))
    logging.getLogger().addHandler(watch)
    try:
        with LocalServer(folder / "times", max_request_bytes=MAX_REQUEST_BYTES) as server:
            yield server
    finally:
        logging.getLogger().removeHandler(watch)
    assert not failures, f"the server failed {len(failures)} times; first {failures[0]}"


@contextlib.contextmanager
def is_steady():
    """Hold that threads, open connections and memory are no more afterwards than before, the server's pool aside."""
    threads, files, peak = threading.active_count(), _open_files(), _peak_bytes()
    yield
    deadline = time.monotonic() + PATIENCE
    while _open_files() > files and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _open_files() <= files
    assert threading.active_count() <= threads + 16
    assert _peak_bytes() < peak + MOST_MEMORY_BYTES


def _open_files():
    return sum(1 for _ in Path("/dev/fd").iterdir())


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def exchange(port, raw, *, whole):
    """All that comes back for these bytes until the server closes the connection.

    Unless the request is ``whole``, the server may wait for the rest of it; it is then told that there is none.
    """
    answer = b""
    with connect(port) as connection:
        try:
            connection.sendall(raw)
            connection.settimeout(PATIENCE if whole else _QUIET_SECONDS)
            try:
                while part := connection.recv(1 << 16):
                    answer += part
            except TimeoutError:
                assert not whole, f"no end of the answer after {PATIENCE} s: {answer!r}"
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(PATIENCE)
                while part := connection.recv(1 << 16):
                    answer += part
        except ConnectionError:
            pass  # It was cut off.
    return answer


def _peak_bytes():
    """Most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Rest:
    """A client that sends what it is told, and then sees whether the server still answers."""

    def __init__(self, port):
        self.port = port
        self.num_sent = 0
        self._good = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.check()

    def close(self):
        self._good.close()

    def ask(self, raw, *, whole=True):
        """As `exchange` does; then a good request."""
        self.num_sent += 1
        answer = exchange(self.port, raw, whole=whole)
        self.check()
        return answer

    def post(self, body, *, headers=b""):
        """Status and JSON of the answer to a request with that body."""
        head = b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s" % (PREDICT, headers)
        ((status, text),) = answers(self.ask(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body)))
        document = json.loads(text.decode(errors="surrogateescape"))
        if status != 200:
            assert list(document) == ["error"]
            assert document["error"]
        return status, document

    def check(self):
        """Hold that a good request gets the right answer."""
        self._good.request("POST", PREDICT.decode(), GOOD)
        response = self._good.getresponse()
        assert response.status == 200
        assert json.loads(response.read()) == {"predictions": [[2, 5], [-6, 8]]}


def answers(raw):
    """Status and body of each answer that a server has sent."""
    found = []
    while raw:
        head, end, rest = raw.partition(b"\r\n\r\n")
        line = re.match(rb"HTTP/[01]\.[019] (\d{3}) [^\r\n]+(\r\n|$)", head)
        assert line, f"no answer of HTTP: {raw!r}"
        assert end
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        size = int(length[1]) if length and rest else 0  # An answer to HEAD has the length only.
        assert len(rest) >= size
        if line[1] != b"100":
            found.append((int(line[1]), rest[:size]))
        raw = rest[size:]
    return found
