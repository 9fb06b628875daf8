"""The local server keeps TensorFlow Serving's interface: the exchanges recorded from a real server, asked again.

Held are status, code and parsed values; the words of errors, the layout of JSON and the order of keys are not.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.vectors import exchanges
from tests.vectors.models import write_models
from tfae.serving.local.server import LocalServer
from tfae.serving.status import StatusError

SETS = json.loads((exchanges.FOLDER / "servers.json").read_text(encoding="utf-8"))
#: What a server refuses, or never answers, because it batches. The local server does not batch.
OF_BATCHING = {
    "batching_too_many_rows",
    "batching_uneven_inputs",
    "batching_scalar_in",
    "grpc_batching_too_many_rows",
    "grpc_batching_zero_rows",
}
Start = Callable[[str], LocalServer]


def parameters(name: str) -> list:
    """The exchanges of a file, each under its own id."""
    records = (record for record in exchanges.read(name) if record["id"] not in OF_BATCHING)
    return [pytest.param(record, id=record["id"]) for record in records]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts the server of a set, once."""
    folder = tmp_path_factory.mktemp("vectors")
    models = folder / "models"
    models.mkdir()
    write_models(models)
    servers: dict[str, LocalServer] = {}
    with contextlib.ExitStack() as stack:

        def start_once(name: str) -> LocalServer:
            if name not in servers:
                servers[name] = _server(name, models, folder / name)
                servers[name].start(timeout=60)
                stack.callback(servers[name].stop, 1)
                if "config_after_start" in SETS[name]:
                    _write(folder / name / "models.config", SETS[name]["config_after_start"], models)
                    _wait_until_settled(servers[name], "pitfalls", range(1, 9))
            return servers[name]

        yield start_once


def _server(name: str, models: Path, folder: Path) -> LocalServer:
    """The server of a set, with files for its settings in ``folder``."""
    folder.mkdir()
    config = models / "autoencoder"
    if "config" in SETS[name]:
        config = folder / "models.config"
        _write(config, SETS[name]["config"], models)
    return LocalServer(config, poll_seconds=0.1, allow_xla="--xla_cpu_compilation_enabled=true" in SETS[name]["flags"])


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


def test_the_exchanges_of_batching_are_recorded_ones():
    recorded = {record["id"] for name in ("rest", "grpc") for record in exchanges.read(name)}
    assert recorded >= OF_BATCHING
