"""TensorFlow Serving's flags and configurations, and the command that starts it: from the PATH, or in Docker."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import NoReturn

from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelConfigList, ModelServerConfig

from tfae.atomic_write import write_atomically
from tfae.serving.model_config import make_config, validate_ports, validate_versions

_REMEDIES = {
    "tensorflow_model_server": (
        "Install TensorFlow Serving (the Debian package tensorflow-model-server), take --engine docker"
    ),
    "docker": "Install Docker, take --engine tensorflow-serving if TensorFlow Serving is installed",
}
#: The official image; a tag or digest behind it pins the version of TensorFlow Serving.
IMAGE = "tensorflow/serving"
#: Path of the metrics for Prometheus, at the REST port.
METRICS_PATH = "/monitoring/prometheus/metrics"
#: A MonitoringConfig with metrics for Prometheus at the REST port.
MONITORING_CONFIG = f"""\
prometheus_config {{
  enable: true
  path: "{METRICS_PATH}"
}}
"""
#: Milliseconds that a REST call may take, TensorFlow Serving's own default.
REST_API_TIMEOUT_IN_MS = 30_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launch:
    """The settings of a TensorFlow Serving model server, as of ``tfae serve``.

    Attributes:
        models: At least one, each with a version in its folder.
        host: Address to listen at. None is 127.0.0.1 for Docker; the server itself listens on every interface.
        rest_port, grpc_port: 1 to 65535: TensorFlow Serving chooses no free one.
        batching_parameters_file: Text proto of BatchingParameters, which turns batching on.
        poll_seconds: Whole seconds between two polls for new versions, 0 for a single one.
        flags: Further flags of tensorflow_model_server.
    """

    models: Sequence[ModelConfig]
    host: str | None = None
    grpc_port: int = 8500
    rest_port: int = 8501
    batching_parameters_file: Path | None = None
    metrics: bool = False
    poll_seconds: float = 1
    cors: bool = False
    allow_xla: bool = False
    flags: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models: expected at least one; received none.")
        for model in self.models:
            validate_versions(model)
        validate_ports(rest_port=self.rest_port, grpc_port=self.grpc_port, least=1)
        if self.poll_seconds < 0 or self.poll_seconds != int(self.poll_seconds):
            raise ValueError(
                f"poll_seconds: expected a whole number, as TensorFlow Serving takes it; received {self.poll_seconds}."
            )


def build_flags(models: Iterable[ModelConfig], files: Mapping[str, str]) -> list[str]:
    """Return flags of tensorflow_model_server for configurations, each a path on the server by the name of its flag."""
    flags = [f"--rest_api_timeout_in_ms={REST_API_TIMEOUT_IN_MS}"]
    flags += [f"--{name}={path}" for name, path in files.items()]
    if any(model.version_labels for model in models):
        # The server reads the labels before it has loaded a version, and would not start.
        flags.append("--allow_version_labels_for_unavailable_models=true")
    if "batching_parameters_file" in files:
        flags.append("--enable_batching=true")
    return flags


def render_model_config(models: Iterable[ModelConfig]) -> str:
    """Return a ModelServerConfig; each ``base_path`` is a path on the server."""
    return text_format.MessageToString(ModelServerConfig(model_config_list=ModelConfigList(config=models)))


def build_native_command(launch: Launch) -> list[str]:
    """Return the command of `tensorflow_model_server` on the PATH, which listens on every interface."""
    if launch.host is None:
        warnings.warn(
            "tensorflow_model_server listens on every interface of this machine. Have a firewall in front of it, or "
            "take --engine docker, which binds 127.0.0.1.",
            stacklevel=2,
        )
    elif launch.host not in ("0.0.0.0", "::"):
        raise ValueError(
            f"host: expected 0.0.0.0, since tensorflow_model_server can but listen on every interface; received "
            f"{launch.host}. Take --engine docker to bind one address."
        )
    models = [_at(model, Path(model.base_path).absolute()) for model in launch.models]
    ports = [f"--port={launch.grpc_port}", f"--rest_api_port={launch.rest_port}"]
    return ["tensorflow_model_server", *ports, *_build_flags(launch, models=models, place=str)]


def build_docker_command(launch: Launch, *, image: str = IMAGE) -> list[str]:
    """Return the command of the official Docker image, with the models mounted read-only.

    It replaces the image's entry point, a shell that passes no signals on, and adds Docker's init, since the server
    ignores signals as process 1.
    """
    inside = [_at(model, PurePosixPath("/models", model.name)) for model in launch.models]
    mounts = [_build_mount(Path(model.base_path), f"/models/{model.name}") for model in launch.models]

    def place(file: Path) -> str:
        mounts.append(_build_mount(file, f"/config/{file.name}"))
        return f"/config/{file.name}"

    flags = _build_flags(launch, models=inside, place=place)
    host = launch.host or "127.0.0.1"
    address = f"[{host}]" if ":" in host else host
    published = [f"--publish={address}:{launch.grpc_port}:8500", f"--publish={address}:{launch.rest_port}:8501"]
    program = ["--entrypoint=tensorflow_model_server", image, "--port=8500", "--rest_api_port=8501"]
    return ["docker", "run", "--rm", "--init", *published, *mounts, *program, *flags]


def run(command: Sequence[str]) -> NoReturn:
    """Replace this process with a command on the PATH, which receives signals and sets the exit code."""
    program = shutil.which(command[0])
    if program is None:
        raise ValueError(
            f"engine: expected {command[0]} on the PATH; found none. {_REMEDIES[command[0]]}, or leave --engine out "
            "for tfae's local server. --print shows the command."
        )
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":  # exec would return to the shell while the server goes on.
        sys.exit(subprocess.run([program, *command[1:]]).returncode)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and the new program would too.
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execv(program, [*command])


def _build_flags(launch: Launch, *, models: list[ModelConfig], place: Callable[[Path], str]) -> list[str]:
    """Return flags for models in folders of the server; ``place`` returns the path of a file on the server."""
    flags, files = [], {}
    if models == [make_config(models[0].name, Path(models[0].base_path))]:
        flags = [f"--model_name={models[0].name}", f"--model_base_path={models[0].base_path}"]
    else:
        files["model_config_file"] = place(_write_temporary("models.config", render_model_config(models)))
    if launch.metrics:
        files["monitoring_config_file"] = place(_write_temporary("monitoring.config", MONITORING_CONFIG))
    if launch.batching_parameters_file is not None:
        files["batching_parameters_file"] = place(launch.batching_parameters_file.absolute())
    flags += build_flags(models, files)
    switches = {"rest_api_enable_cors_support": launch.cors, "xla_cpu_compilation_enabled": launch.allow_xla}
    flags += [f"--{name}=true" for name, is_on in switches.items() if is_on]
    if launch.poll_seconds != 1:  # The default.
        flags.append(f"--file_system_poll_wait_seconds={int(launch.poll_seconds)}")
    return [*flags, *launch.flags]


def _at(model: ModelConfig, base_path: PurePath) -> ModelConfig:
    moved = ModelConfig()
    moved.CopyFrom(model)
    moved.base_path = base_path.as_posix()
    return moved


def _write_temporary(name: str, content: str) -> Path:
    """Write a temporary file, named by its content, so that a printed command works later."""
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir(), f"tfae-{digest}-{name}")
    write_atomically(path, content)
    path.chmod(0o644)
    return path


def _build_mount(source: Path, target: str) -> str:
    return f"--mount=type=bind,source={source.absolute()},target={target},readonly"
