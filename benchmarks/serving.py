"""Whether served scores are those of the notebook, and at what price: ``python -m benchmarks.serving``.

Four parts, each with the server of ``tfae serve`` in a process of its own:

- *same numbers*: a thousand test images through Keras, the loaded export, REST and gRPC; the greatest difference;
- *load*: eight connections, half REST and half gRPC, for a minute in which twenty versions with other weights are
  published. Each answer has to be the one of a version that was there, and none may come back to an older one;
- *latency*: requests per second and percentiles of one connection and of eight, for batches of 1 and 32, beside the
  bare call of the signature in this process, all in turns;
- *bulk*: scoring ten thousand images with the export, beside ``model.predict`` at its default batch size, in turns.

fashion_mnist comes from the original files in ``$TFAE_DATA_DIR``, or from where TFDS has it; without it, the digits do.
"""

import argparse
import contextlib
import functools
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.schedule import load

CONNECTIONS = 8


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(directory: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """``tfae serve`` on free ports; its process id and its addresses by protocol."""
    ports = {"http": free_port(), "grpc": free_port()}
    command = [sys.executable, "-m", "tfae", "serve", str(directory), "--poll-seconds", "0.5"]
    command += ["--rest-port", str(ports["http"]), "--grpc-port", str(ports["grpc"])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    addresses = {protocol: f"{protocol}://127.0.0.1:{port}" for protocol, port in ports.items()}
    try:
        for address in addresses.values():
            with client(address, directory) as waiting:
                waiting.wait_until_ready(timeout=120)
        yield process.pid, addresses
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def client(address: str, directory: Path) -> Any:
    from tfae.serving import Client

    return Client(address, model=directory.name)


def trained(data: Any) -> Any:
    from tfae import losses, models, training

    loss = losses.SquaredError()
    autoencoder = models.dense(data.shape, latent_dim=16, output_activation=loss.output_activation(data.output_range))
    training.compile(autoencoder, loss, data, epochs=1)
    autoencoder.fit(data.train, epochs=1, verbose=0, shuffle=False)
    return autoencoder


def scores_of_keras(autoencoder: Any, data: Any, samples: np.ndarray) -> np.ndarray:
    x = data.preprocessing(samples)
    return autoencoder.loss.per_sample(x, autoencoder(x, training=False)).numpy()


def same_numbers(autoencoder: Any, data: Any, directory: Path, samples: np.ndarray) -> dict[str, float]:
    """The greatest relative difference to the Keras model's scores."""
    from tfae import export

    expected = scores_of_keras(autoencoder, data, samples)
    found = {"export.load": export.load(directory).score(samples)}
    with served(directory) as (_, addresses):
        for protocol, address in addresses.items():
            with client(address, directory) as connection:
                found[protocol] = connection.score(samples)
    return {name: float(np.max(np.abs(scores / expected - 1))) for name, scores in found.items()}


def resident_mb(pid: int) -> float | None:
    """Memory of a process, where the system says it."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


class Caller(threading.Thread):
    """Asks for the same scores until it is told to stop, and notes every answer that no published version gives."""

    def __init__(self, address: str, directory: Path, samples: np.ndarray, published: list[np.ndarray]) -> None:
        super().__init__(daemon=True)
        self.connection = client(address, directory)
        self.samples, self.published = samples, published
        self.stopping = threading.Event()
        self.num_answers = self.newest = 0
        self.failures: list[str] = []

    def run(self) -> None:
        with self.connection as connection:
            while not self.stopping.is_set():
                try:
                    scores = connection.score(self.samples)
                except Exception as error:  # Whatever it is, it is a failed request.
                    self.failures.append(f"{type(error).__name__}: {error}")
                    continue
                self.num_answers += 1
                matches = [i for i, known in enumerate(self.published) if np.allclose(scores, known, rtol=1e-5)]
                if not matches or matches[-1] < self.newest:
                    self.failures.append(f"a wrong answer, of {matches or 'no version'} after {self.newest}")
                else:
                    self.newest = matches[-1]


def under_load(autoencoder: Any, data: Any, directory: Path, *, seconds: float, num_versions: int) -> dict[str, Any]:
    """What eight connections got while versions were published."""
    from tfae import export

    samples = data.raw.test[:4]
    weights = autoencoder.get_weights()
    published = [scores_of_keras(autoencoder, data, samples)]
    with served(directory) as (pid, addresses):
        callers = [
            Caller(address, directory, samples, published)
            for address in itertools.islice(itertools.cycle(addresses.values()), CONNECTIONS)
        ]
        memory = [resident_mb(pid)]
        start = time.monotonic()
        for caller in callers:
            caller.start()
        for version in range(1, num_versions + 1):
            autoencoder.set_weights([weight * (1 + 0.02 * version) for weight in weights])
            published.append(scores_of_keras(autoencoder, data, samples))  # Known before it can be served.
            export.save(autoencoder, directory, preprocessing=data.preprocessing)
            time.sleep(max(0.0, start + seconds * version / num_versions - time.monotonic()))
            memory.append(resident_mb(pid))
        deadline = time.monotonic() + 30  # The last version has yet to be loaded.
        while min(caller.newest for caller in callers) < num_versions and time.monotonic() < deadline:
            time.sleep(0.1)
        for caller in callers:
            caller.stopping.set()
        for caller in callers:
            caller.join(timeout=60)
        elapsed = time.monotonic() - start
    autoencoder.set_weights(weights)
    failures = [failure for caller in callers for failure in caller.failures]
    return {
        "seconds": elapsed,
        "versions": num_versions,
        "answers": sum(caller.num_answers for caller in callers),
        "newest_seen": min(caller.newest for caller in callers),
        "failures": len(failures),
        "first_failures": failures[:5],
        "memory_mb": memory,
    }


def timed(call: Callable[[], Any], seconds: float) -> list[float]:
    """Milliseconds of each call."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def timed_by_eight(calls: list[Callable[[], Any]], seconds: float) -> list[float]:
    """The same by as many threads as there are calls."""
    times: list[list[float]] = [[] for _ in calls]

    def note(index: int) -> None:
        times[index] = timed(calls[index], seconds)

    threads = [threading.Thread(target=note, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(itertools.chain.from_iterable(times))


def latencies(data: Any, directory: Path, *, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Of one connection and of eight, for each protocol and batch size, beside the bare call."""
    from tfae import export

    loaded = export.load(directory)
    measured: dict[tuple[str, int, int], list[float]] = {}
    with served(directory) as (_, addresses), contextlib.ExitStack() as stack:
        connections = {
            protocol: [stack.enter_context(client(address, directory)) for _ in range(CONNECTIONS)]
            for protocol, address in addresses.items()
        }
        for _, batch_size in itertools.product(range(rounds), (1, 32)):
            samples = data.raw.test[:batch_size]
            scorers: dict[str, list[Callable[[], Any]]] = {
                "in process": [functools.partial(loaded.score, samples)] * CONNECTIONS
            }
            for protocol, opened in connections.items():
                scorers[protocol] = [functools.partial(connection.score, samples) for connection in opened]
            for name, calls in scorers.items():
                for call in calls:
                    call()  # The first call fetches the metadata.
                measured.setdefault((name, batch_size, 1), []).extend(timed(calls[0], seconds))
                measured.setdefault((name, batch_size, CONNECTIONS), []).extend(timed_by_eight(calls, seconds))
    return [
        {
            "protocol": protocol,
            "batch_size": batch_size,
            "connections": num_connections,
            "requests_per_second": len(times) / (seconds * rounds),
            "p50_ms": float(np.quantile(times, 0.5)),
            "p99_ms": float(np.quantile(times, 0.99)),
        }
        for (protocol, batch_size, num_connections), times in sorted(measured.items())
    ]


def bulk(autoencoder: Any, data: Any, directory: Path, *, num_samples: int, rounds: int) -> dict[str, list[float]]:
    """Seconds to score many samples with the export, and to predict them with Keras as it comes."""
    import keras

    from tfae import export

    samples = np.resize(data.raw.test, (num_samples, *data.shape))
    x = data.preprocessing(samples).numpy()
    loaded = export.load(directory)
    # Not as tfae.training.compile leaves it, which has predict take several steps at once, too.
    stock = keras.Model(autoencoder.inputs, autoencoder.outputs)
    seconds: dict[str, list[float]] = {"score": [], "predict": []}
    for _ in range(rounds + 1):
        for name, call in {
            "score": lambda: loaded.score(samples),
            "predict": lambda: stock.predict(x, verbose=0),
        }.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in seconds.items()}


def tables(results: dict[str, Any]) -> Iterator[Table]:
    same = Table("", "greatest relative difference", title=f"{results['samples']:,} scores beside the Keras model's")
    for name, difference in results["same_numbers"].items():
        same.add_row({"http": "REST", "grpc": "gRPC"}.get(name, name), f"{difference:.1e}")
    yield same
    loaded = results["load"]
    memory = [mb for mb in loaded["memory_mb"] if mb is not None]
    load_table = Table("", "", title=f"{CONNECTIONS} connections while {loaded['versions']} versions are published")
    load_table.add_row("seconds", f"{loaded['seconds']:.0f}")
    load_table.add_row("answers", f"{loaded['answers']:,}")
    load_table.add_row("failed or wrong", f"{loaded['failures']:,}")
    load_table.add_row("versions seen by all", f"{loaded['newest_seen']} of {loaded['versions']}")
    if memory:
        load_table.add_row("memory, MB", " → ".join(f"{mb:,.0f}" for mb in memory[:: max(1, len(memory) // 5)]))
    yield load_table
    latency = Table("", "batch", "connections", "requests/s", "p50 ms", "p99 ms", title="latency")
    for row in results["latency"]:
        latency.add_row(
            {"http": "REST", "grpc": "gRPC"}.get(row["protocol"], row["protocol"]),
            str(row["batch_size"]),
            str(row["connections"]),
            f"{row['requests_per_second']:,.0f}",
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.2f}",
        )
    yield latency


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--smoke", action="store_true", help="a second of each on the digits, to see that all of it runs"
    )
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)
    smoke = arguments.smoke
    try:
        data = load("digits" if smoke else "fashion_mnist", 0)
    except ValueError as error:
        console.print(f"the digits instead of fashion_mnist: {error}")
        data = load("digits", 0)
    from tfae import export

    autoencoder = trained(data)
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch, "autoencoder")
        export.save(autoencoder, directory, preprocessing=data.preprocessing)
        samples = data.raw.test[:1000]
        results: dict[str, Any] = {
            "machine": about,
            "smoke": smoke,
            "data": data.name,
            "samples": len(samples),
            "same_numbers": same_numbers(autoencoder, data, directory, samples),
            "latency": latencies(data, directory, seconds=0.2 if smoke else 2.0, rounds=1 if smoke else 3),
            "bulk": bulk(autoencoder, data, directory, num_samples=500 if smoke else 10_000, rounds=1 if smoke else 7),
            "load": under_load(
                autoencoder, data, directory, seconds=4 if smoke else 60, num_versions=2 if smoke else 20
            ),
        }
    for table in tables(results):
        console.print(table)
    ratios = np.divide(results["bulk"]["predict"], results["bulk"]["score"])
    low, ratio, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    console.print(
        f"bulk: score is {ratio:.1f} ({low:.1f} to {high:.1f}) times as fast as predict at its default batch size"
    )
    for failure in results["load"]["first_failures"]:
        console.print(f"failed: {failure}", markup=False)
    path = machine.write("serving", json.loads(json.dumps(results)))
    console.print(f"written to {path.relative_to(machine.ROOT)}")


if __name__ == "__main__":
    main()
