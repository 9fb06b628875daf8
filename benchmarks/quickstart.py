"""What a newcomer waits for, and what he gets: ``python -m benchmarks.quickstart``.

Seconds and peak memory of ``make demo`` by step, in a fresh clone with a fresh environment; then the test loss of the
digits and of fashion_mnist with each loss after ten epochs. fashion_mnist comes from the original files in
``$TFAE_DATA_DIR/fashion_mnist``, or from where TFDS has it; without either it is left out with a word.
"""

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.machine import ROOT

LOSSES = ("mse", "mae", "bce")


def measure_demo(steps: dict[str, dict[str, float]]) -> None:
    """What ``make demo`` does, in a fresh clone."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        python, tfae = (clone / ".venv" / "bin" / name for name in ("python", "tfae"))
        for name, command in (
            ("clone", ["git", "clone", "--quiet", str(ROOT), str(clone)]),
            ("environment", [sys.executable, "-m", "venv", str(clone / ".venv")]),
            ("install", [str(python), "-m", "pip", "install", "--quiet", "--editable", str(clone)]),
            ("tfae train digits", [str(tfae), "train", "digits"]),
            ("tfae train digits, again", [str(tfae), "train", "digits"]),
        ):
            environment = {**os.environ, "TFDS_DATA_DIR": str(Path(folder, "data"))}
            start = time.perf_counter()
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{name} failed: {' '.join(command)}")
            steps[name] = {"seconds": time.perf_counter() - start, "peak_mb": usage.ru_maxrss / 1024}


def measure_job(steps: dict[str, dict[str, float]], epochs: int) -> None:
    """The parts of ``tfae train digits``, in this process."""

    @contextlib.contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        steps[f"· {name}"] = {"seconds": time.perf_counter() - start, "peak_mb": peak}

    with tempfile.TemporaryDirectory() as folder:
        with step("import"):
            from tfae import datasets, export, losses, models, runs, training
        with step("load"):
            data = datasets.load("digits", data_dir=folder)
        with step("build and compile"):
            autoencoder = models.dense(data.shape, latent_dim=16)
            training.compile(autoencoder, losses.SquaredError(), data, epochs=epochs)
        with step("train, evaluate, draw"):
            runs.train(autoencoder, data, run_dir=Path(folder, "run"), epochs=epochs, verbose=0)
        with step("export"):
            path = export.save(autoencoder, Path(folder, "digits"), preprocessing=data.preprocessing, data=data)
        with step("load back and score"):
            export.load(path).score(data.raw.test)


def measure_losses(name: str, epochs: int, **arguments: Any) -> dict[str, dict[str, Any]]:
    """Evaluation on the test split after some epochs with each loss, by name of the loss."""
    import keras

    from tfae import datasets, evaluation, losses, models, training

    results = {}
    for loss_name in LOSSES:
        data = datasets.load(name, **arguments)  # Anew, so that each training sees the samples in the same order.
        keras.utils.set_random_seed(0)
        loss = losses.get(loss_name)
        autoencoder = models.dense(
            data.shape, latent_dim=16, output_activation=loss.output_activation(data.output_range)
        )
        training.compile(autoencoder, loss, data, epochs=epochs)
        start = time.perf_counter()
        autoencoder.fit(data.train, epochs=epochs, verbose=0, shuffle=False)
        seconds = time.perf_counter() - start
        measures = evaluation.evaluate(autoencoder, data.test, data_range=(0, 1))
        floor = sum(float(loss.floor(x).numpy().sum()) for x, _ in data.test) / measures.num_samples
        results[loss_name] = {**measures.as_dict(), "floor": floor, "fit_seconds": seconds}
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="one epoch on the digits, without installing anything")
    smoke = parser.parse_args().smoke
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)
    steps: dict[str, dict[str, float]] = {}
    if not smoke:
        measure_demo(steps)
    measure_job(steps, epochs=1 if smoke else 30)
    table = Table("step", "seconds", "peak MB", title="make demo")
    for name, figures in steps.items():
        table.add_row(name, f"{figures['seconds']:.1f}", f"{figures['peak_mb']:.0f}")
    console.print(table)

    epochs = 1 if smoke else 10
    results = {"digits": measure_losses("digits", epochs)}
    originals = Path(os.environ.get("TFAE_DATA_DIR", ROOT.parent / "shared" / "data")) / "fashion_mnist"
    if not smoke:
        try:
            arguments = {"manual_dir": originals} if originals.is_dir() else {}
            results["fashion_mnist"] = measure_losses("fashion_mnist", epochs, **arguments)
        except ValueError as error:
            console.print(f"fashion_mnist is left out: {error}")
    table = Table(
        "data",
        "loss",
        "test loss",
        "floor",
        "MSE",
        "MAE",
        "PSNR",
        "SSIM",
        "fit s",
        title=f"after {epochs} epochs, dense, code of 16",
    )
    for name, by_loss in results.items():
        for loss_name, figures in by_loss.items():
            keys = ("loss", "floor", "mse", "mae", "psnr", "ssim", "fit_seconds")
            table.add_row(name, loss_name, *(f"{figures[key]:.4g}" for key in keys))
    console.print(table)
    path = machine.write("quickstart", {"machine": about, "smoke": smoke, "demo": steps, "losses": results})
    console.print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
