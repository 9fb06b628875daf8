"""Trainings that are killed at random instants and go on: ``python -m benchmarks.recovery``.

Every training is killed with SIGKILL again and again, and resumed each time; at its end, weights and history have to be
those, bit by bit, of one that was never killed. Checkpoints are written after every few steps here, so that most kills
hit one. The processes are forks of one that has imported TensorFlow and done nothing with it, which saves its import.
"""

import argparse
import filecmp
import functools
import itertools
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine


def fork(work: Callable[[], object]) -> int:
    """Run ``work`` in another process, and return its id."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            work()
            status = 0
        except Exception as error:
            print(error)
        finally:
            os._exit(status)
    return process


def begin(run_dir: Path, program: str) -> None:
    import keras

    from tfae import datasets, losses, models, runs

    keras.utils.set_random_seed(0)
    data = datasets.load("digits")
    if program == "step":
        autoencoder = models.convolutional(data.shape, latent_dim=8, filters=(8,), input_noise=0.1)
    else:
        autoencoder = models.dense(data.shape, latent_dim=8, widths=(64,), input_noise=0.1)
    runs.train(autoencoder, data, loss=losses.SquaredError(), run_dir=run_dir, epochs=20, patience=3, verbose=0)


def go_on(run_dir: Path) -> None:
    from tfae import runs

    runs.resume(run_dir, verbose=0)


def compare(run_dir: Path, other: Path) -> None:
    """Raise unless two runs ended with the same bits."""
    import keras

    weights, others = (keras.models.load_model(path / "model.keras").get_weights() for path in (run_dir, other))
    for weight, other_weight in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other_weight)
    if not filecmp.cmp(run_dir / "history.csv", other / "history.csv", shallow=False):
        raise ValueError("the histories differ")


def kill_and_resume(run_dir: Path, program: str, seconds: float, generator: random.Random, at_most: int) -> int:
    """Train to the end, with at most so many kills on the way, and return how many there were."""
    for num_kills in itertools.count():
        has_begun = (run_dir / "model.keras").exists()
        process = fork(functools.partial(go_on, run_dir) if has_begun else functools.partial(begin, run_dir, program))
        if num_kills < at_most:
            time.sleep(generator.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if (run_dir / "evaluation.json").exists():
            return num_kills
        if os.WIFEXITED(status):
            raise SystemExit(f"a training in {run_dir} failed")
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="2 kills")
    parser.add_argument("--kills", type=int, default=50)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)

    from tfae import runs
    from tfae.training import checkpoint_callback

    vars(checkpoint_callback).update(_SECONDS_BETWEEN=0, _SECONDS_BETWEEN_EPOCHS=0, _SHARE_OF_WRITING=1e9)
    generator = random.Random(0)
    rows = []
    for program in ("graph",) if arguments.smoke else ("graph", "loop", "step"):
        vars(runs)["choose_execution"] = lambda *_, program=program, **__: {"program": program, "steps": 4}
        wanted = 2 if arguments.smoke else -(-arguments.kills // 3)
        with tempfile.TemporaryDirectory() as folder:
            undisturbed = Path(folder, "undisturbed")
            start = time.monotonic()
            os.waitpid(fork(functools.partial(begin, undisturbed, program)), 0)
            seconds = time.monotonic() - start
            kills, trainings, equal = 0, 0, 0
            while kills < wanted:
                run_dir = Path(folder, f"killed-{trainings}")
                kills += kill_and_resume(run_dir, program, seconds, generator, at_most=min(5, wanted - kills))
                trainings += 1
                verdict = fork(functools.partial(compare, run_dir, undisturbed))
                equal += os.waitpid(verdict, 0)[1] == 0
        rows.append({"program": program, "kills": kills, "trainings": trainings, "equal": equal})
    table = Table("program", "kills", "trainings", "of these equal, bit by bit, to one never killed", title="kill -9")
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table)
    path = machine.write("recovery", {"machine": about, "smoke": arguments.smoke, "kill -9": rows})
    console.print(f"written to {path.relative_to(machine.ROOT)}")


if __name__ == "__main__":
    main()
