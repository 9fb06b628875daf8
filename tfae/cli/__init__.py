"""The command line: one command for every step from a data set to a served autoencoder.

TensorFlow is imported inside the commands, so that ``tfae --help`` answers at once.
"""

from __future__ import annotations

import re
import signal
import sys
import warnings
from typing import Any

import click

from tfae import __version__, progress
from tfae.cli.calibrate import calibrate
from tfae.cli.compare import advise, compare
from tfae.cli.docs import docs
from tfae.cli.run_dir import evaluate, export
from tfae.cli.saved_model import inspect, reconstruct
from tfae.cli.score import score
from tfae.cli.serve import deploy, serve
from tfae.cli.terminal import Echo
from tfae.cli.train import train
from tfae.cli.wording import in_options

__all__ = ["main"]


class _Commands(click.Group):
    """A group that shows errors in the user's input as one line, with exit code 2."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with what they do, uncut."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(10**6)) for name in sorted(self.commands)]
            )

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # Where there is something to go on with, the command says so.
            click.echo("\nStopped.", err=True)
            ctx.exit(128 + signal.SIGINT)
        except Exception as error:
            message = _users_mistake(error)
            if message is None or ctx.params["traceback"]:
                raise
            click.echo(f"Error: {in_options(message, ctx.obj)}", err=True)
            ctx.exit(2)


def _users_mistake(error: Exception) -> str | None:
    """Return the message of an error that tfae raises at its boundary, or None for a bug."""
    if isinstance(error, BrokenPipeError):  # The reader of our output has left, as `head` does: click ends quietly.
        return None
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        shape = re.search(r"tensor with shape(\[[\d,]+\])", str(error))
        needed = f" for a tensor of shape {shape[1]}" if shape else ""
        return (
            f"expected memory{needed}; there is not enough. Take a smaller model, smaller batches, or smaller samples."
        )
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    is_extra = isinstance(error, ModuleNotFoundError) and "pip install" in str(error)  # One that is not installed.
    if is_extra or isinstance(error, (ValueError, OSError)):
        return str(error)
    # A tf.data pipeline turns a ValueError from reading a file into an error of its own, with a traceback inside.
    raised_inside = re.search(r"ValueError: (.*?)(\n\s*\n|Traceback|$)", str(error), re.DOTALL)
    if type(error).__module__.startswith("tensorflow.") and raised_inside:
        return raised_inside[1]
    return None


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__, prog_name="tfae")
@click.option("--traceback", is_flag=True, help="Show where in the code an error comes from.")
@click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Python module to import first, such as one that registers a loss; may be repeated.",
)
def main(traceback: bool, modules: tuple[str, ...]) -> None:
    """From a data set to a served autoencoder.

    SOURCE is the name of a data set (digits, breast_cancer, wine, diabetes; any of TFDS: mnist, fashion_mnist, …), a
    folder of images, or a .npy, .npz, .csv, .parquet or .tfrecord file. Tables may be in several files: a folder, or a
    pattern in quotes, "logs/**/*.csv". Guides to all of it: tfae docs.
    """
    ctx = click.get_current_context()
    # As one line, without its place in the code.
    warnings.showwarning = lambda message, *_, **__: click.echo(f"Warning: {in_options(message, ctx.obj)}", err=True)
    # SIGTERM unwinds the stack as Ctrl-C does, so that no half-written file stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress.log.handlers = [Echo()]
    click.get_current_context().call_on_close(progress.log.handlers.clear)
    progress.log.setLevel("INFO")
    progress.log.propagate = False  # Importing TensorFlow gives the root logger a handler.


for command in (advise, train, compare, evaluate, calibrate, score, reconstruct, export, inspect, serve, deploy, docs):
    main.add_command(command)
