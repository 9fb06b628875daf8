"""Exporters that are killed at random instants, before the eyes of a server: ``python -m benchmarks.publication``.

Every exporter is killed with SIGKILL while it writes one version after the other: with ``export.save``, most of whose
time goes into the graph and its checks, and with the publication alone, of a copy of an export, where most kills hit
the last steps. A reader polls the folder, as a server does, loads each numeric folder the moment it sees it, and asks
its golden requests. No version may be incomplete, and the export after the last kill has to clear what was left behind.
The exporters are forks of a process that has imported TensorFlow and done nothing with it, which saves its import.
"""

import argparse
import collections
import functools
import importlib
import itertools
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.recovery import fork

SAMPLES = np.random.default_rng(0).random((7, 64)).astype("float32")


def export_versions(directory: Path, at_most: int | None = None) -> None:
    """Export one version after the other."""
    import keras

    from tfae import export, losses, models

    keras.utils.set_random_seed(0)
    autoencoder = models.dense((64,), latent_dim=8, widths=(64,))
    autoencoder.compile("adam", loss=losses.SquaredError())
    for _ in itertools.count() if at_most is None else range(at_most):
        export.save(autoencoder, directory)


def publish_copies(original: Path, directory: Path, at_most: int | None = None) -> None:
    """Publish a copy of an export as one version after the other."""
    from tfae.export.publication import publish

    def write(folder: Path) -> None:
        shutil.copytree(original, folder, dirs_exist_ok=True)

    for _ in itertools.count() if at_most is None else range(at_most):
        publish(directory, write)


def read_versions(directory: Path, stop: Path, result: Path) -> None:
    """Load and ask every version the moment it is there; write what was found wrong to ``result``."""
    from tfae.servable import Servable, read_warmup
    from tfae.versions import list_versions

    seen: set[int] = set()
    defects = []
    expected: np.ndarray | None = None
    last_round = False
    while not last_round:
        time.sleep(0.002)
        last_round = stop.exists()
        for number, path in list_versions(directory).items():
            if number in seen:
                continue
            seen.add(number)
            try:
                servable = Servable(path)
                for request in read_warmup(path):
                    servable.run(request.signature, request.inputs)
                score = servable.run("score", {"inputs": SAMPLES})["instance_score"]
                expected = score if expected is None else expected
                np.testing.assert_allclose(score, expected, rtol=1e-6)
                if not (path / "assets.extra" / "tfae.json").read_text(encoding="utf-8").endswith("}\n"):
                    raise ValueError("the description is cut off")
            except Exception as error:  # Whatever it is, it is what is looked for here.
                defects.append(f"{number}: {type(error).__name__}: {error}")
    result.write_text("\n".join([str(len(seen)), *defects]), encoding="utf-8")


def kill_exporters(
    work: Callable[[], object], directory: Path, kills: int, seconds: tuple[float, float], generator: random.Random
) -> dict[str, int]:
    """Begin and kill so many exporters, and count what they left of the version that they were at."""
    left: collections.Counter[str] = collections.Counter()
    for _ in range(kills):
        before = set(directory.glob(".staging-*"))
        process = fork(work)
        time.sleep(generator.uniform(*seconds))
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        if os.WIFEXITED(status):
            raise SystemExit("an exporter failed")
        staged = [path for path in directory.glob(".staging-*") if path not in before]
        left[_stage({path.name for folder in staged for path in folder.rglob("*")}, bool(staged))] += 1
    return dict(left)


def _stage(files: set[str], staged: bool) -> str:
    """What an exporter was at, by the files that it left."""
    if not staged:
        return "nothing staged"
    if "tfae.json" in files:
        return "all written"
    if "tf_serving_warmup_requests" in files:
        return "graph and golden requests written"
    return "writing the graph"


def disturb(work: Callable[..., object], folder: Path, kills: int, seconds: tuple[float, float]) -> dict[str, Any]:
    """Kill exporters that do ``work`` in ``folder``, and say what a reader and the next export found."""
    from tfae.versions import list_versions

    directory, stop, result = folder / "model", folder / "stop", folder / "result"
    directory.mkdir(parents=True)
    reader = fork(lambda: read_versions(directory, stop, result))
    left = kill_exporters(lambda: work(directory), directory, kills, seconds, random.Random(0))
    abandoned = len(list(directory.glob(".staging-*")))
    os.waitpid(fork(lambda: work(directory, 1)), 0)
    remaining = [path.name for path in directory.iterdir() if not path.name.isdigit()]
    stop.touch()
    os.waitpid(reader, 0)
    num_read, *defects = result.read_text(encoding="utf-8").splitlines()
    return {
        "kills": kills,
        "published": len(list_versions(directory)),
        "loaded and asked": int(num_read),
        "incomplete or wrong": defects,
        "left behind": abandoned,
        "left after the next export": remaining,
        "killed": left,
    }


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{count} {what}" for what, count in value.items())
    return str(len(value) if isinstance(value, list) else value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--smoke", action="store_true", help="3 kills")
    parser.add_argument("--kills", type=int, default=100)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    console = Console(width=110)
    about = machine.describe()
    console.print(machine.header(about), highlight=False)

    importlib.import_module("tfae.export")  # Once, for all forks.
    kills = 3 if arguments.smoke else arguments.kills
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.monotonic()
        os.waitpid(fork(lambda: export_versions(folder / "original", 1)), 0)
        once = time.monotonic() - start
        copies = functools.partial(publish_copies, folder / "original" / "1")
        rows = {
            "publication alone": disturb(copies, folder / "copies", kills, (0.0, 0.1)),
            # From when the first of its exports begins to when the second may have ended.
            "export.save": disturb(export_versions, folder / "exports", kills, (0.6 * once, 1.6 * once)),
        }
    table = Table("", *next(iter(rows.values())), title="kill -9 while exporting")
    for work, row in rows.items():
        table.add_row(work, *map(_cell, row.values()))
    console.print(table)
    path = machine.write("publication", {"machine": about, "smoke": arguments.smoke, "kill -9": rows})
    console.print(f"written to {path.relative_to(machine.ROOT)}")
    for row in rows.values():
        if (
            row["incomplete or wrong"]
            or row["left after the next export"]
            or row["loaded and asked"] != row["published"]
        ):
            raise SystemExit("an incomplete version was published, or something stayed behind")


if __name__ == "__main__":
    main()
