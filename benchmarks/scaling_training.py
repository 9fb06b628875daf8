"""What training costs by rows, parameters and workers: the sections ``rows`` and ``parameters`` of benchmarks.scaling.

Each measurement is a process of its own, or two that find each other on 127.0.0.1. What the workers exchange is what
passes through the loopback interface meanwhile.
"""

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.machine import ROOT

NUM_COLUMNS, BATCH_SIZE = 32, 1024
#: Weights of a model for rows: of their size.
ROWS_PARAMETERS = 10_000
#: Rows for models of many weights; and steps that are measured, after some that are not.
PARAMETERS_ROWS, NUM_STEPS, NUM_FIRST = 20_000, 12, 4


def find_width(num_parameters: int) -> int:
    """The width of two hidden layers before the latent, and two after it, that gives about so many weights."""
    return max(4, round((-NUM_COLUMNS + (NUM_COLUMNS**2 + 2 * num_parameters) ** 0.5) / 2))


def write_rows(path: Path, num_rows: int) -> None:
    """float32 ``(num_rows, 32)``, of 4 numbers and noise."""
    random = np.random.default_rng(0)
    mixing = random.standard_normal((4, NUM_COLUMNS)).astype("float32")
    rows = np.lib.format.open_memmap(path, "w+", "float32", (num_rows, NUM_COLUMNS))
    for first in range(0, num_rows, 100_000):
        part = random.standard_normal((min(100_000, num_rows - first), 4), "float32") @ mixing
        rows[first : first + len(part)] = part + random.standard_normal(part.shape, "float32") / 4
    rows.flush()


def train(source: str, num_parameters: int, num_workers: int) -> dict[str, float]:
    """Seconds of an epoch, or of steps, and what else it takes; what a process of its own does."""
    import keras
    import tensorflow as tf

    from tfae import datasets, losses, models, training

    strategy = training.make_strategy("multi-worker") if num_workers > 1 else tf.distribute.get_strategy()
    data = datasets.load(source, batch_size=BATCH_SIZE, in_memory=False)
    width = find_width(num_parameters)
    with strategy.scope():
        autoencoder = models.dense(data.shape, latent_dim=4, widths=(width, width))
    training.compile(autoencoder, losses.SquaredError(), data, epochs=2)
    marks: list[tuple[float, int, int]] = []

    def mark(*_: Any, **__: Any) -> None:
        step = int(autoencoder.optimizer.iterations.numpy())
        marks.append((time.perf_counter(), step, loopback_bytes()))

    is_large = num_parameters >= 10**7
    # All that is traced and compiled is in the first epoch, or in the first steps where these alone take long.
    for epoch in range(1 if is_large else 2):
        marks.clear()
        mark()
        batches = data.train_from(epoch).take(NUM_STEPS + NUM_FIRST if is_large else -1)
        callback = keras.callbacks.LambdaCallback(on_train_batch_end=mark)
        autoencoder.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[callback])
        mark()
    first, last = marks[NUM_FIRST if is_large else 0], marks[-1]
    seconds, steps = last[0] - first[0], last[1] - first[1]
    return {
        "num_parameters": autoencoder.count_params(),
        "seconds_per_epoch": seconds / steps * int(data.train.cardinality()),
        "seconds_per_step": seconds / steps,
        "wire_bytes_per_step": (last[2] - first[2]) / steps,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def loopback_bytes() -> int:
    """What has been sent on this machine to itself."""
    text = Path("/proc/net/dev").read_text(encoding="utf-8")
    return next(int(line.split()[9]) for line in text.splitlines() if line.strip().startswith("lo:"))


def measure(source: Path, num_parameters: int, num_workers: int) -> dict[str, float]:
    """Run the workers; figures of the first, of which the peak memory is that of each."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(num_workers)]
    hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    workers = []
    for index in range(num_workers):
        config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        command = [
            sys.executable,
            "-m",
            "benchmarks.scaling_training",
            str(source),
            str(num_parameters),
            str(num_workers),
        ]
        environment = {**os.environ, "TF_CONFIG": json.dumps(config) if num_workers > 1 else ""}
        workers.append(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    answers = [worker.communicate() for worker in workers]
    if any(worker.returncode for worker in workers):
        raise RuntimeError("\n".join(said for _, said in answers))
    return json.loads(answers[0][0].splitlines()[-1])


def run(
    by: str, sizes: list[int], rounds: int, write: Callable[[Any], None], console: Console
) -> dict[str, list[dict[str, float]]]:
    """Measure one worker and two in turns, by the number of "rows" or of "parameters"."""
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        source = Path(folder, "rows.npy")
        for size in sizes:
            num_rows, num_parameters = (size, ROWS_PARAMETERS) if by == "rows" else (PARAMETERS_ROWS, size)
            write_rows(source, num_rows)
            for _ in range(rounds):
                for num_workers in (1, 2):
                    figures = measure(source, num_parameters, num_workers)
                    found.setdefault(f"{size} {num_workers}", []).append(figures)
                    console.print(f"{by} {size:,}, {num_workers} workers: {figures}")
                    write(found)
    console.print(make_table(by, found))
    return found


def make_table(by: str, found: dict[str, list[dict[str, float]]]) -> Table:
    """Medians."""
    table = Table(by, "workers", "s / epoch", "ms / step", "MB on the wire / step", "peak MB of each")
    for name, figures in found.items():
        size, num_workers = name.split()

        def median(of: str, figures: list[dict[str, float]] = figures) -> float:
            return statistics.median(each[of] for each in figures)

        table.add_row(
            f"{int(size):,}",
            num_workers,
            f"{median('seconds_per_epoch'):.1f}" if by == "rows" else "",
            f"{1000 * median('seconds_per_step'):.2f}",
            f"{median('wire_bytes_per_step') / 1e6:.2f}" if num_workers != "1" else "",
            f"{median('peak_mb'):,.0f}",
        )
    return table


def draw(results: dict[str, Any], path: Path) -> None:
    """Seconds of an epoch by rows and of a step by parameters, of one worker and of two, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure((9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for ax, by, of, ylabel in zip(
        panels,
        ("rows", "parameters"),
        ("seconds_per_epoch", "seconds_per_step"),
        ("seconds of an epoch, 10⁴ parameters", "seconds of a step of 1,024 rows"),
        strict=True,
    ):
        for num_workers, color in (("1", "#1f4e79"), ("2", "#c55a11")):
            points = sorted(
                (int(name.split()[0]), statistics.median(each[of] for each in figures))
                for name, figures in results[by]["found"].items()
                if name.endswith(f" {num_workers}")
            )
            x, y = map(list, zip(*points, strict=True))
            ax.plot(x, y, "o-", color=color, label=f"{num_workers} worker{'s' * (num_workers != '1')}")
            if by == "rows":  # In proportion to the rows.
                ax.plot([x[-1], 10 * x[-1]], [y[-1], 10 * y[-1]], "--", color=color, zorder=1)
                ax.plot(10 * x[-1], 10 * y[-1], "o", color=color, markerfacecolor="white")
        ax.set(xscale="log", yscale="log", xlabel=by, ylabel=ylabel)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="#eeeeee")
        ax.legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print(json.dumps(train(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
