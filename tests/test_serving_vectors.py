"""The local server answers what a real TensorFlow Serving model server answered, exchange for exchange."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import grpc
import pytest

from tests.vectors import exchanges
from tests.vectors.models import write_models
from tfae.serving.local.batching_parameters import read_batching_parameters_file
from tfae.serving.local.server import LocalServer
from tfae.serving.status import StatusError

#: Exchanges that the local server answers otherwise, and why; told in docs/serving.md.
DIFFERENCES = {
    "grpc_batching_zero_rows": "a request without rows is answered at once, where the real server may never answer it",
}
#: Release of TensorFlow whose kernels wrote the errors.
RECORDED_WITH = "2.21"
SETS = json.loads((exchanges.FOLDER / "servers.json").read_text(encoding="utf-8"))
Start = Callable[[str], LocalServer]


def parameters(name: str) -> list:
    """The exchanges of a file, each under its own id."""
    return [pytest.param(record, id=record["id"], marks=marks(record)) for record in exchanges.read(name)]


def marks(record: exchanges.Record) -> list[pytest.MarkDecorator]:
    """What is known of an exchange beforehand."""
    if record["id"] in DIFFERENCES:
        return [pytest.mark.xfail(reason=DIFFERENCES[record["id"]], strict=True)]
    if "kernel_error" in record["tags"]:
        other = not version("tensorflow").startswith(f"{RECORDED_WITH}.")
        return [pytest.mark.skipif(other, reason="the text is that of a kernel, and of another release of TensorFlow")]
    return []


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts the server of a set, once."""
    folder = tmp_path_factory.mktemp("vectors")
    models = folder / "models"
    models.mkdir()
    write_models(models)
    servers: dict[str, LocalServer] = {}
    with contextlib.ExitStack() as stack:

        def started(name: str) -> LocalServer:
            if name not in servers:
                servers[name] = _server(name, models, folder / name)
                servers[name].start(timeout=60)
                stack.callback(servers[name].stop, 1)
                if "config_after_start" in SETS[name]:
                    _write(folder / name / "models.config", SETS[name]["config_after_start"], models)
                    _wait_until_settled(servers[name], "pitfalls", range(1, 9))
            return servers[name]

        yield started


def _server(name: str, models: Path, folder: Path) -> LocalServer:
    """The server of a set, with files for its settings in ``folder``."""
    folder.mkdir()
    flags = " ".join(SETS[name]["flags"])
    config = models / "autoencoder"
    if "config" in SETS[name]:
        config = folder / "models.config"
        _write(config, SETS[name]["config"], models)
    batching = None
    if "batching" in SETS[name]:
        _write(folder / "batching.config", SETS[name]["batching"], models)
        batching = read_batching_parameters_file(folder / "batching.config")
    return LocalServer(
        config,
        poll_seconds=0.1,
        batching=batching,
        cors="--rest_api_enable_cors_support=true" in flags,
        allow_xla="--xla_cpu_compilation_enabled=true" in flags,
    )


def _write(file: Path, lines: list[str], models: Path) -> None:
    partial = file.with_suffix(".partial")
    partial.write_text("\n".join(lines).replace("{MODELS}", str(models)), encoding="utf-8")
    partial.replace(file)


def _wait_until_settled(server: LocalServer, model: str, versions: range) -> None:
    """Wait until each version is there, or has failed."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(StatusError):
            if all(server.models.status(model, version)[0].state in ("AVAILABLE", "END") for version in versions):
                return
        time.sleep(0.05)
    pytest.fail("the versions of the second config did not settle within 30 s")


@pytest.mark.parametrize("record", parameters("rest"))
def test_rest_answers_as_it_was_recorded(record: exchanges.Record, start: Start):
    answer = exchanges.rest_answer(record, start(record["set"]).rest_port)
    assert answer == exchanges.recorded_rest_answer(record), record["shows"]


@pytest.mark.parametrize("record", parameters("grpc"))
def test_grpc_answers_as_it_was_recorded(record: exchanges.Record, start: Start):
    with grpc.insecure_channel(f"127.0.0.1:{start(record['set']).grpc_port}") as channel:
        answer = exchanges.grpc_answer(record, channel)
    assert answer == exchanges.recorded_grpc_answer(record), record["shows"]


def test_every_difference_is_that_of_a_recorded_exchange():
    recorded = {record["id"] for name in ("rest", "grpc") for record in exchanges.read(name)}
    assert set(DIFFERENCES) <= recorded
