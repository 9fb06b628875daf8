"""The commands that start TensorFlow Serving. The programs themselves are stood in for by scripts on a PATH."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.tiny_models import until
from tfae.serving import engines
from tfae.serving.model_config import make_config, read_models

EVERY_INTERFACE = "0.0.0.0"
MODEL_SERVER = "tensorflow_model_server"

posix = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")


@pytest.fixture(autouse=True)
def temporary_files(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def digits(tmp_path):
    """A model with versions 1 and 12, a folder beside them that is none, and a path that a shell would change."""
    for name in ("1", "12", ".staging-x"):
        (tmp_path / "my $models" / "digits" / name).mkdir(parents=True)
    return make_config("digits", tmp_path / "my $models" / "digits")


@pytest.fixture
def stub(tmp_path):
    """Puts a script in the place of a program; returns the environment whose PATH finds it first."""

    def put(program, script):
        path = tmp_path / "bin" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
        return {**os.environ, "PATH": f"{path.parent}{os.pathsep}{os.environ['PATH']}"}

    return put


def start(command, **options):
    """Run a command as `tfae serve` does, in a process of its own."""
    # A shell has what it puts into the background ignore SIGINT, the tests for instance.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        f"from tfae.serving import engines; print('starting'); engines.run({command!r})"
    )
    return subprocess.Popen([sys.executable, "-c", code], text=True, **options)


def native(*models, **options):
    return engines.build_native_command(engines.Launch(models=models, host=EVERY_INTERFACE, **options))


def docker(*models, **options):
    return engines.build_docker_command(engines.Launch(models=models, **options))


def flag(command, name):
    """Value of the only flag of that name."""
    (value,) = [argument.partition("=")[2] for argument in command if argument.startswith(f"--{name}=")]
    return value


def test_one_model_is_served_by_flags(digits):
    assert native(digits, grpc_port=9500, rest_port=9501) == [
        "tensorflow_model_server",
        "--port=9500",
        "--rest_api_port=9501",
        "--model_name=digits",
        f"--model_base_path={digits.base_path}",
        "--rest_api_timeout_in_ms=30000",
    ]


def test_docker_binds_this_machine_alone_and_mounts_the_model_read_only(digits):
    assert docker(digits, grpc_port=9500, rest_port=9501) == [
        *["docker", "run", "--rm", "--init"],
        "--publish=127.0.0.1:9500:8500",
        "--publish=127.0.0.1:9501:8501",
        f"--mount=type=bind,source={digits.base_path},target=/models/digits,readonly",
        "--entrypoint=tensorflow_model_server",
        "tensorflow/serving",
        "--port=8500",
        "--rest_api_port=8501",
        "--model_name=digits",
        "--model_base_path=/models/digits",
        "--rest_api_timeout_in_ms=30000",
    ]


def test_the_path_of_a_model_is_absolute(digits, monkeypatch):
    monkeypatch.chdir(Path(digits.base_path).parent)
    relative = make_config("digits", Path("digits"))
    assert flag(native(relative), "model_base_path") == str(digits.base_path)
    assert f"source={digits.base_path}," in flag(docker(relative), "mount")


def test_docker_takes_address_and_image(digits):
    launch = engines.Launch(models=[digits], host="::1")
    command = engines.build_docker_command(launch, image="tensorflow/serving:2.19.1")
    assert "--publish=[::1]:8501:8501" in command
    assert "tensorflow/serving:2.19.1" in command


def test_what_has_no_flag_becomes_a_model_config(digits):
    command = native(make_config("digits", Path(digits.base_path), {"stable": 1, "canary": 12}))
    assert flag(command, "allow_version_labels_for_unavailable_models") == "true"
    assert not [argument for argument in command if argument.startswith(("--model_name", "--model_base_path"))]
    (entry,) = read_models(flag(command, "model_config_file"))
    assert (entry.name, entry.base_path, entry.model_platform) == ("digits", str(digits.base_path), "tensorflow")
    assert dict(entry.version_labels) == {"stable": 1, "canary": 12}
    assert list(entry.model_version_policy.specific.versions) == [1, 12]


def test_docker_finds_every_model_of_the_config_where_it_is_mounted(digits, tmp_path):
    (tmp_path / "elsewhere" / "7").mkdir(parents=True)
    other = make_config("other", tmp_path / "elsewhere")
    other.model_version_policy.all.SetInParent()
    command = docker(digits, other)
    mounts = dict(
        argument.removeprefix("--mount=type=bind,source=").removesuffix(",readonly").split(",target=")[::-1]
        for argument in command
        if argument.startswith("--mount=")
    )
    found = read_models(mounts[flag(command, "model_config_file")])
    assert [(entry.name, mounts[entry.base_path]) for entry in found] == [
        ("digits", str(digits.base_path)),
        ("other", str(tmp_path / "elsewhere")),
    ]
    assert [entry.model_version_policy.WhichOneof("policy_choice") for entry in found] == ["latest", "all"]
    assert not [argument for argument in command if "allow_version_labels" in argument]


def test_what_the_local_server_can_be_told_is_told_in_the_flags_of_the_real_one(digits, tmp_path):
    file = tmp_path / "batching.config"
    file.touch()
    options = {"batching_parameters_file": file, "metrics": True, "poll_seconds": 0}
    options |= {"cors": True, "allow_xla": True, "flags": ["--max_num_load_retries=0"]}
    command, inside = native(digits, **options), docker(digits, **options)
    for each in (command, inside):
        assert flag(each, "enable_batching") == "true"
        assert flag(each, "file_system_poll_wait_seconds") == "0"
        assert flag(each, "rest_api_enable_cors_support") == "true"
        assert flag(each, "xla_cpu_compilation_enabled") == "true"
        assert each[-1] == "--max_num_load_retries=0"
    assert flag(command, "batching_parameters_file") == str(file)
    assert "enable: true" in Path(flag(command, "monitoring_config_file")).read_text()
    assert flag(inside, "batching_parameters_file") == "/config/batching.config"
    assert f"--mount=type=bind,source={file},target=/config/batching.config,readonly" in inside
    assert flag(inside, "monitoring_config_file").startswith("/config/")


def test_the_server_listens_everywhere_and_says_so_and_refuses_another_address(digits):
    with pytest.warns(UserWarning, match="listens on every interface of this machine"):
        engines.build_native_command(engines.Launch(models=[digits]))
    with pytest.raises(ValueError, match=r"expected 0\.0\.0\.0, .*; received 127\.0\.0\.1\. Take --engine docker"):
        engines.build_native_command(engines.Launch(models=[digits], host="127.0.0.1"))


def test_a_folder_without_versions_or_a_label_of_none_is_refused(digits, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        with pytest.raises(ValueError, match=rf"models: expected a folder of versions, .*; received .*{name}"):
            engines.Launch(models=[make_config("x", tmp_path / name)])
    with pytest.raises(ValueError, match=r"models: expected at least one; received none"):
        engines.Launch(models=[])
    with pytest.raises(ValueError, match=r"labels: expected one of the versions of .*, 1, 12; received stable=2"):
        engines.Launch(models=[make_config("digits", Path(digits.base_path), {"stable": 2})])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"grpc_port": 0}, "grpc_port: expected a number from 1 to 65535; received 0"),
        ({"rest_port": 65536}, "rest_port: expected a number from 1 to 65535; received 65536"),
        ({"grpc_port": 8501}, "rest_port: expected another port than grpc_port; received 8501 for both"),
        ({"poll_seconds": 0.5}, r"poll_seconds: expected a whole number, .*; received 0\.5"),
        ({"poll_seconds": -1}, "poll_seconds: expected a whole number, .*; received -1"),
    ],
)
def test_what_can_not_be_started_is_refused(digits, arguments, message):
    with pytest.raises(ValueError, match=message):
        engines.Launch(models=[digits], **arguments)


@posix
@pytest.mark.parametrize(("engine", "program"), [("tensorflow-serving", MODEL_SERVER), ("docker", "docker")])
def test_tfae_serve_runs_the_command_that_it_prints(digits, stub, tmp_path, engine, program):
    record = tmp_path / "arguments"
    environment = stub(program, f"printf '%s\\n' {program} \"$@\" > {record}; exit 3")
    options = [str(digits.base_path), "--engine", engine, "--host", EVERY_INTERFACE, "--label", "stable=1", "--metrics"]
    options += ["--port", "9001", "--cors", "--xla", "--poll-seconds", "5", "--flag=--rest_api_num_threads=4"]
    command = [sys.executable, "-c", "from tfae.cli.serve import serve; serve()", *options]
    environment["TMPDIR"] = str(tmp_path / "temporary")
    printed = subprocess.run([*command, "--print"], env=environment, capture_output=True, text=True, timeout=120)
    assert (printed.returncode, printed.stderr) == (0, "")
    expected = ["9001", "--rest_api_enable_cors_support=true", "--xla_cpu_compilation_enabled=true"]
    expected += ["--file_system_poll_wait_seconds=5", "--monitoring_config_file=", "--rest_api_num_threads=4"]
    assert [part for part in expected if part not in printed.stdout] == []
    assert not record.exists()
    assert subprocess.run(command, env=environment, timeout=120).returncode == 3
    shown = ["sh", "-c", f"printf '%s\\n' {printed.stdout}"]
    assert record.read_text() == subprocess.run(shown, capture_output=True, text=True).stdout


@posix
@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_server(stub, tmp_path, order):
    script = f"trap 'exit 7' {order.name[3:]}; echo $$ > {tmp_path}/pid; while :; do sleep 0.05; done"
    process = start(["docker", "run"], env=stub("docker", script), stdout=subprocess.DEVNULL)
    try:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
        assert int((tmp_path / "pid").read_text()) == process.pid  # The server in our place, not a child of ours.
        process.send_signal(order)
        assert process.wait(timeout=60) == 7
    finally:
        process.kill()
        process.wait()


@posix
def test_the_server_does_not_inherit_that_python_ignores_broken_pipes(stub):
    environment = stub("docker", "yes | head -n 1 > /dev/null")
    process = start(["docker"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    # What was printed before is not lost, and not: "yes: standard output: Broken pipe".
    assert process.communicate(timeout=60) == ("starting\n", "")


@pytest.mark.parametrize(("program", "remedy"), [(MODEL_SERVER, "TensorFlow Serving"), ("docker", "Docker")])
def test_a_program_that_is_missing_is_named_with_the_remedy(program, remedy, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match=f"engine: expected {program} on the PATH; found none. Install {remedy}"):
        engines.run([program, "--port=1"])
