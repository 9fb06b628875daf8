"""A training that can be stopped, or killed, at any instant and goes on where it was."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfae.atomic_write import write_atomically
from tfae.training.checkpoint import Checkpoint, assign, values_of, variables_of
from tfae.training.directory import how_to_resume
from tfae.training.execution import Execution

# The most work that a kill costs, unless writing took more than a twentieth of that.
_SECONDS_BETWEEN = 10.0
_SECONDS_BETWEEN_EPOCHS = 1.0
_SHARE_OF_WRITING = 0.05
_EARLY_STOPPING_STATE = ("wait", "stopped_epoch", "best", "best_epoch")


class Interrupted(KeyboardInterrupt):
    """The training was stopped by a signal, and saved."""

    def __init__(self, directory: Path, config: dict[str, Any], when: str, signal_number: int) -> None:
        super().__init__(
            f"training: stopped {when}, and saved. Go on with {how_to_resume(directory, config)}, or keep the best "
            f"epoch so far with {how_to_resume(directory, config, finish=True)}."
        )
        self.signal_number = signal_number


class Safekeeping(keras.callbacks.Callback):
    """Writes checkpoints and the history of a training; the last of its callbacks."""

    def __init__(
        self,
        directory: Path,
        config: dict[str, Any],
        execution: Execution,
        history: keras.callbacks.History,
        early_stopping: keras.callbacks.EarlyStopping,
        start: Checkpoint,
    ) -> None:
        super().__init__()
        self.epoch = 0
        self.step = 0
        self.last = start
        self._directory = directory
        self._config = config
        self._execution = execution
        self._history = history
        self._early_stopping = early_stopping
        self._start: Checkpoint | None = start
        self.signal_number: int | None = None
        self._written = -math.inf  # when, by the monotonic clock
        self._seconds_to_write = 0.0

    @property
    def when(self) -> str:
        """Where the training is, in words."""
        if not self.step:
            return f"after epoch {self.epoch}" if self.epoch else "before its first epoch"
        return f"in epoch {self.epoch + 1}, after batch {self.step} of {self.params['steps']}"

    def on_train_begin(self, logs: Any = None) -> None:
        """Give the other callbacks, which begin anew, their state back."""
        self._history.history = {name: list(values) for name, values in self.last.history.items()}
        self._history.epoch = list(range(self.last.epoch))
        vars(self._early_stopping).update(self.last.early_stopping)
        self._early_stopping.best_weights = self.last.best_weights or None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Restore the variables, once ``fit`` has reset the metrics."""
        self.epoch, self.step = epoch, 0
        if self._start is not None:
            assign(variables_of(self.model), self._start.variables)
            if self._start.step == 0:
                self.model.reset_metrics()  # They were those of the validation.
            self._execution.num_skipped = self._start.step
            self._start = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save when it is time."""
        is_done_already = self._execution.num_skipped > 0
        self.step = min(self.step + self._execution.steps, self.params["steps"])
        if is_done_already:
            if self.signal_number is not None:  # Nothing has changed since the checkpoint.
                raise Interrupted(self._directory, self._config, self.when, self.signal_number)
            return
        if self.signal_number is not None:
            self._stop()
        if self._is_time(_SECONDS_BETWEEN):
            self._save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save, unless it was a moment ago."""
        if not math.isfinite((logs or {})["val_loss"]):
            raise ValueError(
                f"training: expected a finite validation loss; received {logs['val_loss']} after epoch {epoch + 1}. "
                "Lower the learning rate, clip the gradients (clipnorm of the optimizer), or look for extreme values "
                f"in the validation split. What is good of the training is in {self._directory}."
            )
        self.epoch, self.step = epoch + 1, 0
        is_last = self.model.stop_training or self.epoch == self.params["epochs"]
        if is_last or self._is_time(_SECONDS_BETWEEN_EPOCHS):
            self._save(is_last=is_last)
        if self.signal_number is not None and not is_last:
            self._stop()

    @contextlib.contextmanager
    def waiting_signals(self) -> Iterator[None]:
        """Let a first Ctrl-C, or order to stop, wait for the end of the steps under way; a second one does not wait."""
        if threading.current_thread() is not threading.main_thread():  # Only that one receives signals.
            yield
            return
        previous = {
            number: handler
            for number in (signal.SIGINT, signal.SIGTERM)
            if (handler := signal.getsignal(number)) is not None  # None is one that was not installed by Python.
        }

        def on_signal(number: int, frame: Any) -> None:
            self.signal_number = number
            for each, handler in previous.items():
                signal.signal(each, handler)
            with contextlib.suppress(OSError, RuntimeError, ValueError):  # Whoever read it may be gone, as tee is.
                print("\nStopping after the steps under way; once more to stop at once.", file=sys.stderr, flush=True)

        for number in previous:
            signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _is_time(self, seconds: float) -> bool:
        return time.monotonic() - self._written > max(seconds, self._seconds_to_write / _SHARE_OF_WRITING)

    def _stop(self) -> None:
        if (self.last.epoch, self.last.step) != (self.epoch, self.step):
            self._save()
        assert self.signal_number is not None
        raise Interrupted(self._directory, self._config, self.when, self.signal_number)

    def _save(self, *, is_last: bool = False) -> None:
        began = time.monotonic()
        checkpoint = Checkpoint(
            epoch=self.epoch,
            step=self.step,
            is_last=is_last,
            history={name: list(values) for name, values in self._history.history.items()},
            early_stopping={name: vars(self._early_stopping).get(name) for name in _EARLY_STOPPING_STATE},
            variables=values_of(variables_of(self.model)),
            best_weights=self._early_stopping.best_weights or [],
        )
        if not is_last and not all(np.isfinite(values.astype("float64")).all() for values in checkpoint.variables):
            return  # The loss of the next batch will tell; the older checkpoints are the good ones.
        try:
            write_history(self._directory / "history.csv", self._history.history)
            checkpoint.write(self._directory / "checkpoints")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"run_dir: expected to write a checkpoint to {self._directory}; received {error}. The last "
                f"checkpoint is kept: make room, and go on with {how_to_resume(self._directory, self._config)}."
            ) from error
        self.last = checkpoint
        self._written = time.monotonic()
        self._seconds_to_write = self._written - began


def write_history(path: Path, history: dict[str, list[float]]) -> None:
    """Write the losses of every epoch as CSV, the columns as Keras's CSVLogger has them."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["epoch", *history])
    rows.writerows([epoch, *values] for epoch, values in enumerate(zip(*history.values(), strict=True)))
    write_atomically(path, text.getvalue())
