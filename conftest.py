"""Threads and examples of the tests, and the Python in the READMEs as tests.

It runs in a folder of its own, which holds the repository's saved models.
"""

import gc
import importlib.util
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    # Before NumPy and TensorFlow are imported, and for what the tests start: each worker has its share of the cores.
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, threads)

# A shell that starts the tests in the background has them ignore SIGINT, which some of them send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import matplotlib
import pytest
from hypothesis import settings
from matplotlib.figure import Figure
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

matplotlib.use("Agg")

# They take the longest, and are begun with: at the end, one process would be left alone with them.
_LONGEST = {f"test_{name}.py" for name in ("cli", "comparison", "notebooks", "resuming", "your_own_models")}

# What is imported stays: looking for garbage in it, time and again, would take a tenth of the time.
gc.disable()

# The same few examples each time; pytest --hypothesis-profile=thorough looks for others.
settings.register_profile("quick", max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile("quick")

# Their examples run where the extra is installed; the tests of them say so.
_BEAM = ["tfae/scoring/beam.py", "tfae/scoring/remote_files.py"]
collect_ignore = [] if importlib.util.find_spec("apache_beam") else _BEAM


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take the longest first, and leave the order else."""
    items.sort(key=lambda item: item.path.name not in _LONGEST)


def pytest_collection_finish() -> None:
    """Look for garbage from here on, in what the tests make."""
    gc.freeze()
    gc.enable()


def _enter_folder(namespace: dict[str, Any]) -> None:
    namespace["_folder"], namespace["_before"] = tempfile.TemporaryDirectory(), Path.cwd()
    os.chdir(namespace["_folder"].name)
    shutil.copytree(Path(__file__).parent / "saved_models" / "digits" / "1", Path("saved_models", "digits", "1"))
    # Of a run; with Axes for each sample they take most of its time, and are the matter of test_report.py.
    namespace["_patch"] = pytest.MonkeyPatch()
    namespace["_patch"].setattr("tfae.plots.side_by_side", lambda *_, **__: Figure())


def _leave_folder(namespace: dict[str, Any]) -> None:
    namespace["_patch"].undo()
    os.chdir(namespace["_before"])
    namespace["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "saved_models/README.md", "docs/*.md"],
    setup=_enter_folder,
    teardown=_leave_folder,
).pytest()
