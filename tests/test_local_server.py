"""The local server as a whole: both interfaces, its limits, how it ends, and its command."""

import concurrent.futures
import contextlib
import http.client
import itertools
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests import tiny_models
from tests.tiny_models import until
from tfae.cli.serve import serve
from tfae.cli.terminal import Echo
from tfae.servable import Request, write_warmup
from tfae.serving import LocalServer
from tfae.serving.local import server as server_module
from tfae.serving.local.grpc_service import _from_proto, _to_proto

X = np.array([[1, 2], [3, 4]], "float32")
STEPS = np.array([200_000], "int32")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A model that multiplies by 2."""
    path = tmp_path_factory.mktemp("template") / "2"
    tiny_models.write(path, 2)
    return path


@pytest.fixture
def tiny(template, tmp_path):
    """A folder of versions with one in it, version 5."""
    tiny_models.publish(template, tmp_path / "tiny", 5)
    return tmp_path / "tiny"


@pytest.fixture(scope="module")
def server(template, tmp_path_factory):
    """A server that was started with nothing but a folder."""
    base = tmp_path_factory.mktemp("models") / "tiny"
    tiny_models.publish(template, base, 5)
    with LocalServer(base) as started:
        yield started


def rest(server, path="/v1/models/tiny:predict", question=None):
    """Status and body of an answer."""
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(server.rest_url + path, body)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def channel(server):
    return grpc.insecure_channel(server.grpc_url.removeprefix("grpc://"))


def predict(server, x=X, signature="", timeout=30, **inputs):
    """The answer over gRPC; the message is made by TensorFlow's own code."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", signature
    for name, value in (inputs or {"x": x}).items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    with channel(server) as connection:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(connection)
        return stub.Predict(request, timeout=timeout)


def num_asked(server):
    """How many requests at once a server that has just started was asked to predict."""
    return len(server._pool._threads)


def test_both_interfaces_give_the_same_numbers_to_this_machine_only(server):
    assert server.rest_url == f"http://127.0.0.1:{server.rest_port}"
    assert server.grpc_url == f"grpc://127.0.0.1:{server.grpc_port}"
    status, body = rest(server, question={"instances": X.tolist()})
    assert status == 200
    np.testing.assert_array_equal(json.loads(body)["predictions"], X * 2)
    answer = predict(server)
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), X * 2)
    assert (answer.model_spec.version.value, answer.model_spec.signature_name) == (5, "serving_default")
    for port in (server.rest_port, server.grpc_port):
        with (
            # An address of this machine that is reached only by servers that listen at all of them.
            pytest.raises(OSError, match=r"refused|timed out|assign"),
            socket.create_connection(("127.0.0.2", port), timeout=5),
        ):
            pass


@pytest.mark.parametrize(
    ("method", "code", "text"),
    [
        ("PredictionService/Classify", "INVALID_ARGUMENT", "The local server answers Predict alone"),
        ("PredictionService/MultiInference", "UNIMPLEMENTED", "Method not found"),
        ("ModelService/HandleReloadConfigRequest", "UNIMPLEMENTED", "Method not found"),
    ],
)
def test_methods_that_are_not_offered_say_so(server, method, code, text):
    with channel(server) as connection, pytest.raises(grpc.RpcError, match=text) as raised:
        connection.unary_unary(f"/tensorflow.serving.{method}")(b"", timeout=30)
    assert raised.value.code().name == code


def test_an_error_reaches_the_client_however_long_the_names_are_that_it_quotes(server):
    with pytest.raises(grpc.RpcError, match="signature_name: expected one of add, finite") as raised:
        predict(server, signature="ü" * 100_000)
    assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float64", [0.1, np.nan]),
        ("float16", [1.5, -2]),
        ("int8", [-128, 127]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("uint64", [0, 2**64 - 1]),
        ("bool", [True, False]),
        ("complex64", [1 + 2j, -3j]),
        ("complex128", [1 + 2j, -3j]),
        ("object", [b"\xff\x00", b""]),
    ],
)
def test_every_dtype_goes_through_grpc_unchanged(dtype, values):
    array = np.array([values, values], dtype)
    proto = tf.make_tensor_proto(0.0)
    proto.Clear()
    _to_proto(array, proto)
    assert not proto.tensor_content  # The fields are what clients of the real server read.
    tf_dtype = tf.as_dtype(array.dtype)
    for message in (proto, tf.make_tensor_proto(array)):
        found = _from_proto("x", message, tf_dtype, 1000)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found, array)
    scalar = tf.make_tensor_proto(array[0, 0], tf_dtype)
    assert _from_proto("x", scalar, tf_dtype, 1000).shape == ()


def test_requests_that_are_not_sent_to_their_end_are_cut_off_and_others_answered(tiny, monkeypatch):
    monkeypatch.setattr(server_module, "_MESSAGE_TIMEOUT", 0.5)
    with LocalServer(tiny, threads=1) as server, contextlib.ExitStack() as stack:
        for _ in range(20):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", server.rest_port), timeout=30))
            silent.sendall(b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        assert rest(server, question={"instances": X.tolist()})[0] == 200
        assert silent.recv(1 << 16).startswith(b"HTTP/1.1 408 ")


def test_status_and_metadata_are_told_while_every_thread_runs_a_model(tiny):
    over = threading.Event()
    with LocalServer(tiny, threads=1) as server, server.client() as over_rest, server.client(grpc=True) as over_grpc:
        server._pool.submit(over.wait, 60)
        try:
            for client in (over_rest, over_grpc):
                assert client.status(timeout=20)[0].version == 5
                assert "serving_default" in client.metadata(timeout=20).signatures
        finally:
            over.set()


def test_a_failure_of_the_server_itself_is_internal(server, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("out of order")

    with monkeypatch.context() as patch:
        patch.setattr("tfae.serving.local.rest_service.run", fail)
        patch.setattr("tfae.serving.local.grpc_service.run", fail)
        status, body = rest(server, question={"instances": X.tolist()})
        assert (status, json.loads(body)) == (500, {"error": "RuntimeError: out of order"})
        with pytest.raises(grpc.RpcError, match="RuntimeError: out of order"):
            predict(server)
    assert caplog.text.count("Traceback") == 2
    assert rest(server, question={"instances": X.tolist()})[0] == 200


def test_requests_under_way_are_finished_when_the_server_stops(tiny):
    server = LocalServer(tiny)
    server.start()
    question = {"signature_name": "slow", "instances": STEPS.tolist()}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        over_grpc = pool.submit(predict, server, signature="slow", steps=STEPS, timeout=120)
        over_rest = pool.submit(rest, server, question=question)
        until(lambda: num_asked(server) == 2)
        assert server.stop(grace=60)
    assert tf.make_ndarray(over_grpc.result().outputs["y"]).tolist() == STEPS.tolist()
    assert json.loads(over_rest.result()[1]) == {"predictions": STEPS.tolist()}
    with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
        predict(server, timeout=5)
    assert server.stop()


@pytest.mark.parametrize("grace", [0, 4])
def test_a_server_that_is_stopped_waits_no_longer_than_its_grace(tiny, grace):
    server = LocalServer(tiny)
    server.start()
    question = {"signature_name": "slow", "instances": (STEPS * 20).tolist()}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(rest, server, question=question)
        until(lambda: num_asked(server) == 1)
        began = time.monotonic()
        assert not server.stop(grace)
        assert time.monotonic() - began < grace + 3.5  # Not twice the grace.
        assert isinstance(asked.exception(10), (OSError, http.client.HTTPException))


def test_the_models_have_a_moment_to_end_even_if_no_grace_is_left(tiny, monkeypatch):
    with LocalServer(tiny) as server:
        stop = server.models.stop
        monkeypatch.setattr(server.models, "stop", lambda grace: grace > 0 and stop(grace))
        assert server.stop(0)


def test_a_port_that_is_taken_is_named(server, tiny):
    for argument in ("rest_port", "grpc_port"):
        taken = {argument: getattr(server, argument)}
        with pytest.raises(ValueError, match=rf"host, {argument}: .* free port; received .*\(Address already in use\)"):
            LocalServer(tiny, **taken).start()
    with pytest.raises(ValueError, match=r"expected an address of this machine .*; received 192\.0\.2\.1:0"):
        LocalServer(tiny, host="192.0.2.1").start()
    assert rest(server, "/v1/models/tiny")[0] == 200


def test_a_server_whose_only_version_is_broken_does_not_start_and_one_without_a_version_waits(template, tmp_path):
    base = tmp_path / "tiny"
    (base / "1").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"expected tiny to have a version that can be loaded; .*version 1, NOT_FOUND"):
        LocalServer(base).start()
    (base / "1").rmdir()
    with LocalServer(base, poll_seconds=0.02) as server:
        assert rest(server, "/v1/models/tiny")[0] == 404
        tiny_models.publish(template, base, 1)
        until(lambda: rest(server, "/v1/models/tiny")[0] == 200)


STABLE = "version_labels { key: 'stable' value: 1 }"


def test_several_models_are_told_apart(template, tmp_path):
    for name in ("a", "b"):
        tiny_models.publish(template, tmp_path / name, 1)
    configs = [f"config {{ name: '{n}' base_path: '{tmp_path / n}' {STABLE} }}" for n in ("a", "b")]
    (tmp_path / "models.config").write_text(f"model_config_list {{ {' '.join(configs)} }}")
    with LocalServer(tmp_path / "models.config") as server:
        assert rest(server, "/v1/models/b/labels/stable:predict", {"instances": [[1, 2]]})[0] == 200
        with pytest.raises(ValueError, match="model: expected one of a, b; received none"):
            server.client()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"rest_port": 70_000}, "rest_port: expected a number from 0 to 65535; received 70000"),
        ({"max_request_bytes": 0}, "max_request_bytes: expected at least 1; received 0"),
        ({"poll_seconds": -1}, "poll_seconds: expected a number of at least 0; received -1"),
        ({"threads": 0}, "threads: expected at least 1; received 0"),
        ({"rest_port": 85, "grpc_port": 85}, "rest_port: expected another port than grpc_port; received 85 for both"),
    ],
)
def test_arguments_that_cannot_be_are_refused(tiny, arguments, problem):
    with pytest.raises(ValueError, match=problem):
        LocalServer(tiny, **arguments)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process could catch")
def test_the_command_serves_until_it_is_told_to_stop(tiny, tmp_path):
    command = [sys.executable, "-c", "from tfae.cli import main; main()", "serve", "--port", "0", "--grpc-port", "0"]
    command += [tiny, "--access-log", tmp_path / "log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            page = list(itertools.takewhile(lambda line: "Ctrl-C" not in line, process.stdout))
            text = "".join(page)
            assert "tfae's local server, for notebooks and tests. In production take TensorFlow Serving" in text
            assert "tiny: version 5" in text
            url = next(line.split()[1] for line in page if line.startswith("REST"))
            asked = urllib.request.Request(url, headers={"Referer": "\xff"})
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert (answer.headers["Server"], b'"AVAILABLE"' in answer.read()) == ("tfae", True)
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(url.replace("tiny", "%ff:predict"), b'{"instances": [1]}', timeout=30)
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert "Stopping" in errors
    assert "Traceback" not in errors
    first, second = (tmp_path / "log").read_text().splitlines()
    assert '"GET /v1/models/tiny HTTP/1.1" 200 ' in first
    assert '"\\udcff"' in first
    assert '"POST /v1/models/%ff:predict HTTP/1.1" 404 ' in second


LOADING = """
import sys
from tfae.serving.local import models
load = models.load
def announce(*arguments, **options):
    print("loading", flush=True)
    return load(*arguments, **options)
models.load = announce
"""
COMMAND = "from tfae.cli import main\nmain(['serve', sys.argv[1], '--port', '0', '--grpc-port', '0'])"
LIBRARY = """
from tfae.serving import LocalServer
try:
    LocalServer(sys.argv[1]).start(timeout=0.1)
except TimeoutError:
    print("given up")
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("program", "order", "code"), [(COMMAND, signal.SIGINT, 130), (LIBRARY, None, 0)], ids=["ctrl-c", "library"]
)
def test_a_process_that_ends_while_a_model_loads_is_not_aborted(tiny, program, order, code):
    # A second or more of a kernel.
    write_warmup(tiny / "5", [Request("slow", {"steps": STEPS})], model_name="tiny")
    command = [sys.executable, "-c", LOADING + program, str(tiny)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "loading\n"
            if order is not None:
                process.send_signal(order)
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code, errors
    assert "FATAL" not in errors
    assert program is COMMAND or output == "given up\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "expected either a folder or --model-config-file"),
        ("nowhere", "expected a folder with a model's versions"),
        ("{tiny} --label stable", "--label: expected LABEL=VERSION"),
        ("{tiny} --engine docker --print --access-log x", "option with --engine docker; it is for tfae's own server"),
        ("{tiny} --engine docker --print --rest-port 0", "rest_port: expected a number from 1 to 65535"),
        ("{tiny} --image x", "with --engine local; it is for --engine docker."),
        ("{tiny} --print", "--print: expected no such option with --engine local; it is for --engine docker"),
        ("{tiny} --flag=--x", "--flag: expected no such option with --engine local"),
        ("{tiny} --engine tensorflow-serving --image x", "--image: expected none"),
        ("{tiny} --port 8501 --grpc-port 8501", "expected another port than grpc_port"),
        ("{tiny} --access-log {tiny}/../no/file", "No such file or directory"),
        ("--model-config-file {tiny}/../none.config", "models: expected at least one model; received none"),
    ],
)
def test_the_command_says_what_it_cannot_do(tiny, arguments, problem):
    (tiny.parent / "none.config").write_text("model_config_list {}")
    result = CliRunner().invoke(serve, arguments.format(tiny=tiny).split())
    assert isinstance(result.exception, (ValueError, OSError)), result.output
    assert problem in str(result.exception)


def test_the_command_names_the_extra_that_is_not_installed(tiny):
    program = (
        "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n, *a: None if n == 'aiohttp' else "
        "find(n, *a); from tfae.cli import main; main()"
    )
    command = [sys.executable, "-c", program, "serve", str(tiny)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert result.stderr.startswith("Error: tfae.serving.local: expected aiohttp, the web server behind LocalServer")
    assert "pip install 'tfae[serve]'" in result.stderr


def test_a_message_cannot_pass_for_another_one_or_steer_the_terminal(capsys):
    text = "no such op\nserved everything\x1b[2J\r\u2028ü\tend"
    Echo().emit(logging.LogRecord("tfae.serving", logging.INFO, "", 0, "%s", (text,), None))
    assert capsys.readouterr().err == "no such op\n    served everything\\x1b[2J\\r\\u2028ü\tend\n"


def test_a_message_that_nobody_can_be_shown_harms_nothing(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as left:
        monkeypatch.setattr(sys, "stderr", left)
        Echo().emit(logging.LogRecord("tfae.serving", logging.INFO, "", 0, "loaded", (), None))
        with contextlib.suppress(BrokenPipeError):
            left.close()
