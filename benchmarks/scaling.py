"""What work costs as it grows: ``python -m benchmarks.scaling``.

``rows`` and ``parameters``: an epoch of training, or some steps of it, by one worker and by two on this machine, in
turns: seconds, bytes that the workers exchange, peak memory.

``score``: ``tfae score`` from files of Parquet to Parquet, by one process and by Apache Beam on this machine, in turns,
for some numbers of rows: the seconds of the whole command, those of its work, without what the same command takes for a
handful of rows, and the peak memory of its process. It needs the extra ``beam``, which has an environment of its own:
``make test-beam``, ``.venv-beam/bin/pip install rich``, ``.venv-beam/bin/python -m benchmarks.scaling``.
"""

import argparse
import functools
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from rich.console import Console
from rich.table import Table

from benchmarks import machine, scaling_training
from benchmarks.machine import ROOT

SECTIONS = ("rows", "parameters", "score")
NUM_ROWS, NUM_PARAMETERS = (10**5, 10**6, 10**7), (10**4, 10**5, 10**6, 10**7, 10**8)
NUM_COLUMNS, NUM_FILES, ROW_GROUP = 32, 8, 65_536
#: Rows that start the command and end it.
FEW = 64
#: What is asked for: seconds by those of the stream, and memory for the most rows by that for the least.
MOST_SECONDS, MOST_MEMORY = 1.2, 1.1

#: Writes down what a section has found so far.
Write = Callable[[Any], None]


def generate(folder: Path, num_rows: int) -> None:
    """Files of ``id`` and numbers that depend on each other, float32."""
    folder.mkdir()
    random = np.random.default_rng(0)
    mixing = random.standard_normal((4, NUM_COLUMNS)).astype("float32")
    schema = pa.schema(
        [("id", pa.int64()), *((f"column_{index}", pa.float32()) for index in range(NUM_COLUMNS))],
    )
    for number, places in enumerate(np.array_split(np.arange(num_rows), NUM_FILES)):
        with pa.parquet.ParquetWriter(folder / f"{number}.parquet", schema) as writer:
            for first in range(0, len(places), ROW_GROUP):
                ids = places[first : first + ROW_GROUP]
                rows = random.standard_normal((len(ids), 4), "float32") @ mixing
                rows += random.standard_normal(rows.shape, "float32") / 4
                writer.write_table(pa.table([pa.array(ids), *map(pa.array, rows.T)], schema))


def export_model(folder: Path) -> None:
    """Write a ``model`` to a folder, and what it is trained on."""
    from tfae import datasets, export, losses, models, training

    source = folder / "trained"
    generate(source, 20_000)
    data = datasets.load(source, drop=["id"])
    autoencoder = models.dense(data.shape, latent_dim=4, widths=(64,))
    training.compile(autoencoder, losses.SquaredError(), data, epochs=1)
    autoencoder.fit(data.train, epochs=1, verbose=0, shuffle=False)
    export.save(autoencoder, folder / "model", data=data)


def run_command(model: Path, source: Path, output: Path, *options: str) -> dict[str, float]:
    """Seconds and peak memory of a command that scores, in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "tfae",
        "score",
        str(model),
        str(source),
        "-o",
        str(output),
        "--keep",
        "id",
        *options,
    ]
    begun = time.perf_counter()
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    said = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(said)
    return {"seconds": seconds, "peak_mb": usage.ru_maxrss / 1024}


def count_rows(output: Path) -> int:
    return sum(pa.parquet.read_metadata(path).num_rows for path in output.parent.glob("*.parquet"))


def measure_score(sizes: list[int], rounds: int, write: Write, console: Console) -> None:
    """Both ways in turns, for each number of rows."""
    ways = {"one process": [], "Beam": ["--runner", "DirectRunner"]}
    if importlib.util.find_spec("apache_beam") is None:
        console.print("Beam is left out: the extra beam is not installed.")
        del ways["Beam"]
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        folder = Path(name)
        model = folder / "model"
        # In another process: the peak of a process counts from that of the one that has started it.
        subprocess.run([sys.executable, "-m", "benchmarks.scaling", "--export-to", name], cwd=ROOT, check=True)
        for num_rows in (FEW, *sizes):
            source = folder / "shards"
            shutil.rmtree(source, ignore_errors=True)
            generate(source, num_rows)
            of_size: dict[str, dict[str, list[float]]] = {way: {"seconds": [], "peak_mb": []} for way in ways}
            for _ in range(rounds):
                for way, options in ways.items():
                    output = folder / "scores" / "part.parquet"
                    for key, figure in run_command(model, source, output, *options).items():
                        of_size[way][key].append(figure)
                    assert count_rows(output) == num_rows
                    shutil.rmtree(output.parent)
            found[str(num_rows)] = of_size
            write(found)
    console.print(_table(found))
    if "Beam" in ways:
        _compare(found, sizes, console)


def _table(found: dict[str, dict[str, dict[str, list[float]]]]) -> Table:
    table = Table(
        "rows", "", "seconds", "of work", "rows/s", "peak MB", title=f"{NUM_COLUMNS} columns, Parquet to Parquet"
    )
    for num_rows, ways in found.items():
        for way, figures in ways.items():
            seconds = statistics.median(figures["seconds"])
            work = seconds - statistics.median(found[str(FEW)][way]["seconds"])
            speed = f"{int(num_rows) / work:,.0f}" if int(num_rows) > FEW and work > 0 else ""
            peak = f"{max(figures['peak_mb']):,.0f}"
            table.add_row(f"{int(num_rows):,}", way, f"{seconds:.1f}", f"{work:.1f}", speed, peak)
    return table


def _compare(found: dict[str, dict[str, dict[str, list[float]]]], sizes: list[int], console: Console) -> None:
    for num_rows in sizes:
        of_size = found[str(num_rows)]
        pairs = zip(of_size["Beam"]["seconds"], of_size["one process"]["seconds"], strict=True)
        ratio = statistics.median(beam / one for beam, one in pairs)
        console.print(f"{num_rows:,} rows: Beam takes {ratio:.2f} times the seconds, asked {MOST_SECONDS}")
    peaks = [max(found[str(num_rows)]["Beam"]["peak_mb"]) for num_rows in sizes]
    growth = f"{peaks[-1] / peaks[0]:.2f} times, asked {MOST_MEMORY}"
    console.print(f"memory of Beam from {sizes[0]:,} to {sizes[-1]:,} rows: {growth}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="few rows and one round")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--rows", nargs="+", type=int, default=[1_000_000, 4_000_000], help="of the section score")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--export-to", type=Path, metavar="FOLDER", help="what a process of its own does")
    parser.add_argument("--draw", type=Path, metavar="FILE", help="picture of the trainings that were measured last")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if options.export_to:
        export_model(options.export_to)
        return
    path = machine.RESULTS / "scaling.json"
    if options.draw:
        scaling_training.draw(json.loads(path.read_text(encoding="utf-8")), options.draw)
        return
    console = Console(width=130)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)
    write_section = machine.section_writer("scaling", about, smoke=options.smoke)
    for section in options.sections:
        write = functools.partial(write_section, section)
        rounds = 1 if options.smoke else options.rounds
        if section == "score":
            measure_score([2000, 8000] if options.smoke else options.rows, rounds, write, console)
        else:
            sizes = NUM_ROWS if section == "rows" else NUM_PARAMETERS
            scaling_training.run(section, [10**4] if options.smoke else list(sizes), rounds, write, console)
    console.print("written to benchmarks/results/scaling.json")


if __name__ == "__main__":
    main()
