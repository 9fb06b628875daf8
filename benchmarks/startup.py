"""What one waits for before anything happens: ``python -m benchmarks.startup``.

Seconds of new processes, in turns: Python alone, ``import tfae``, ``tfae --help``, and ``import keras`` for comparison.
Then the stages of ``tfae train`` on 60,000 images of 28 × 28, by the lines that it prints.
"""

import argparse
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine, rounds

COMMANDS = {
    "python": [sys.executable, "-c", ""],
    "import tfae": [sys.executable, "-c", "import tfae"],
    "tfae --help": [sys.executable, "-m", "tfae", "--help"],
    "import keras": [sys.executable, "-c", "import keras"],
}

#: Of the lines of ``tfae train``, how each stage begins; that of the last one ends when the process does.
STAGES = {
    "import": "loading TensorFlow",
    "load": "reading",
    "first epoch, to its end": "Epoch 1/",
    "training": "Epoch 2/",
    "evaluation": "evaluating the training",
    "pictures": "drawing",
    "export": "exporting",
    "exit": "scored",
}


def time_stages(num_samples: int) -> dict[str, float]:
    """Seconds of each stage."""
    begun: dict[str, float] = {"start": time.perf_counter()}
    with tempfile.TemporaryDirectory() as folder:
        path, rng = Path(folder, "squares.npy"), np.random.default_rng(0)
        images = np.zeros((num_samples, 28, 28), "uint8")
        for image, (row, column) in zip(images, rng.integers(0, 18, (num_samples, 2)), strict=True):
            image[row : row + 10, column : column + 10] = rng.integers(128, 256, (10, 10))
        np.save(path, images)
        command = [sys.executable, "-u", "-m", "tfae", "train", str(path), "--epochs", "5"]
        environment = {**os.environ, "PYTHONPATH": str(machine.ROOT)}
        begun["start"] = time.perf_counter()
        with subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as train:
            assert train.stdout is not None
            for line in train.stdout:
                for stage, beginning in STAGES.items():
                    if line.startswith(beginning):
                        begun.setdefault(stage, time.perf_counter())
        begun["end"] = time.perf_counter()
    if train.returncode:
        raise SystemExit("tfae train failed")
    times = list(begun.values())
    return {stage: after - before for stage, before, after in zip(begun, times, times[1:], strict=False)}


def process(command: list[str]) -> Callable[[], float]:
    def run() -> float:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        return 1

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="one round")
    arguments = parser.parse_args()
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)
    speeds = rounds.measure(
        {name: functools.partial(process, command) for name, command in COMMANDS.items()}, 1 if arguments.smoke else 9
    )
    table = Table("", "seconds", "from – to", title="start")
    for name, values in speeds.items():
        seconds = 1 / np.array(values)
        table.add_row(name, f"{np.median(seconds):.3f}", f"{seconds.min():.3f} – {seconds.max():.3f}")
    console.print(table)
    stages = time_stages(600 if arguments.smoke else 60_000)
    table = Table("stage", "seconds", title="tfae train, 5 epochs")
    for name, passed in stages.items():
        table.add_row(name, f"{passed:.2f}")
    console.print(table)
    results = {"machine": about, "smoke": arguments.smoke, "per second": speeds, "train": stages}
    path = machine.write("startup", results)
    console.print(f"written to {path.relative_to(machine.ROOT)}")


if __name__ == "__main__":
    main()
