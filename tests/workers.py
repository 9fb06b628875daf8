"""Workers of a training, as processes of their own that find each other on 127.0.0.1."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def start(num_workers, folder, *arguments, sources=None):
    """Start ``tfae train … --strategy multi-worker`` on all workers; what each says is in a file of the folder.

    ``sources`` are what workers have in place of the first of the arguments.
    """
    sockets = [socket.socket() for _ in range(num_workers)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    options = ["--strategy", "multi-worker", "--or-resume"]
    options += ["--run-dir", str(folder / "run"), "--export-dir", str(folder / "export")]
    folder.mkdir(exist_ok=True)
    workers = []
    for index in range(num_workers):
        config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        source = arguments[0] if sources is None else sources[index]
        command = [sys.executable, "-m", "tfae", "train", *map(str, [source, *arguments[1:]]), *options]
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "PYTHONPATH": str(ROOT)}
        with (folder / f"log{index}").open("w") as log:
            workers.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
    return workers


def wait(workers, folder, seconds=300):
    """Return the exit codes of all; AssertionError with what they say if one does not end."""
    end = time.monotonic() + seconds
    try:
        return [worker.wait(max(0, end - time.monotonic())) for worker in workers]
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{[worker.poll() for worker in workers]} {logs(folder)}") from error
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def wait_for_epochs(folder, num_epochs, workers, seconds=300):
    """Wait until so many epochs are in the history of the run."""
    end = time.monotonic() + seconds
    while num_epochs_of(folder) < num_epochs:
        if time.monotonic() > end or any(worker.poll() is not None for worker in workers):
            raise AssertionError(f"{wait(workers, folder, 30)} {logs(folder)}")
        time.sleep(0.05)


def num_epochs_of(folder):
    path = folder / "run" / "history.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def logs(folder):
    """What all workers have said."""
    return "\n".join(path.read_text() for path in sorted(folder.glob("log*")))
