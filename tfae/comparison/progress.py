"""How far the runs of a comparison are, on a terminal, or a line for each of them elsewhere."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import tensorflow as tf
from rich.progress import ProgressColumn, Task
from rich.text import Text


class EpochColumn(ProgressColumn):
    """The epoch that the run under way is in, from the lines of its history."""

    def render(self, task: Task) -> Text:
        """``epoch 3/30``."""
        history, epochs = task.fields["directory"] / "history.csv", task.fields["epochs"]
        # There is none before the first checkpoint; its first line is a heading.
        num_lines = len(history.read_text(encoding="utf-8").splitlines()) if history.exists() else 1
        return Text(f"epoch {min(max(num_lines, 1), epochs)}/{epochs}")


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
