"""What streaming costs, in memory and in time: ``python -m benchmarks.streaming``.

A .npy file of gray images with structure is generated; a dense model trains on it, streamed, in a process of its own,
whose peak memory counts. Then samples per second of the pipeline alone and of ``fit``, streamed and in memory, in turns
and on the same part of the file, a whole epoch at a time.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.machine import ROOT

SHAPE = (28, 28, 1)
BATCH_SIZE = 128


def generate(path: Path, num_samples: int) -> None:
    """Mixtures of sixteen smooth patterns with a little noise, uint8."""
    random = np.random.RandomState(0)
    y, x = np.mgrid[0:1:28j, 0:1:28j]
    waves = [
        np.cos(np.pi * (a * x + b * y) + phase)
        for a, b, phase in zip(random.randint(0, 6, 16), random.randint(0, 6, 16), random.rand(16) * 6, strict=True)
    ]
    patterns = np.reshape(waves, (16, -1)).astype("float32")
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (num_samples, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, num_samples, 10_000):
            count = min(10_000, num_samples - start)
            codes = random.standard_normal((count, 16)).astype("float32")
            images = 128 + 20 * codes @ patterns + random.randint(-8, 9, (count, patterns.shape[1]))
            file.write(images.clip(0, 255).astype(np.uint8).data)


def model(shape: tuple[int, ...]) -> Any:
    from tfae import losses, models

    autoencoder = models.dense(shape, latent_dim=16)
    autoencoder.compile("adam", loss=losses.SquaredError())
    return autoencoder


def measure_peak(path: Path, steps: int) -> dict[str, float]:
    """Load a file, streamed, and train on it for some steps, in this process."""
    from tfae import datasets

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    imported = peak()
    start = time.perf_counter()
    data = datasets.load(path, in_memory=False, batch_size=BATCH_SIZE)
    loaded, loaded_peak = time.perf_counter() - start, peak()
    start = time.perf_counter()
    model(data.shape).fit(data.train.take(steps), validation_data=data.validation.take(steps), verbose=0, shuffle=False)
    return {
        "samples": sum(map(len, data.raw)),
        "imported_peak_mb": imported,
        "load_seconds": loaded,
        "load_peak_mb": loaded_peak,
        "fit_seconds": time.perf_counter() - start,
        "peak_mb": peak(),
    }


def measure_speed(path: Path, rounds: int) -> dict[str, list[float]]:
    """Samples per second of each round, by what is done and where the data is."""
    import tensorflow as tf

    from tfae import datasets

    data = {
        name: datasets.load(path, in_memory=in_memory, batch_size=BATCH_SIZE)
        for name, in_memory in (("in memory", True), ("streamed", False))
    }
    autoencoder = model(SHAPE)
    autoencoder.fit(data["in memory"].validation, verbose=0, shuffle=False)  # compiles

    def epochs() -> Iterator[tuple[str, float]]:
        for name, loaded in data.items():
            count = len(loaded.raw.train)
            start = time.perf_counter()
            for _ in loaded.train.map(lambda x, _: tf.shape(x)[0]):
                pass
            yield f"pipeline, {name}", count / (time.perf_counter() - start)
            start = time.perf_counter()
            autoencoder.fit(loaded.train, verbose=0, shuffle=False)
            yield f"fit, {name}", count / (time.perf_counter() - start)

    speeds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, speed in epochs():
            speeds.setdefault(name, []).append(speed)
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="20 MB and one round")
    parser.add_argument("--gigabytes", type=float, default=6.0, help="size of the file")
    parser.add_argument("--peak-of", type=Path, metavar="FILE", help="what the process of its own does")
    parser.add_argument("--steps", type=int, default=5000, help="steps of training in which the peak is taken")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if options.peak_of:
        print(json.dumps(measure_peak(options.peak_of, options.steps)))
        return
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)
    gigabytes = 0.02 if options.smoke else options.gigabytes
    num_samples = round(gigabytes * 1e9) // int(np.prod(SHAPE))
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        path, part = Path(folder, "whole.npy"), Path(folder, "part.npy")
        generate(path, num_samples)
        command = [sys.executable, "-m", "benchmarks.streaming", "--peak-of", str(path)]
        command += ["--steps", "20" if options.smoke else str(options.steps)]
        child = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        peak = json.loads(child.stdout.splitlines()[-1])
        generate(part, min(num_samples, 300_000))
        speeds = measure_speed(part, rounds=1 if options.smoke else 5)

    table = Table("", "seconds", "peak MB", title=f"{gigabytes:g} GB, {peak['samples']:,} samples, streamed")
    table.add_row("import", "", f"{peak['imported_peak_mb']:.0f}")
    table.add_row("load", f"{peak['load_seconds']:.1f}", f"{peak['load_peak_mb']:.0f}")
    table.add_row("fit and validate", f"{peak['fit_seconds']:.1f}", f"{peak['peak_mb']:.0f}")
    console.print(table)
    table = Table("", "median", "least", "greatest", title="samples per second, whole epochs")
    for name, figures in speeds.items():
        table.add_row(name, *(f"{figure:,.0f}" for figure in (statistics.median(figures), min(figures), max(figures))))
    console.print(table)
    for what in ("pipeline", "fit"):
        pairs = zip(speeds[f"{what}, streamed"], speeds[f"{what}, in memory"], strict=True)
        ratio = statistics.median(streamed / held for streamed, held in pairs)
        console.print(f"{what}: streamed at {ratio:.2f} of the speed in memory, median of the rounds")
    result = {"machine": about, "smoke": options.smoke, "gigabytes": gigabytes, "peak": peak, "speeds": speeds}
    path = machine.write("streaming", result)
    console.print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
