"""TensorFlow Serving itself: the command that starts it, from the PATH or as the official Docker image."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from tfae.atomic_write import write_atomically
from tfae.serving.deployment.configs import REST_API_TIMEOUT_IN_MS, check_versions, model_config, monitoring_config
from tfae.serving.model_config import ModelConfig

#: The official image; a tag or digest behind it holds the version of TensorFlow Serving fixed.
IMAGE = "tensorflow/serving"

_EVERY_INTERFACE = ("0.0.0.0", "::")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launch:
    """What a TensorFlow Serving model server shall serve, and where.

    Attributes:
        models: At least one, each with a folder of versions.
        host: Address to be reached at; None where nobody asked for one. Docker then binds 127.0.0.1. The server itself
            has no such option and listens on every interface.
        grpc_port: Port of gRPC, 1 to 65535.
        rest_port: Port of REST, 1 to 65535.
        batching_parameters_file: Text proto of BatchingParameters; requests are batched if it is given.
        metrics: Whether Prometheus finds metrics below the REST port, at /monitoring/prometheus/metrics.
        rest_api_timeout_in_ms: Milliseconds that a REST call may take.
        poll_seconds: Whole seconds between two looks for new versions, 0 for a single look.
        cors: Whether pages of other sites may ask.
        allow_xla: Whether functions compiled by XLA may run on a CPU.
        flags: Further ones of tensorflow_model_server, passed on as they are.

    Raises:
        ValueError: If a server could not be started so.
    """

    models: Sequence[ModelConfig]
    host: str | None = None
    grpc_port: int = 8500
    rest_port: int = 8501
    batching_parameters_file: Path | None = None
    metrics: bool = False
    rest_api_timeout_in_ms: int = REST_API_TIMEOUT_IN_MS
    poll_seconds: float = 1
    cors: bool = False
    allow_xla: bool = False
    flags: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models: expected at least one; received none.")
        for model in self.models:
            check_versions(model)
        for argument in ("grpc_port", "rest_port"):
            if not 1 <= getattr(self, argument) <= 65535:
                raise ValueError(
                    f"{argument}: expected 1 to 65535, since TensorFlow Serving finds no free one by itself; received "
                    f"{getattr(self, argument)}."
                )
        if self.grpc_port == self.rest_port:
            raise ValueError(f"rest_port: expected another port than grpc_port; received {self.rest_port} for both.")
        if self.poll_seconds < 0 or self.poll_seconds != int(self.poll_seconds):
            raise ValueError(
                f"poll_seconds: expected a whole number, as TensorFlow Serving takes it; received {self.poll_seconds}."
            )
        file = self.batching_parameters_file
        if file is not None and not file.is_file():
            raise ValueError(
                f"batching_parameters_file: expected a file, such as `tfae deploy` writes; received {file}."
            )


def tensorflow_model_server(launch: Launch) -> list[str]:
    """The command of the `tensorflow_model_server` on the PATH, which can not be bound to one address.

    What it has no flags for, such as labels, is written to configurations in the folder of temporary files.
    """
    if launch.host is None:
        warnings.warn(
            "tensorflow_model_server listens on every interface of this machine. Have a firewall in front of it, or "
            "take --engine docker, which binds 127.0.0.1.",
            stacklevel=2,
        )
    elif launch.host not in _EVERY_INTERFACE:
        raise ValueError(
            f"host: expected 0.0.0.0, since tensorflow_model_server can but listen on every interface; received "
            f"{launch.host}. Take --engine docker to bind one address."
        )
    models = [dataclasses.replace(model, base_path=model.base_path.absolute()) for model in launch.models]
    ports = [f"--port={launch.grpc_port}", f"--rest_api_port={launch.rest_port}"]
    return ["tensorflow_model_server", *ports, *_flags(launch, models=models, placed=str)]


def docker(launch: Launch, *, image: str = IMAGE) -> list[str]:
    """The command that runs the official Docker image, with the models mounted read-only.

    The server is started without the image's entry point, a shell that passes no signals on, and under Docker's small
    init, since as process 1 it would ignore them.
    """
    inside = [dataclasses.replace(model, base_path=Path("/models", model.name)) for model in launch.models]
    mounts = [_mount(model.base_path, f"/models/{model.name}") for model in launch.models]

    def placed(file: Path) -> str:
        mounts.append(_mount(file, f"/config/{file.name}"))
        return f"/config/{file.name}"

    flags = _flags(launch, models=inside, placed=placed)
    host = launch.host or "127.0.0.1"
    address = f"[{host}]" if ":" in host else host
    ports = ((launch.grpc_port, 8500), (launch.rest_port, 8501))
    published = [f"--publish={address}:{port}:{inner}" for port, inner in ports]
    program = ["--entrypoint=tensorflow_model_server", image, "--port=8500", "--rest_api_port=8501"]
    return ["docker", "run", "--rm", "--init", *published, *mounts, *program, *flags]


def text(command: Sequence[str]) -> str:
    """The command as a shell takes it."""
    return shlex.join(command)


def run(command: Sequence[str]) -> NoReturn:
    """Become that command, if it is on the PATH: signals reach it, and its exit code is ours."""
    program = shutil.which(command[0])
    if program is None:
        raise ValueError(
            f"engine: expected {command[0]} on the PATH; found none. {_REMEDIES[command[0]]}, or leave --engine out "
            "for tfae's local server. --print shows the command."
        )
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":  # There, exec would return to the shell while the server goes on in the background.
        sys.exit(subprocess.run([program, *command[1:]]).returncode)
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and what is ignored stays so in the new program.
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execv(program, [*command])


_REMEDIES = {
    "tensorflow_model_server": (
        "Install TensorFlow Serving (the Debian package tensorflow-model-server), take --engine docker"
    ),
    "docker": "Install Docker, take --engine tensorflow-serving if TensorFlow Serving is installed",
}


def _flags(launch: Launch, *, models: Sequence[ModelConfig], placed: Callable[[Path], str]) -> list[str]:
    """Flags that say what is served, from folders where the server sees them; ``placed`` says where it sees a file."""
    if len(models) == 1 and models[0] == ModelConfig(models[0].name, models[0].base_path):
        flags = [f"--model_name={models[0].name}", f"--model_base_path={models[0].base_path.as_posix()}"]
    else:
        flags = [f"--model_config_file={placed(_written('models.config', model_config(models)))}"]
    if any(model.labels for model in models):
        # Without it, the server does not start: no version is loaded yet when it reads the labels.
        flags.append("--allow_version_labels_for_unavailable_models=true")
    if launch.batching_parameters_file is not None:
        file = placed(launch.batching_parameters_file.absolute())
        flags += ["--enable_batching=true", f"--batching_parameters_file={file}"]
    if launch.metrics:
        flags.append(f"--monitoring_config_file={placed(_written('monitoring.config', monitoring_config()))}")
    if launch.cors:
        flags.append("--rest_api_enable_cors_support=true")
    if launch.allow_xla:
        flags.append("--xla_cpu_compilation_enabled=true")
    if launch.poll_seconds != 1:  # Its default.
        flags.append(f"--file_system_poll_wait_seconds={int(launch.poll_seconds)}")
    return [*flags, f"--rest_api_timeout_in_ms={launch.rest_api_timeout_in_ms}", *launch.flags]


def _written(name: str, content: str) -> Path:
    """A temporary file with that content, under a name that the content decides: a command that was shown works."""
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir(), f"tfae-{digest}-{name}")
    write_atomically(path, content)
    path.chmod(0o644)
    return path


def _mount(source: Path, target: str) -> str:
    """Docker's option for a read-only bind mount: a record of CSV, in which paths with commas are quoted."""
    record = io.StringIO()
    fields = ["type=bind", f"source={source.absolute()}", f"target={target}", "readonly"]
    csv.writer(record, lineterminator="").writerow(fields)
    return f"--mount={record.getvalue()}"
