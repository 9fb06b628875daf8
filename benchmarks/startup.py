"""What one waits for before anything happens: ``python -m benchmarks.startup``.

Seconds of new processes, in turns: Python alone, ``import tfae``, ``tfae --help``, and ``import keras`` for comparison.
"""

import argparse
import functools
import os
import subprocess
import sys
from collections.abc import Callable

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
    path = machine.write("startup", {"machine": about, "smoke": arguments.smoke, "per second": speeds})
    console.print(f"written to {path.relative_to(machine.ROOT)}")


if __name__ == "__main__":
    main()
