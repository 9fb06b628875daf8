"""A local server whose surroundings fail it: a full disk, an early end, work that nobody waits for any more."""

import contextlib
import http.client
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest

from tests import tiny_models
from tfae.cli.serve import _Echo
from tfae.servable import Request, write_warmup
from tfae.serving import LocalServer
from tfae.serving.local.access import Access
from tfae.serving.local.journal import Journal

X = np.array([[1, 2], [3, 4]], "float32")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder of versions with one in it, which multiplies by 2."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_models.write(folder / "1", 2)
    return folder


class Unwritable(io.StringIO):
    """A stream whose reader has left."""

    def write(self, _):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_under_the_access_log_costs_its_lines_and_no_answer(tiny, caplog):
    server = LocalServer(tiny, access_log="/dev/full")
    server.start()
    try:
        for options in ({}, {"grpc": True}):
            with server.client(**options) as client:
                np.testing.assert_array_equal(client.predict(x=X)["y"], X * 2)
    finally:
        assert server.stop()
    complaints = [record.getMessage() for record in caplog.records if "access log" in record.getMessage()]
    assert complaints == [
        "The access log cannot be written ([Errno 28] No space left on device); requests are answered without it."
    ]


def test_an_access_log_that_works_again_is_written_again(tmp_path, caplog):
    with (tmp_path / "log").open("w") as log:
        journal = Journal(log)
        for path in ("/\ud800", "/\ud801", "/a"):
            with journal.exchange("REST", "GET", path, ""):
                pass
    with journal.exchange("REST", "GET", "/closed", ""):
        pass
    assert [json.loads(line)["path"] for line in (tmp_path / "log").read_text().splitlines()] == ["/a"]
    assert ["surrogates" in caplog.messages[0], "closed file" in caplog.messages[1]] == [True, True]
    assert len(caplog.messages) == 2


def test_a_message_that_nobody_can_be_shown_harms_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Unwritable())
    _Echo().emit(logging.LogRecord("tfae.serving", logging.INFO, "", 0, "loaded", (), None))


def test_a_message_cannot_pass_for_another_one_or_steer_the_terminal(capsys):
    text = "no such op\nserved everything\x1b[2J\r\u2028ü\tend"
    _Echo().emit(logging.LogRecord("tfae.serving", logging.INFO, "", 0, "%s", (text,), None))
    assert capsys.readouterr().err == "no such op\n    served everything\\x1b[2J\\r\\u2028ü\tend\n"


LOADS = """
import sys, threading, time
from tfae.serving.local import models
load = models.load
def told(*arguments, **options):
    print("loading", flush=True)
    return load(*arguments, **options)
models.load = told
"""
COMMAND = "from tfae.cli import main\nmain(['serve', sys.argv[1], '--port', '0', '--grpc-port', '0'])"
LIBRARY = """
from tfae.serving import LocalServer
server = LocalServer(sys.argv[1])
try:
    server.start(timeout=1)
except TimeoutError:
    print("given up")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("program", "order", "code"),
    [(COMMAND, signal.SIGINT, 130), (COMMAND, signal.SIGTERM, 143), (LIBRARY, None, 0)],
    ids=["ctrl-c", "sigterm", "library"],
)
def test_a_process_that_ends_while_a_model_loads_is_not_aborted(tmp_path, program, order, code):
    tiny_models.write(tmp_path / "tiny" / "1", 2)
    # Some seconds of a kernel.
    steps = np.array([1_000_000], "int32")
    write_warmup(tmp_path / "tiny" / "1", [Request("slow", {"steps": steps})], model_name="tiny")
    command = [sys.executable, "-c", LOADS + program, str(tmp_path / "tiny")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "loading\n"
            time.sleep(1)
            if order is not None:
                process.send_signal(order)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code, errors
    assert "FATAL" not in errors
    assert program is COMMAND or output == "given up\n"


PREDICT = "/tensorflow.serving.PredictionService/Predict"


@contextlib.contextmanager
def busy(*pools):
    """Hold all threads of these pools."""
    over = threading.Event()
    held = [pool.submit(over.wait, 60) for pool in pools for _ in range(pool._max_workers)]
    try:
        yield
    finally:
        over.set()
        for future in held:
            future.result(60)


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


@pytest.mark.parametrize("options", [{}, {"grpc": True}], ids=["rest", "grpc"])
def test_status_and_metadata_are_told_while_every_thread_runs_a_model(tiny, options):
    with (
        LocalServer(tiny, threads=1) as server,
        server.client(**options) as client,
        busy(server._rest._pool, server._grpc._pool),
    ):
        assert client.status(timeout=20)[0].version == 1
        assert "serving_default" in client.metadata(timeout=20).signatures


def test_a_call_that_ends_before_a_thread_was_free_is_written_down_and_counted_with_its_time(tiny):
    log = io.StringIO()
    with LocalServer(tiny, threads=1, access_log=log, metrics=True) as server:
        with (
            grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel,
            busy(server._grpc._pool),
        ):
            with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                channel.unary_unary(PREDICT)(b"", timeout=0.5)
            until(log.getvalue)
        rendered = server._metrics.render()[0].decode()
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["protocol"], line["method"], line["code"]) == ("gRPC", "Predict", "CANCELLED")
    assert line["milliseconds"] > 300
    counted = 'tfae_requests_total{code="CANCELLED",method="Predict",model="",protocol="gRPC",signature=""} 1.0'
    assert counted in rendered
    assert 'tfae_in_flight_requests{protocol="gRPC"} 0.0' in rendered


def test_the_time_in_which_a_call_waits_for_a_thread_is_part_of_its_time(tiny):
    log = io.StringIO()
    with LocalServer(tiny, threads=1, access_log=log) as server, server.client(grpc=True) as client:
        client.metadata()
        with busy(server._grpc._pool):
            asked = threading.Thread(target=client.predict, kwargs={"x": X})
            asked.start()
            time.sleep(0.5)
        asked.join(30)
    line = json.loads(log.getvalue().splitlines()[-1])
    assert (line["method"], line["code"]) == ("Predict", "OK")
    assert line["milliseconds"] > 300


def test_a_call_without_the_token_is_refused_before_its_message_and_without_a_thread(tiny):
    log, over = io.StringIO(), threading.Event()

    def never():
        over.wait(60)
        yield from ()

    with (
        LocalServer(tiny, access=Access(token="secret"), threads=1, access_log=log) as server,
        busy(server._grpc._pool, server._grpc._quick),
        grpc.insecure_channel(server.grpc_url.removeprefix("grpc://")) as channel,
    ):
        try:
            with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
                channel.stream_unary(PREDICT)(never(), timeout=20)
        finally:
            over.set()
    assert [json.loads(line)["code"] for line in log.getvalue().splitlines()] == ["UNAUTHENTICATED"]


@pytest.mark.parametrize(
    ("given", "is_admitted"),
    [
        (["bearer secret"], True),
        (["BEARER  secret"], True),
        (["Bearer secret", "Bearer secret"], False),
        (["Bearer wrong", "Bearer secret"], False),
        (["Bearer secret", "Bearer wrong"], False),
        (["Basic secret"], False),
        (["Bearersecret"], False),
        (["Bearer secret secret"], False),
    ],
)
def test_the_scheme_is_bearer_in_any_case_and_the_token_comes_once(guarded, given, is_admitted):
    connection = http.client.HTTPConnection("127.0.0.1", guarded.rest_port, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest("GET", "/v1/models/tiny")
        for value in given:
            connection.putheader("Authorization", value)
        connection.endheaders()
        assert connection.getresponse().status == (200 if is_admitted else 401)
    answer = "Missing ModelSpec" if is_admitted else "UNAUTHENTICATED"
    with (
        grpc.insecure_channel(guarded.grpc_url.removeprefix("grpc://")) as channel,
        pytest.raises(grpc.RpcError, match=answer),
    ):
        channel.unary_unary(PREDICT)(b"", timeout=20, metadata=[("authorization", value) for value in given])


@pytest.fixture(scope="module")
def guarded(tiny):
    with LocalServer(tiny, access=Access(token="secret")) as server:
        yield server
