"""How far the runs of a comparison are, on a terminal, or a line for each of them elsewhere."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text


class EpochColumn(ProgressColumn):
    """The epoch that the run under way is in, from the lines of its history."""

    def render(self, task: Task) -> Text:
        """``epoch 3/30``."""
        history, epochs = task.fields.get("history"), task.fields["epochs"]
        if history is None or task.finished:
            return Text()
        try:
            num_done = len(history.read_text(encoding="utf-8").splitlines()) - 1
        except OSError:  # There is none before the first checkpoint.
            num_done = 0
        return Text(f"epoch {min(max(num_done, 0) + 1, epochs)}/{epochs}")


class RunProgress(Progress):
    """Shows on stderr, if ``verbose``, which run is under way and how many are done, and a line for each that is."""

    def __init__(self, num_runs: int, epochs: int, *, verbose: bool) -> None:
        bar = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(stderr=True, quiet=not verbose)
        super().__init__(*bar, EpochColumn(), TimeElapsedColumn(), console=console, transient=True)
        self._runs = self.add_task("", total=num_runs, epochs=epochs)

    def begin(self, title: str, directory: Path) -> None:
        """Show what runs: in a log, by a line."""
        if not self.console.is_terminal:
            self.console.print(f"{title}: training", highlight=False, markup=False, soft_wrap=True)
        self.update(self._runs, description=title, history=directory / "history.csv")

    def end(self, line: str) -> None:
        """Count a run, and leave a line behind."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
        self.advance(self._runs)


@contextlib.contextmanager
def without_retracing_warnings() -> Iterator[None]:
    """Keep TensorFlow from warning of functions that are traced again and again, as long as the block lasts.

    It tells functions apart by their place in the source, and there every model of a comparison looks like the last.
    """

    def is_other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = tf.get_logger()
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)
