"""The local server as a whole: both interfaces, who may ask, what it writes down, and how it ends."""

import http.client
import io
import json
import os
import shutil
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
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests import tiny_models
from tfae.cli.serve import serve
from tfae.serving import LocalServer
from tfae.serving.local.access import Access
from tfae.serving.local.grpc_server import GrpcServer
from tfae.serving.local.journal import Journal
from tfae.serving.local.models import Models
from tfae.serving.model_config import ModelConfig, VersionPolicy, source

X = np.array([[1, 2], [3, 4]], "float32")


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


def rest(server, path, question=None, **headers):
    """Status and body of an answer."""
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(server.rest_url + path, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def channel(server, **options):
    return grpc.insecure_channel(server.grpc_url.removeprefix("grpc://"), **options)


def predict(server, x=X, signature="", metadata=(), timeout=30):
    """The answer over gRPC; the message is made by TensorFlow's own code."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(x))
    with channel(server) as connection:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(connection)
        return stub.Predict(request, timeout=timeout, metadata=metadata)


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_both_interfaces_give_the_same_numbers_to_this_machine_only(server):
    assert server.rest_url == f"http://127.0.0.1:{server.rest_port}"
    assert server.grpc_url == f"grpc://127.0.0.1:{server.grpc_port}"
    status, body = rest(server, "/v1/models/tiny:predict", {"instances": X.tolist()})
    assert status == 200
    np.testing.assert_array_equal(json.loads(body)["predictions"], X * 2)
    answer = predict(server)
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), X * 2)
    assert (answer.model_spec.version.value, answer.model_spec.signature_name) == (5, "serving_default")
    for port in (server.rest_port, server.grpc_port):
        with (
            pytest.raises(OSError, match=r"refused|timed out|assign"),
            socket.create_connection((other_address(), port), timeout=5),
        ):
            pass


def other_address():
    """An address of this machine that is reached only by servers that listen at all of them."""
    return "127.0.0.2"


def test_a_client_of_the_server_knows_where_it_is(server):
    for options in ({}, {"grpc": True}):
        with server.client(**options) as client:
            assert client.status()[0].version == 5


def test_values_without_number_arrive_over_grpc(server):
    special = np.array([[np.nan, np.inf], [-np.inf, -0.0]], "float32")
    np.testing.assert_array_equal(tf.make_ndarray(predict(server, special).outputs["y"]), special * 2)


@pytest.mark.parametrize(
    ("method", "code", "text"),
    [
        ("Classify", "INVALID_ARGUMENT", "No classification inputs found in SignatureDef: "),
        ("Regress", "INVALID_ARGUMENT", "No regression inputs found in SignatureDef: "),
        ("MultiInference", "UNIMPLEMENTED", "The local server has no MultiInference."),
        ("NoSuchMethod", "UNIMPLEMENTED", ""),
    ],
)
def test_methods_that_are_not_offered_say_so(server, method, code, text):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "tiny"
    with channel(server) as connection:
        call = connection.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"" if method == "MultiInference" else request.SerializeToString(), timeout=30)
    assert raised.value.code().name == code
    assert raised.value.details().startswith(text)
    assert bool(raised.value.details()) == bool(text)


def test_an_error_reaches_the_client_however_long_the_names_are_that_it_quotes(server):
    with pytest.raises(grpc.RpcError) as raised:
        predict(server, signature="ü" * 100_000)
    assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert raised.value.details().startswith('Serving signature key "üüü')


def test_no_config_is_taken_over_the_network(server):
    with channel(server) as connection:
        stub = model_service_pb2_grpc.ModelServiceStub(connection)
        with pytest.raises(grpc.RpcError, match="takes no config over the network"):
            stub.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=30)
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "tiny"
        assert stub.GetModelStatus(request, timeout=30).model_version_status[0].version == 5


def test_a_message_that_is_none_and_one_that_is_too_large_are_refused_and_the_next_is_answered(tiny):
    with LocalServer(tiny, max_request_bytes=1000) as server:
        with channel(server) as connection:
            call = connection.unary_unary("/tensorflow.serving.PredictionService/Predict")
            with pytest.raises(grpc.RpcError, match="INTERNAL"):
                call(b"\xff\xff\xff", timeout=30)
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            predict(server, np.zeros((200, 2), "float32"))
        assert rest(server, "/v1/models/tiny:predict", {"instances": [[0.5, 0.5]] * 200})[0] == 413
        np.testing.assert_array_equal(tf.make_ndarray(predict(server).outputs["y"]), X * 2)


def test_few_bytes_cannot_ask_for_a_huge_tensor(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(X[:1]))
    request.inputs["x"].tensor_content = b""
    request.inputs["x"].tensor_shape.dim[0].size = 2**40
    with channel(server) as connection:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(connection)
        with pytest.raises(grpc.RpcError, match=r"Tensor x of shape .* is larger than"):
            stub.Predict(request, timeout=30)


def test_calls_whose_message_does_not_come_are_cut_off_and_others_answered(tiny):
    models = Models(source(tiny))
    models.start(timeout=60)
    options = {"host": "127.0.0.1", "port": 0, "threads": 2, "max_request_bytes": 1000, "message_timeout": 0.5}
    server = GrpcServer(models, Journal(), **options)
    server.start()
    done = threading.Event()

    def never():
        done.wait(60)
        yield from ()

    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as connection:
            call = connection.stream_unary("/tensorflow.serving.PredictionService/Predict")
            stuck = [call.future(never(), timeout=60) for _ in range(2)]
            for future in stuck:
                assert future.exception(30).code() == grpc.StatusCode.CANCELLED
            with pytest.raises(grpc.RpcError, match="Requires exactly one request message"):
                call(iter(()), timeout=30)
            request = get_model_status_pb2.GetModelStatusRequest()
            request.model_spec.name = "tiny"
            stub = model_service_pb2_grpc.ModelServiceStub(connection)
            assert stub.GetModelStatus(request, timeout=30).model_version_status[0].version == 5
    finally:
        done.set()
        server.stop(1)
        models.stop()


def test_only_those_with_the_token_are_answered(tiny):
    with LocalServer(tiny, access=Access(token="secret")) as server:
        for given in ("", "Bearer wrong", "secret", "Bearer secre"):
            with pytest.raises(grpc.RpcError, match="expected the server's bearer token"):
                predict(server, metadata=[("authorization", given)])
            assert rest(server, "/v1/models/tiny", Authorization=given)[0] == 401
        assert rest(server, "/v1/models/tiny", Authorization="Bearer secret")[0] == 200
        answer = predict(server, metadata=[("authorization", "Bearer secret")])
        np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["y"]), X * 2)
        with server.client() as client:
            assert client.status()[0].state == "AVAILABLE"
    with pytest.raises(ValueError, match="token: expected printable ASCII characters"):
        Access(token="")


def test_both_ports_speak_tls_where_there_is_a_certificate(tiny, tmp_path):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    options = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    command = [openssl, "req", "-x509", *options, *names, "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with LocalServer(tiny, access=Access(certificate_file=certificate, key_file=key)) as server:
        assert server.rest_url.startswith("https://127.0.0.1:")
        for options in ({}, {"grpc": True}):
            with server.client(**options) as client:
                assert client.status()[0].version == 5
        with pytest.raises((http.client.HTTPException, OSError), match=r"reset|closed|disconnected|status line"):
            rest_plain(server.rest_port)
    with pytest.raises(ValueError, match="certificate_file, key_file: expected both or none"):
        Access(certificate_file=certificate)
    with pytest.raises(ValueError, match="certificate_file, key_file: expected PEM files"):
        Access(certificate_file=certificate, key_file=certificate)


def rest_plain(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/v1/models/tiny")
        connection.getresponse().read()
    finally:
        connection.close()


def test_every_request_is_written_down_and_counted(tiny):
    log = io.StringIO()
    with LocalServer(tiny, access_log=log, metrics=True) as server:
        rest(server, "/v1/models/tiny:predict", {"instances": X.tolist()})
        rest(server, "/v1/models/other:predict", {"instances": X.tolist()})
        predict(server)
        with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
            predict(server, np.array([np.nan], "float32"), signature="finite")
        status, metrics = rest(server, "/monitoring/prometheus/metrics")
    assert status == 200
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    kept = ("protocol", "method", "model", "version", "signature", "rows", "code", "status")
    assert [{key: line[key] for key in kept if key in line} for line in lines] == [
        {
            "protocol": "REST",
            "method": "POST",
            "model": "tiny",
            "version": 5,
            "signature": "serving_default",
            "rows": 2,
            "code": "OK",
            "status": 200,
        },
        {"protocol": "REST", "method": "POST", "code": "NOT_FOUND", "status": 404},
        {
            "protocol": "gRPC",
            "method": "Predict",
            "model": "tiny",
            "version": 5,
            "signature": "serving_default",
            "rows": 2,
            "code": "OK",
        },
        {
            "protocol": "gRPC",
            "method": "Predict",
            "model": "tiny",
            "version": 5,
            "signature": "finite",
            "rows": 1,
            "code": "INVALID_ARGUMENT",
        },
        {"protocol": "REST", "method": "GET", "code": "OK", "status": 200},
    ]
    assert all(line["milliseconds"] > 0 and line["response_bytes"] >= 0 and line["peer"] for line in lines)
    for line in (
        'tfae_requests_total{code="OK",method="POST",model="tiny",protocol="REST",signature="serving_default"} 1.0',
        'tfae_requests_total{code="NOT_FOUND",method="POST",model="",protocol="REST",signature=""} 1.0',
        'tfae_requests_total{code="INVALID_ARGUMENT",method="Predict",model="tiny",protocol="gRPC",signature="finite"}',
        'tfae_available_version{model="tiny",version="5"} 1.0',
        'tfae_in_flight_requests{protocol="gRPC"} 0.0',
    ):
        assert line in metrics


def test_metrics_are_not_there_unless_asked_for(server):
    assert rest(server, "/monitoring/prometheus/metrics")[0] == 404


def test_a_request_under_way_is_finished_when_the_server_stops(tiny):
    server = LocalServer(tiny)
    server.start()
    answers = []
    steps = np.array([200_000], "int32")

    def ask_slowly():
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "tiny", "slow"
        request.inputs["steps"].CopyFrom(tf.make_tensor_proto(steps))
        with channel(server) as connection:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(connection)
            answers.append(tf.make_ndarray(stub.Predict(request, timeout=120).outputs["y"]))

    def ask_slowly_over_rest():
        question = {"signature_name": "slow", "instances": steps.tolist()}
        answers.append(json.loads(rest(server, "/v1/models/tiny:predict", question)[1])["predictions"])

    threads = [threading.Thread(target=ask) for ask in (ask_slowly, ask_slowly_over_rest)]
    for thread in threads:
        thread.start()
    table = server.models._table
    until(lambda: sum(version.leases for version in table._all()) == 2)
    assert server.stop(grace=60)
    for thread in threads:
        thread.join(timeout=60)
    assert [list(answer) for answer in answers] == [[200_000], [200_000]]
    with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
        predict(server, timeout=5)
    assert server.stop()


def test_a_port_that_is_taken_is_named(server, tiny):
    for argument in ("rest_port", "grpc_port"):
        taken = {argument: getattr(server, argument)}
        with pytest.raises(
            ValueError, match=rf"host, {argument}: .* a free port; received .*\(Address already in use\)"
        ):
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


def test_several_models_are_told_apart(template, tmp_path):
    for name in ("a", "b"):
        tiny_models.publish(template, tmp_path / name, 1)
    configs = [ModelConfig(name, tmp_path / name, VersionPolicy(), {"stable": 1}) for name in ("a", "b")]
    with LocalServer(configs) as server:
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
        (
            {"rest_port": 8501, "grpc_port": 8501},
            "rest_port: expected another port than grpc_port; received 8501 for both",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused(tiny, arguments, problem):
    with pytest.raises(ValueError, match=problem):
        LocalServer(tiny, **arguments)
    with pytest.raises(ValueError, match="access_log: expected a file that can be written"):
        LocalServer(tiny, access_log=tiny / "no" / "file").start()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process could catch")
def test_the_command_serves_until_it_is_told_to_stop(tiny, tmp_path):
    command = [
        sys.executable,
        "-c",
        "from tfae.cli.serve import serve; serve()",
        tiny,
        "--access-log",
        tmp_path / "log",
    ]
    process = subprocess.Popen(
        [*map(str, command), "--port", "0", "--grpc-port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.PIPE,
    )
    try:
        page = []
        for line in process.stdout:
            page.append(line)
            if "Ctrl-C" in line:
                break
        text = "".join(page)
        assert "tfae's local server, for notebooks and tests. In production take TensorFlow Serving" in text
        assert "tiny: version 5" in text
        url = next(line.split()[1] for line in page if line.startswith("REST"))
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b'"AVAILABLE"' in answer.read()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    assert "Stopping" in errors
    assert json.loads((tmp_path / "log").read_text())["path"] == "/v1/models/tiny"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "expected either a folder or --model-config-file"),
        (["nowhere"], "expected a folder with a model's versions"),
        (["{tiny}", "--label", "stable"], "--label: expected LABEL=VERSION"),
        (["{tiny}", "--engine", "docker", "--print", "--cors"], "--cors: expected no such option with --engine docker"),
        (["{tiny}", "--print"], "expected none of them with --engine local"),
        (["{tiny}", "--engine", "tensorflow-serving", "--image", "x"], "--image: expected none"),
        (["{tiny}", "--grace-seconds", "inf"], "--grace-seconds: expected a number of seconds that can be waited for"),
        (["{tiny}", "--grace-seconds", "nan"], "received nan"),
        (["{tiny}", "--grace-seconds", "1e300"], "received 1e+300"),
        (["{tiny}", "--port", "8501", "--grpc-port", "8501"], "expected another port than grpc_port"),
        (["{tiny}", "--token-file", "{tiny}/../token"], "--token-file: expected a file with a token as text; received"),
        (["--model-config-file", "{tiny}/../none.config"], "models: expected at least one model; received none"),
    ],
)
def test_the_command_says_what_it_cannot_do(tiny, arguments, problem):
    (tiny.parent / "token").write_bytes(b"\xff\xfe")
    (tiny.parent / "none.config").write_text("model_config_list {}")
    result = CliRunner().invoke(serve, [argument.format(tiny=tiny) for argument in arguments])
    assert isinstance(result.exception, ValueError), result.output
    assert problem in str(result.exception)


def test_the_command_names_the_extra_that_is_not_installed(tiny):
    program = "import sys; sys.modules['aiohttp'] = None; from tfae.cli.serve import serve; serve()"
    result = subprocess.run([sys.executable, "-c", program, str(tiny)], capture_output=True, text=True, timeout=60)
    assert result.returncode != 0
    assert "received none of aiohttp. Install them with pip install 'tfae[serve]'" in result.stderr


def test_the_command_of_an_engine_is_shown(tiny):
    result = CliRunner().invoke(serve, [str(tiny), "--engine", "docker", "--print", "--port", "9001"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("docker run --rm")
    assert "127.0.0.1:9001:8501" in result.output
