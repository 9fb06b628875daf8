"""The Python in the READMEs runs as a test, in a folder of its own that holds the repository's saved models."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import matplotlib
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

matplotlib.use("Agg")


def _enter_folder(namespace: dict[str, Any]) -> None:
    namespace["_folder"], namespace["_before"] = tempfile.TemporaryDirectory(), Path.cwd()
    os.chdir(namespace["_folder"].name)
    shutil.copytree(Path(__file__).parent / "saved_models" / "digits" / "1", Path("saved_models", "digits", "1"))


def _leave_folder(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_before"])
    namespace["_folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "saved_models/README.md", "docs/*.md"],
    setup=_enter_folder,
    teardown=_leave_folder,
).pytest()
