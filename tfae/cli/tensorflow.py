"""The late import of TensorFlow."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click

from tfae import progress


def import_tensorflow(*, onednn: str | None = None) -> None:
    """Import TensorFlow, for Keras too, without what its C++ parts print, then the modules that --import names.

    They announce which instructions and drivers there are, before any setting can tell them not to. What they print
    is shown if the import fails.

    ``onednn`` is what ``TF_ENABLE_ONEDNN_OPTS`` is to be unless the user has set it. The kernels of oneDNN train models
    with convolutions 1.3 times as fast; by itself, TensorFlow takes them on CPUs with AVX-512 only. A convolution of
    theirs that gets a tensor of too low a rank ends the process, so commands that run the models of others do not turn
    them on.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    asked = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if asked != "tensorflow":
        click.echo(f"Keras runs on TensorFlow here, not on {asked} as KERAS_BACKEND says.", err=True)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if onednn is not None and "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", onednn)
    if "tensorflow" not in sys.modules:
        progress.log.info("loading TensorFlow")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as muted, _importing_quickly("sklearn", "matplotlib"):
        os.dup2(muted.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
        except BaseException:
            muted.seek(0)
            os.write(stderr, muted.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
    context = click.get_current_context(silent=True)
    modules = () if context is None else context.find_root().params.get("modules", ())
    for name in modules:
        import_module("--import", name)


def import_module(option: str, name: str) -> ModuleType:
    """Import the module that an option names, from the working directory too; ValueError if it can not be."""
    if str(Path.cwd()) not in sys.path:  # Python itself looks there; an installed command does not.
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except Exception as error:  # It may raise whatever it likes.
        raise ValueError(
            f"{option}: expected a module in the working directory or on the Python path; received {name} "
            f"({type(error).__name__}: {error})."
        ) from error


@contextlib.contextmanager
def _importing_quickly(*left_out: str) -> Iterator[None]:
    """Import Keras without modules that it takes only if they are there, and that no command calls in it.

    They take two fifths of the time; whoever needs them imports them later. Looking for garbage in what is imported
    takes another tenth, and a second at the end.
    """
    absent = [name for name in left_out if name not in sys.modules]
    sys.modules |= dict.fromkeys(absent)  # type: ignore[arg-type]  # None stands for a module that is not there.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        atexit.register(gc.freeze)
        for name in absent:
            del sys.modules[name]


def onednn_of(run_dir: Path) -> str | None:
    """Return ``TF_ENABLE_ONEDNN_OPTS`` of a training, on which the rounding of its results depends."""
    try:
        onednn = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))["onednn"]
    except (OSError, ValueError, KeyError, TypeError):  # Whoever loads the run says what is wrong.
        return None
    return onednn if isinstance(onednn, str) else None
