"""A training that can be stopped, or killed, at any instant and goes on where it was."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import keras
import numpy as np

from tfae.schedule import EarlyDecay, cover, schedule_of
from tfae.training.checkpoint import Checkpoint, assign, newest, values_of, write_history
from tfae.training.execution import MORE_STABLE, Execution

# The most work that a kill costs, unless writing took more than a twentieth of that.
_SECONDS_BETWEEN = 10.0
_SECONDS_BETWEEN_EPOCHS = 1.0
_SHARE_OF_WRITING = 0.05
_STATE_OF_EARLY_DECAY = ("wait", "best", "best_epoch")


@final
class Interrupted(KeyboardInterrupt):
    """A signal stopped what was under way, and it is saved; ``signal_number`` is the signal's."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number


@final
class CheckpointCallback(keras.callbacks.Callback):
    """Writes checkpoints of a training, and goes on from the newest one; pass it as the last of the callbacks.

    A checkpoint holds the weights, the optimizer, the random states, the metrics of a half epoch, the history and the
    early decay. On a CPU a training that goes on ends with the same bits as one that was not stopped. Checkpoints are
    written at the ends of epochs and every ten seconds, or less often where writing one takes more than half a second.

    Args:
        directory: Where to write ``checkpoints/*.npz``, the newest two, and ``history.csv``, the losses by epoch.
        early_decay: The one among the callbacks, if there is one.
        start: Checkpoint to go on from; None for the newest in the directory, or the beginning where there is none.
        how_to_resume: What errors tell the user to call.

    Attributes:
        epoch: Epochs that are done: ``initial_epoch`` of ``fit``.
        last: The newest checkpoint; before the first, one without values.

    Example:
        >>> import tempfile, tfae
        >>> data = tfae.datasets.load("digits")
        >>> autoencoder = tfae.models.dense(data.shape, latent_dim=16)
        >>> tfae.training.compile(autoencoder, tfae.losses.SquaredError(), data, epochs=2)
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     for epochs in (1, 2):  # The second call goes on with the second epoch.
        ...         checkpoints = CheckpointCallback(directory)
        ...         options = {"initial_epoch": checkpoints.epoch, "epochs": epochs, "verbose": 0, "shuffle": False}
        ...         train = data.train_from(checkpoints.epoch)
        ...         _ = autoencoder.fit(train, validation_data=data.validation, callbacks=[checkpoints], **options)
        >>> checkpoints.epoch
        2
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        early_decay: EarlyDecay | None = None,
        *,
        start: Checkpoint | None = None,
        how_to_resume: str = "the same call",
    ) -> None:
        super().__init__()
        self._directory = Path(directory)
        self._folder = self._directory / "checkpoints"
        self._early_decay = early_decay
        self._how_to_resume = how_to_resume
        if start is None and any(self._folder.glob("*.npz")):
            start = newest(self._folder)
        self._start = start
        self.last = start or Checkpoint()
        self.epoch = self.last.epoch
        self.step = 0
        self._history = {name: list(values) for name, values in self.last.history.items()}
        self._signal_number: int | None = None
        self._written = -math.inf  # when, by the monotonic clock
        self._seconds_to_write = 0.0

    @property
    def _execution(self) -> Execution:
        if not isinstance(self.model.train_function, Execution):
            raise ValueError(
                "callbacks: expected CheckpointCallback with a model that tfae.training.compile compiled; received one "
                "that was compiled otherwise."
            )
        return self.model.train_function

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Restore the checkpoint, once ``fit`` has reset the metrics and the other callbacks have begun anew."""
        execution, start, self._start = self._execution, self._start, None
        self.epoch, self.step = epoch, 0
        if start is None:
            return
        if epoch != start.epoch:
            raise ValueError(f"initial_epoch: expected {start.epoch}, as in the checkpoint; received {epoch}.")
        assign(self.model, start.variables)
        if start.step == 0:
            self.model.reset_metrics()  # They were those of the validation.
        execution.num_skipped = start.step
        schedule = schedule_of(self.model)
        if schedule is not None and not schedule.decays_early:  # More epochs may be asked for than before.
            cover(self.model, (self.params["epochs"] - epoch) * self.params["steps"] - start.step)
        if self._early_decay is not None:
            for name, value in {**start.early_decay, "best_weights": start.best_weights or None}.items():
                setattr(self._early_decay, name, value)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save when it is time."""
        self.step = min(self.step + self._execution.steps, self.params["steps"])
        is_time = self._execution.is_chief and self._is_time(_SECONDS_BETWEEN)
        must_save, must_stop = self._execution.agree(is_time, self._signal_number is not None)
        if must_save or must_stop:
            self._save()
        if must_stop:
            self._signal_number = self._signal_number or signal.SIGTERM  # It came to another worker.
            self.raise_interrupted(f"in epoch {self.epoch + 1}, after batch {self.step} of {self.params['steps']}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save, unless it was a moment ago."""
        logs = logs or {}
        if not math.isfinite(logs.get("val_loss", 0.0)):
            raise ValueError(
                f"training: expected a finite validation loss; received {logs['val_loss']} after epoch {epoch + 1}. "
                f"{MORE_STABLE} in the validation split. What is good of the training is in {self._directory}."
            )
        for name, value in logs.items():
            self._history.setdefault(name, []).append(value)
        self.epoch, self.step = epoch + 1, 0
        if self.model.stop_training or self.epoch == self.params["epochs"]:
            self._save(is_last=True)
            return
        # With other workers, which have to stop at the same place, after the next step.
        must_stop = self._signal_number is not None and not self._execution.has_others
        if must_stop or self._is_time(_SECONDS_BETWEEN_EPOCHS):
            self._save()
        if must_stop:
            self.raise_interrupted(f"after epoch {self.epoch}")

    @contextlib.contextmanager
    def delay_signals(self) -> Iterator[None]:
        """Let a first Ctrl-C, or order to stop, wait for the end of the steps under way; a second one does not wait.

        ``fit`` then raises :class:`Interrupted`, after a checkpoint.
        """
        if threading.current_thread() is not threading.main_thread():  # Only that one receives signals.
            yield
            return
        previous = {
            number: handler
            for number in (signal.SIGINT, signal.SIGTERM)
            if (handler := signal.getsignal(number)) is not None  # None is one that was not installed by Python.
        }

        def on_signal(number: int, frame: Any) -> None:
            self._signal_number = number
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

    def raise_interrupted(self, when: str) -> None:
        """Raise :class:`Interrupted` if a signal came; ``when`` is where the training is, in words."""
        if self._signal_number is not None:
            raise Interrupted(
                f"training: stopped {when}, and saved. Go on with {self._how_to_resume}.", self._signal_number
            )

    def _is_time(self, seconds: float) -> bool:
        return time.monotonic() - self._written > max(seconds, self._seconds_to_write / _SHARE_OF_WRITING)

    def _save(self, *, is_last: bool = False) -> None:
        if (self.epoch, self.step) <= (self.last.epoch, self.last.step) and not is_last:
            return  # Nothing has changed since the checkpoint.
        began = time.monotonic()
        early_decay = {} if self._early_decay is None else vars(self._early_decay)
        checkpoint = Checkpoint(
            epoch=self.epoch,
            step=self.step,
            is_last=is_last,
            history={name: list(values) for name, values in self._history.items()},
            early_decay={name: early_decay[name] for name in _STATE_OF_EARLY_DECAY if early_decay},
            variables=values_of(self.model, in_epoch=self.step > 0),
            best_weights=early_decay.get("best_weights") or [],
        )
        if not is_last and not all(np.isfinite(values.astype("float64")).all() for values in checkpoint.variables):
            return  # The loss of the next batch will tell; the older checkpoints are the good ones.
        self.last = checkpoint
        if not self._execution.is_chief:
            return
        try:
            write_history(self._directory / "history.csv", self._history)
            checkpoint.write(self._folder)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"directory: expected to write a checkpoint to {self._directory}; received {error}. The last "
                f"checkpoint is kept: make room, and go on with {self._how_to_resume}."
            ) from error
        self._written = time.monotonic()
        self._seconds_to_write = self._written - began
