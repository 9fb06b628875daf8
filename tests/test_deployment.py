"""What operations want: the files that `tfae deploy` writes, read by what reads them."""

import base64
import itertools
import json
import re
import shlex
import shutil
import socket
import subprocess
import time
from pathlib import Path

import kubernetes_validate
import numpy as np
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from tests import tiny_models
from tests.commands import run
from tests.exports import built
from tests.samples import normal
from tests.stub_server import Stub
from tfae import export
from tfae.cli.serve import deploy
from tfae.servable import Request, write_warmup
from tfae.serving import LocalServer, engines
from tfae.serving.deployment import Deployment, folder, warmup_requests, write
from tfae.serving.model_config import read_models

FILES = {"README.md", "compose.yaml", "kubernetes.yaml", "readiness/ready.sh"}
FILES |= {f"config/{name}.config" for name in ("batching", "models", "monitoring")}
FILES |= {f"readiness/{name}.json" for name in ("decode", "score", "serve_image_bytes")}

BASH = next((path for path in ("/bin/bash", "/usr/bin/bash") if Path(path).exists()), None)


def write_requests(version, requests):
    """Warm a version up with requests, which are pairs of signature and inputs."""
    version.mkdir(parents=True, exist_ok=True)
    write_warmup(version, itertools.starmap(Request, requests), model_name="any")


def warmup(batch_sizes):
    """Requests to three signatures: pixels, floats and bytes."""
    for rows in batch_sizes:
        yield "score", {"inputs": np.arange(100, 100 + 4 * rows, dtype="uint8").reshape(rows, 2, 2, 1)}
        yield "decode", {"embedding": normal(rows, 3)}
        images = [b"\x89PNG\xff" + bytes([row]) for row in range(rows)]
        yield "serve_image_bytes", {"image_bytes": np.array(images, object)}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model with versions 1 and 2."""
    path = tmp_path_factory.mktemp("saved_models") / "fashion_mnist"
    for version in ("1", "2"):
        write_requests(path / version, warmup([1, 2, 7]))
    return path


@pytest.fixture
def deployed(models, tmp_path):
    """Writes a deployment of those models, or of one that is warmed up with certain requests; returns the folder."""

    def write_folder(*, requests=None, replace=False, **options):
        if requests is not None:
            write_requests(tmp_path / "x" / "1", requests)
        options.setdefault("saved_models", models if requests is None else tmp_path / "x")
        write(Deployment(**options), tmp_path / "deploy", replace=replace)
        return tmp_path / "deploy"

    return write_folder


@pytest.fixture(scope="module")
def default(models):
    """The folder of a deployment that leaves everything at its default, to be read."""
    write(Deployment(saved_models=models), models.parent / "deploy")
    return models.parent / "deploy"


def written(path):
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}


def served(path):
    """The only model of the configuration."""
    file = path / "config" / "models.config"
    (entry,) = text_format.Parse(file.read_text(), ModelServerConfig()).model_config_list.config
    assert read_models(file) == [entry]  # As the local server reads it.
    return entry


def composed(path):
    return yaml.safe_load((path / "compose.yaml").read_text())["services"]["serving"]


def template(path):
    """Of the pods."""
    return documents(path)["Deployment", "fashion-mnist"]["spec"]["template"]


def documents(path):
    """Kubernetes's objects by kind and name."""
    found = list(yaml.safe_load_all((path / "kubernetes.yaml").read_text()))
    return {(document["kind"], document["metadata"]["name"]): document for document in found}


def parsed(file, name):
    """A configuration, as a protobuf message that the package of stubs leaves out; numbers as TensorFlow Serving's."""
    schema = descriptor_pb2.FileDescriptorProto(name="serving.proto", package="serving", syntax="proto3")
    schema.dependency.append("google/protobuf/wrappers.proto")
    for message, fields in SCHEMA.items():
        described = schema.message_type.add(name=message)
        for field, (number, label, kind) in fields.items():
            of = {"type": kind} if isinstance(kind, int) else {"type": 11, "type_name": kind}
            described.field.add(name=field, number=number, label=label, **of)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString(wrappers_pb2.DESCRIPTOR.serialized_pb))
    pool.Add(schema)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"serving.{name}"))()
    return text_format.Parse(file.read_text(), message)


OPTIONAL, REPEATED, INT64, BOOL, STRING, WRAPPED = 1, 3, 3, 8, 9, ".google.protobuf.Int64Value"
#: Of tensorflow_serving/servables/tensorflow/session_bundle_config.proto and config/monitoring_config.proto.
NUMBERS = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
SCHEMA = {
    "BatchingParameters": {name: (number, OPTIONAL, WRAPPED) for number, name in enumerate(NUMBERS, 1)}
    | {"allowed_batch_sizes": (6, REPEATED, INT64)},
    "PrometheusConfig": {"enable": (1, OPTIONAL, BOOL), "path": (2, OPTIONAL, STRING)},
    "MonitoringConfig": {"prometheus_config": (1, OPTIONAL, ".serving.PrometheusConfig")},
}


def test_the_folder_holds_every_file_serves_the_highest_version_and_turns_prometheus_on(default):
    assert written(default) == FILES
    assert not list(default.parent.glob(".staging-*"))
    entry = served(default)
    assert (entry.name, entry.base_path) == ("fashion_mnist", "/models/fashion_mnist")
    assert entry.model_platform == "tensorflow"
    assert entry.model_version_policy.latest.num_versions == 1
    assert not entry.version_labels
    config = parsed(default / "config" / "monitoring.config", "MonitoringConfig").prometheus_config
    assert (config.enable, config.path) == (True, "/monitoring/prometheus/metrics")


def test_labels_have_their_versions_served_and_the_first_probed(deployed):
    path = deployed(labels={"stable": 1, "canary": 2})
    entry = served(path)
    assert dict(entry.version_labels) == {"stable": 1, "canary": 2}
    assert list(entry.model_version_policy.specific.versions) == [1, 2]
    # Otherwise the server does not start: no version is loaded yet when it reads the labels.
    assert "--allow_version_labels_for_unavailable_models=true" in composed(path)["command"]
    script = (path / "readiness" / "ready.sh").read_text()
    assert "POST /v1/models/fashion_mnist/labels/stable:predict HTTP/1.1" in script
    assert "stable = 1, canary = 2" in (path / "README.md").read_text()


@pytest.mark.parametrize("sizes", [[1, 2, 7], [32, 1], [4]])
def test_no_batch_is_run_that_was_not_warmed_up_in_every_signature(deployed, sizes):
    requests = [*warmup(sizes), ("score", {"inputs": np.zeros((64, 2, 2, 1), "uint8")})]
    path = deployed(requests=requests)
    parameters = parsed(path / "config" / "batching.config", "BatchingParameters")
    assert list(parameters.allowed_batch_sizes) == sorted(sizes)
    assert parameters.max_batch_size.value == max(sizes)
    assert parameters.num_batch_threads.value > 0
    assert parameters.batch_timeout_micros.value > 0


@pytest.mark.parametrize("batching", [False, True])
def test_batching_is_on_where_it_was_asked_for(deployed, batching):
    path = deployed(batching=batching)
    flags = composed(path)["command"]
    wanted = {"--enable_batching=true", "--batching_parameters_file=/config/batching.config"}
    assert flags == template(path)["spec"]["containers"][0]["args"]
    assert set(flags) & wanted == (wanted if batching else set())


def test_the_compose_file_mounts_what_the_flags_name(models, deployed):
    path = deployed(image="tensorflow/serving:2.19.1")
    assert set(yaml.safe_load((path / "compose.yaml").read_text())) == {"name", "services"}
    service = composed(path)
    assert service["image"] == "tensorflow/serving:2.19.1"
    assert service["entrypoint"] == ["tensorflow_model_server"]
    assert service["init"] is True
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    mounts = {mount["target"]: (path / mount["source"]).resolve() for mount in service["volumes"]}
    assert all(mount["type"] == "bind" and mount["read_only"] for mount in service["volumes"])
    assert mounts["/models/fashion_mnist"] == models
    named = [flag.partition("=")[2] for flag in service["command"] if "=/" in flag]
    assert named
    for file in map(Path, [*named, service["healthcheck"]["test"][-1]]):
        assert (mounts[str(file.parent)] / file.name).is_file(), file


def test_a_dollar_in_the_path_is_not_taken_for_a_variable_of_compose(deployed, tmp_path):
    write_requests(tmp_path / "my$models" / "1", warmup([1]))
    path = deployed(saved_models=tmp_path / "my$models", name="x")
    assert composed(path)["volumes"][0]["source"] == "../my$$models"


@pytest.mark.parametrize("options", [{}, {"labels": {"stable": 1}, "batching": True}])
def test_the_manifest_is_valid(deployed, options):
    found = documents(deployed(**options))
    assert {kind for kind, _ in found} == {"ConfigMap", "Deployment", "Service"}
    for document in found.values():
        for version in ("1.25", "1.37"):
            kubernetes_validate.validate(document, version, strict=True)


def test_the_parts_of_the_manifest_find_each_other(default):
    found = documents(default)
    deployment, service = found["Deployment", "fashion-mnist"]["spec"], found["Service", "fashion-mnist"]["spec"]
    pod, labels = deployment["template"]["spec"], deployment["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    assert deployment["selector"]["matchLabels"] == labels == service["selector"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    assert {(port["port"], ports[port["targetPort"]]) for port in service["ports"]} == {(8500, 8500), (8501, 8501)}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    read_only = {mount["name"] for mount in container["volumeMounts"] if mount.get("readOnly")}
    assert read_only == {"models", "config", "readiness"}
    for place in ("config", "readiness"):
        data = found["ConfigMap", mounts[f"/{place}"]["configMap"]["name"]]["data"]
        assert data == {file.name: file.read_text() for file in (default / place).iterdir()}
    assert all("=/config/" in argument for argument in container["args"] if "=/" in argument)
    assert mounts["/models"]["persistentVolumeClaim"]["claimName"] == "fashion-mnist-models"


def test_a_pod_is_ready_by_real_requests_and_lives_by_its_port(default):
    pod = template(default)["spec"]
    (container,) = pod["containers"]
    assert container["readinessProbe"]["exec"]["command"] == ["bash", "/readiness/ready.sh"]
    assert container["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    assert container["command"] == ["tensorflow_model_server"]
    # Who waits for an answer has it before the server is told to stop, which it does at once.
    waited = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    (timeout,) = [flag.partition("=")[2] for flag in container["args"] if flag.startswith("--rest_api_timeout_in_ms")]
    assert int(timeout) / 1000 < waited < pod["terminationGracePeriodSeconds"]
    assert pod["shareProcessNamespace"] is True
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "AVAILABLE proves nothing" in (default / "kubernetes.yaml").read_text()


def test_a_changed_configuration_brings_new_pods(deployed):
    def checksum(**options):
        return template(deployed(replace=True, **options))["metadata"]["annotations"]["checksum/config"]

    assert checksum() == checksum()
    assert checksum() != checksum(labels={"stable": 1})


@pytest.mark.parametrize(
    ("name", "expected"), [("Fashion_MNIST.v2", "fashion-mnist-v2"), ("3d", "model-3d"), ("on", "on")]
)
def test_objects_have_names_that_kubernetes_takes(deployed, name, expected):
    found = documents(deployed(name=name))
    assert {kind for kind, found_name in found if found_name == expected} == {"Deployment", "Service"}
    assert f'name: "{name}"' in found["ConfigMap", f"{expected}-config"]["data"]["models.config"]
    for document in found.values():
        kubernetes_validate.validate(document, "1.37", strict=True)


def ready(path, port, seconds=20):
    command = [BASH, str(path / "readiness" / "ready.sh"), str(port), str(seconds)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(BASH is None, reason="there is no bash")
class TestReadiness:
    @pytest.fixture
    def answering(self):
        """A server that answers everything, in the layout of TensorFlow Serving."""
        answer = b'{\n    "predictions": [0.5, 0.5\n    ]\n}'
        with Stub() as server:
            server.canned = dict.fromkeys(("score", "decode", "serve_image_bytes"), answer)
            server.start()
            yield server
            server.stop()

    @pytest.mark.parametrize("keeps_open", [False, True])
    def test_it_is_ready_when_every_signature_has_answered_its_request(self, default, answering, keeps_open):
        answering.keeps_open = keeps_open
        began = time.monotonic()
        result = ready(default, answering.server_port, seconds=30)
        assert time.monotonic() - began < 15  # It does not wait for the connection to close.
        assert (result.returncode, result.stderr) == (0, "")
        assert set(answering.paths("")) == {"/v1/models/fashion_mnist:predict"}
        sent = {body["signature_name"]: body["instances"] for body in map(json.loads, answering.predictions())}
        expected = dict(warmup([1]))
        np.testing.assert_array_equal(sent["score"], expected["score"]["inputs"])
        np.testing.assert_array_equal(np.float32(sent["decode"]), expected["decode"]["embedding"])
        assert [base64.b64decode(row["b64"]) for row in sent["serve_image_bytes"]] == [b"\x89PNG\xff\x00"]

    @pytest.mark.parametrize("failing", ["score", "decode", "serve_image_bytes"])
    def test_it_is_not_ready_when_one_signature_fails(self, default, answering, failing):
        answering.canned[failing] = (500, b'{"error": "Could not find variable"}')
        result = ready(default, answering.server_port)
        assert result.returncode == 1
        assert re.search(f"not ready: {failing}.json got HTTP/1.1 500(.|\n)*Could not find variable", result.stderr)

    def test_it_is_not_ready_when_the_answer_holds_no_predictions(self, default, answering):
        answering.canned["score"] = b'{"model_version_status": [{"state": "AVAILABLE"}]}'
        assert ready(default, answering.server_port).returncode == 1

    @pytest.mark.parametrize("listens", [False, True])
    def test_it_is_not_ready_when_nobody_answers_in_time(self, default, listens):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))  # Nobody else takes the port.
            if listens:
                silent.listen()
            began = time.monotonic()
            assert ready(default, silent.getsockname()[1], seconds=1).returncode == 1
        assert time.monotonic() - began < 15


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_the_probe_tells_a_model_that_answers_from_one_that_is_merely_available(tmp_path):
    model, fitted = built()
    models = tmp_path / "saved_models" / "digits"
    first = export.save(model, models, preprocessing=fitted)
    write(Deployment(saved_models=models), tmp_path / "deploy")
    with LocalServer(models, poll_seconds=0.1) as local:
        result = ready(tmp_path / "deploy", local.rest_port)
        assert (result.returncode, result.stderr) == (0, "")
        staging = models / "staging"
        shutil.copytree(first, staging)
        shutil.rmtree(staging / "variables")
        shutil.rmtree(staging / "assets.extra")  # Without a warm-up, which would have told.
        staging.rename(models / "2")
        tiny_models.until(lambda: 2 in local.models.available()["digits"])
        assert ready(tmp_path / "deploy", local.rest_port).returncode == 1


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (  # The shortest.
            [("score", {"inputs": np.full((rows, 2), value)}) for rows, value in [(2, 1), (1, 10**6), (1, 3)]],
            {"score": [[3, 3]]},
        ),
        (
            [("both", {"a": np.array([1, 2]), "b": np.array([[True], [False]])})],
            {"both": {"a": [1, 2], "b": [[True], [False]]}},
        ),
    ],
)
def test_every_signature_is_asked_with_its_shortest_request(deployed, requests, expected):
    path = deployed(requests=requests, name="fashion_mnist")
    found = [json.loads(file.read_text()) for file in (path / "readiness").glob("*.json")]
    assert {body["signature_name"]: body.get("instances", body.get("inputs")) for body in found} == expected
    for document in documents(path).values():
        kubernetes_validate.validate(document, "1.37", strict=True)


@pytest.mark.parametrize("left_out", [np.ones((1, 2), "float16"), np.ones((1, 200), "float32")])
def test_what_rest_can_not_carry_or_is_too_long_for_kubernetes_is_left_out_and_named(deployed, monkeypatch, left_out):
    monkeypatch.setattr(warmup_requests, "MAX_BYTES", 200)
    other = ("other", {"inputs": left_out})
    path = deployed(requests=[("score", {"inputs": np.ones((1, 2), "float32")}), other])
    assert {name for name in written(path) if name.endswith(".json")} == {"readiness/score.json"}
    for name in ("README.md", "kubernetes.yaml"):
        assert re.search("not ask(ed)?.* other", (path / name).read_text(), re.IGNORECASE), name
    with pytest.raises(ValueError, match=r"a signature with a request of at most 200 bytes .*; received other"):
        deployed(requests=[other], replace=True)


def test_the_readme_has_a_docker_command_in_one_line(models, deployed):
    path = deployed(image="tensorflow/serving:2.19.1")
    text = (path / "README.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("docker run")]
    words = shlex.split(line.replace("$PWD", str(path)))
    assert words[-1] == "tensorflow/serving:2.19.1"
    assert words[words.index("-e") + 1] == "MODEL_NAME=fashion_mnist"
    source, target, mode = words[words.index("-v") + 1].split(":")
    assert (Path(source).resolve(), target, mode) == (models, "/models/fashion_mnist", "ro")
    assert all(f"`{name}`" in text for name in FILES if not name.endswith(".json") and name != "README.md")


def test_a_folder_appears_whole_or_not_at_all(deployed, models, tmp_path, monkeypatch):
    path = deployed()
    before = {name: (path / name).read_text() for name in FILES}
    names = []

    def fail(file, content):
        names.append(file.name)
        if len(names) % 5 == 0:
            raise OSError(28, "No space left on device")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    monkeypatch.setattr(folder, "write_atomically", fail)
    for place in (path, tmp_path / "new"):
        with pytest.raises(ValueError, match=r"path: expected a folder that can be written; received .*No space left"):
            write(Deployment(saved_models=models, batching=True), place, replace=True)
    assert {name: (path / name).read_text() for name in written(path)} == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["deploy"]


def test_the_old_folder_comes_back_if_the_new_one_can_not_take_its_place(deployed, monkeypatch):
    path, rename = deployed(), Path.rename

    def fail(self, target):
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ValueError, match=r"received .*deploy \(Input/output error\)"):
        deployed(replace=True)
    assert written(path) == FILES


def test_a_folder_is_replaced_only_when_asked_for_and_other_files_never(deployed, models, tmp_path):
    path = deployed()
    with pytest.raises(ValueError, match=r"path: expected a folder that is empty or not there yet; .* with --replace"):
        deployed(image="own:1")
    deployed(image="own:1", replace=True)
    assert "own:1" in (path / "kubernetes.yaml").read_text()
    assert written(path) == FILES
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["deploy"]
    (path / "secrets.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"nothing but what was written before; received .* with secrets\.txt"):
        deployed(replace=True)
    assert (path / "secrets.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="path: expected a folder; received the file"):
        write(Deployment(saved_models=models), path / "secrets.txt", replace=True)


def test_a_model_without_warm_up_is_refused(deployed, tmp_path):
    version = tmp_path / "y" / "3"
    version.mkdir(parents=True)
    with pytest.raises(ValueError, match=r"received .*y/3 with none in assets\.extra/tf_serving_warmup_requests\."):
        deployed(saved_models=version.parent)
    (version / "assets.extra").mkdir()
    (version / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"this is no file of records at all")
    with pytest.raises(ValueError, match=r"expected warm-up requests that can be read; received .*corrupted record"):
        deployed(saved_models=version.parent)
    different = [(name, {"inputs": np.ones((rows, 2))}) for name, rows in (("a", 1), ("b", 2))]
    with pytest.raises(ValueError, match=r"the same numbers of rows; received a with \[1\]; b with \[2\]"):
        deployed(requests=different)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": {"stable": 9}}, "labels: expected one of the versions of .*, 1, 2; received stable=9"),
        ({"labels": {"a b": 1}}, "labels: expected letters, digits, .*; received 'a b'"),
        ({"name": "a/b"}, "name: expected letters, digits, .*; received 'a/b'"),
        ({"image": "a b"}, "image: expected a name such as tensorflow/serving:TAG; received 'a b'"),
    ],
)
def test_what_can_not_be_deployed_is_refused(models, arguments, message):
    with pytest.raises(ValueError, match=message):
        Deployment(saved_models=models, **arguments)


def test_the_command_writes_the_folder_with_the_image_that_the_engine_takes(models, tmp_path):
    output = tmp_path / "deploy"
    options = ["--label", "stable=1", "--label", "canary=2", "--batching", "--image", "own:1"]
    assert run("deploy", models, "-o", output, *options).output == f"{output / 'README.md'}\n"
    assert written(output) == FILES
    assert "own:1" in (output / "compose.yaml").read_text()
    assert "labels/stable:predict" in (output / "readiness" / "ready.sh").read_text()
    (image,) = [option for option in deploy.params if option.name == "image"]
    assert image.default == engines.IMAGE == Deployment.image


@pytest.mark.parametrize("label", ["stable", "=1", "stable=one", "stable=²"])
def test_the_command_refuses_a_label_without_version(models, tmp_path, label):
    result = run("deploy", models, "-o", tmp_path / "d", "--label", label, code=2)
    assert "--label: expected LABEL=VERSION, such as stable=1; received" in result.stderr
