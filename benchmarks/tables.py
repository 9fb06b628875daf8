"""What tables cost, against pyarrow and the bare SavedModel, and what gaps cost: ``python -m benchmarks.tables``.

Loading a text file, next to pyarrow's own read of it. Scoring a Parquet file into another, next to one loop with
pyarrow and the SavedModel. The peak memory of a process that loads windows and trains on them, next to one that does so
with their rows. The AUROC of models trained with a share of the cells missing, next to those trained on all of them, on
sets under $TFAE_DATA_DIR.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine, rounds
from benchmarks.machine import ROOT

SETS = ("6_cardio", "38_thyroid", "30_satellite")
SHARE_MISSING = 0.2


def write_tables(folder: Path, num_rows: int) -> None:
    """``table.csv`` with 30 columns, and ``table.parquet`` with 32, of numbers that depend on each other."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(num_rows, 4)) @ rng.normal(size=(4, 32)) + 0.1 * rng.normal(size=(num_rows, 32))
    columns = {f"x{index}": rows[:, index] for index in range(32)}
    pa.parquet.write_table(pa.table(columns), folder / "table.parquet")
    pa.csv.write_csv(pa.table(columns).select(range(30)), folder / "table.csv")


def export_model(folder: Path) -> str:
    """Export a model of the first rows; return its folder."""
    import pyarrow.parquet

    from tfae import datasets, export, losses, models, training

    data = datasets.load(pyarrow.parquet.read_table(folder / "table.parquet").slice(0, 5000))
    model = models.dense(data.shape, latent_dim=4)
    training.compile(model, losses.SquaredError(), data, epochs=1)
    model.fit(data.train, epochs=1, verbose=0, shuffle=False)
    return str(export.save(model, folder / "model", data=data))


def load_with_tfae(path: Path) -> rounds.Contestant:
    from tfae import datasets

    return lambda: sum(map(len, datasets.load(path).raw))


def load_with_pyarrow(path: Path) -> rounds.Contestant:
    import pyarrow.csv

    return lambda: len(pyarrow.csv.read_csv(path))


def score_with_tfae(path: Path, model: str) -> rounds.Contestant:
    from tfae import datasets, export, scoring

    loaded = export.load(model)

    def run() -> float:
        with scoring.ScoreFile(path.with_name("tfae.parquet")) as file:
            return scoring.score(loaded, datasets.open_source(path), file).num_samples

    return run


def score_with_the_bare_model(path: Path, model: str) -> rounds.Contestant:
    import pyarrow as pa
    import pyarrow.parquet
    import tensorflow as tf

    function = tf.saved_model.load(model).signatures["score"]

    def run() -> float:
        num_rows = 0
        schema = pa.schema([("instance_score", pa.float32())])
        with (
            pyarrow.parquet.ParquetFile(path) as file,
            pa.parquet.ParquetWriter(path.with_name("bare.parquet"), schema) as writer,
        ):
            for batch in file.iter_batches(8192):
                inputs = {name: tf.constant(batch.column(name).to_numpy()) for name in batch.schema.names}
                scores = function(**inputs)["instance_score"].numpy()
                writer.write_table(pa.table({"instance_score": scores}, schema))
                num_rows += len(batch)
        return num_rows

    return run


def measure_peak(path: Path, window: int | None) -> float:
    """Peak memory in MB of a process that loads a series and trains on it, by windows or by rows."""
    from tfae import datasets, losses, models, training

    options: dict[str, Any] = {"drop": ["timestamp"]}
    if window is not None:
        options = {"window": window, "time": "timestamp"}
    data = datasets.load(path, **options)
    model = models.dense(data.shape, latent_dim=1)
    training.compile(model, losses.SquaredError(), data, epochs=1)
    model.fit(data.train, validation_data=data.validation, epochs=1, verbose=0, shuffle=False)
    # Not ru_maxrss, which a process has from the one that started it.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def auroc(name: str, share_missing: float, seed: int, epochs: int) -> float:
    """Of scores of all rows that were not trained on; trained on half of the normal ones."""
    import keras
    from sklearn.metrics import roc_auc_score

    from tfae import datasets, evaluation, losses, models, training

    path = next(_data_dir().rglob(f"{name}.npz"))
    with np.load(path) as archive:
        x, y = archive["X"].astype("float32"), archive["y"].astype(int)
    x[np.random.default_rng(seed).random(x.shape) < share_missing] = np.nan
    normal = np.flatnonzero(y == 0)
    train, others = normal[: len(normal) // 2], np.ones(len(y), bool)
    others[train] = False
    keras.utils.set_random_seed(seed)
    data = datasets.load({"train": x[train], "test": x[others]}, gaps="mask", columns="varying")
    model = models.dense(data.shape, latent_dim=models.default_latent_dim(data.shape), input_layer=data.fill_gaps())
    loss = losses.for_table(losses.SquaredError(), data.preprocessing)
    training.compile(model, loss, data, epochs=epochs, ignore=("constant",))
    model.fit(data.train, validation_data=data.validation, epochs=epochs, verbose=0, shuffle=False)
    return roc_auc_score(y[others], evaluation.scores(model, data.test))


def _data_dir() -> Path:
    return Path(os.environ.get("TFAE_DATA_DIR", ROOT.parent / "shared" / "data"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="few rows, one round, one set")
    parser.add_argument("--peak-of", type=Path, metavar="FILE", help="what a process of its own does")
    parser.add_argument("--window", type=int)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if options.peak_of:
        print(json.dumps(measure_peak(options.peak_of, options.window)))
        return
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)
    num_rows, num_rounds = (5000, 1) if options.smoke else (1_000_000, 5)
    result: dict[str, Any] = {"machine": about, "smoke": options.smoke}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        folder = Path(name)
        write_tables(folder, num_rows)
        loads = {
            "pyarrow.csv.read_csv": functools.partial(load_with_pyarrow, folder / "table.csv"),
            "tfae.datasets.load": functools.partial(load_with_tfae, folder / "table.csv"),
        }
        result["load"] = rounds.measure(loads, num_rounds)
        title = f"{num_rows:,} × 30 numbers of a text file"
        console.print(rounds.table(result["load"], title=title, unit="rows/s", of="tfae.datasets.load"))
        model = export_model(folder)
        scores = {
            "pyarrow and SavedModel": functools.partial(score_with_the_bare_model, folder / "table.parquet", model),
            "tfae score": functools.partial(score_with_tfae, folder / "table.parquet", model),
        }
        result["score"] = rounds.measure(scores, num_rounds)
        title = f"scores of {num_rows:,} × 32 numbers of a Parquet file, in another"
        console.print(rounds.table(result["score"], title=title, unit="rows/s", of="tfae score"))
    series = next(_data_dir().rglob("machine_temperature_system_failure.csv"), None)
    if series is not None:
        command = [sys.executable, "-m", "benchmarks.tables", "--peak-of", str(series)]
        peaks = {}
        for what, more in (("rows", []), ("windows of 288", ["--window", "288"])):
            child = subprocess.run([*command, *more], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
            peaks[what] = json.loads(child.stdout.splitlines()[-1])
        result["peak_mb"] = peaks
        table = Table("", "peak MB", title="a process that loads a series and trains on it")
        for what, peak in peaks.items():
            table.add_row(what, f"{peak:.0f}")
        console.print(table)
    if any(_data_dir().rglob("*.npz")):
        table = Table("", "complete", f"{SHARE_MISSING:.0%} missing", "difference", title="AUROC, mean of the seeds")
        seeds, epochs = (1, 1) if options.smoke else (3, 30)
        result["auroc"] = {}
        for name in SETS[: 1 if options.smoke else None]:
            found = [
                statistics.mean(auroc(name, share, seed, epochs) for seed in range(seeds))
                for share in (0, SHARE_MISSING)
            ]
            result["auroc"][name] = found
            table.add_row(name, *(f"{100 * each:.1f}" for each in (*found, found[1] - found[0])))
        console.print(table)
    path = machine.write("tables", result)
    console.print(f"written to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
