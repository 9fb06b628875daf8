"""What a loss costs beside Keras's: ``python -m benchmarks.losses``.

Milliseconds of the loss of a batch of images and of its gradient with respect to the output, in a graph with and
without XLA, and the peak of the memory they take beyond the batch and the output, in arrays of the batch's size; the
gradient itself is one of them. Keras's loss and ours take turns, so that what else the machine does hits both; the
ratio is the median over the rounds, with its quartiles. Keras averages over the elements that ours adds up.
"""

import argparse
import gc
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine

SHAPE = (64, 512, 512, 3)
LOSSES = {
    "squared error": ("MeanSquaredError", "SquaredError", {}),
    "absolute error": ("MeanAbsoluteError", "AbsoluteError", {}),
    "cross-entropy": ("BinaryCrossentropy", "BinaryCrossentropy", {}),
    "cross-entropy of logits": ("BinaryCrossentropy", "BinaryCrossentropy", {"from_logits": True}),
}


def pair(name: str) -> dict[str, Any]:
    """Keras's loss and ours."""
    import keras

    import tfae

    of_keras, of_tfae, arguments = LOSSES[name]
    return {
        "keras": getattr(keras.losses, of_keras)(**arguments),
        "tfae": getattr(tfae.losses, of_tfae)(**arguments),
    }


def compiled(loss: Any, *, xla: bool) -> Callable[[Any, Any], Any]:
    """A graph of the loss and its gradient with respect to the output."""
    import tensorflow as tf

    @tf.function(jit_compile=xla, reduce_retracing=True)
    def value_and_gradient(x: tf.Tensor, output: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(output)
            value = loss(x, output)
        return value, tape.gradient(value, output)

    return value_and_gradient


def measure_time(name: str, shape: tuple[int, ...], rounds: int, *, xla: bool) -> dict[str, list[float]]:
    """Milliseconds of each round, of Keras's loss and of ours."""
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # Each function here is traced once, which TensorFlow takes for retracing.
    generator = tf.random.Generator.from_seed(0)
    x, output = generator.uniform(shape), generator.uniform(shape, 0.01, 0.99)
    functions = {library: compiled(loss, xla=xla) for library, loss in pair(name).items()}
    times: dict[str, list[float]] = {library: [] for library in functions}
    for _ in range(rounds + 1):
        for library, function in functions.items():
            start = time.perf_counter()
            value, gradient = function(x, output)
            value.numpy(), gradient[:1].numpy()
            times[library].append((time.perf_counter() - start) * 1e3)
            del value, gradient
    return {library: measured[1:] for library, measured in times.items()}  # The first round traces and compiles.


def measure_memory(name: str, library: str, shape: tuple[int, ...]) -> float:
    """Peak memory of the graph without XLA, in arrays; in a process of its own, for a peak never comes down."""
    import tensorflow as tf

    function = compiled(pair(name)[library], xla=False)
    spec = tf.TensorSpec([None, *shape[1:]])
    function = function.get_concrete_function(spec, spec)  # type: ignore[attr-defined]
    function(tf.fill((1, *shape[1:]), 0.25), tf.fill((1, *shape[1:]), 0.5))
    # The inputs come last, so that the peak before the call is what lies in memory.
    x, output = tf.fill(shape, 0.25), tf.fill(shape, 0.5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(5):  # The order of the operations in a graph, and with it the peak, is not the same each time.
        function(x, output)
        gc.collect()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (after - before) * 1024 / (4 * np.prod(shape))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each measurement; 5 or more")
    parser.add_argument("--smoke", action="store_true", help="two rounds on a tiny batch, to see that all of it runs")
    arguments = parser.parse_args()
    shape, rounds = ((2, 16, 16, 3), 2) if arguments.smoke else (SHAPE, arguments.rounds)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)
    columns = ("loss", "XLA", "Keras ms", "tfae ms", "ratio (quartiles)", "Keras arrays", "tfae arrays")
    table = Table(*columns, title=f"loss and gradient at {'×'.join(map(str, shape))}, median of {rounds} rounds")
    # Memory first: a new process counts the peak of the one that started it as its own.
    peaks: dict[str, dict[str, float]] = {}
    tasks = None if arguments.smoke else 1  # A process for each figure; importing TensorFlow takes seconds.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=tasks) as pool:
        for name in LOSSES:
            peaks[name] = {of: pool.apply(measure_memory, (name, of, shape)) for of in ("keras", "tfae")}
    results = []
    for name in LOSSES:
        for xla in (False, True):
            times = measure_time(name, shape, rounds, xla=xla)
            low, ratio, high = np.quantile(np.divide(times["keras"], times["tfae"]), (0.25, 0.5, 0.75))
            memory = {} if xla else peaks[name]
            results.append({"loss": name, "xla": xla, "ms": times, "ratio": float(ratio), "peak_arrays": memory})
            table.add_row(
                name,
                "yes" if xla else "no",
                *(f"{np.median(times[of]):.1f}" for of in ("keras", "tfae")),
                f"{ratio:.2f} ({low:.2f} to {high:.2f})",
                *(f"{peak:.2f}" for peak in memory.values()),
            )
    console.print(table)
    path = machine.write("losses", {"machine": about, "smoke": arguments.smoke, "shape": shape, "results": results})
    console.print(f"written to {path.relative_to(machine.RESULTS.parents[1])}")


if __name__ == "__main__":
    main()
