"""Checkpoints: all that the rest of a training depends on, in one ``.npz`` each, whose checksums tell a damaged one.

Keras's BackupAndRestore goes back to the beginning of the epoch, without early stopping and history;
tf.train.CheckpointManager and Orbax keep trees of variables in several files.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfae.atomic_write import write_atomically
from tfae.schedule import schedule_of
from tfae.training.strategies import call_on_replicas, strategy_of


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes:
        epoch: Epochs that are complete.
        step: Batches of the next epoch that are done.
        is_last: Whether the training has come to its end.
        history: Losses of the complete epochs by name.
        early_decay: Attributes of the callback.
        variables: What ``values_of`` returns.
        best_weights: Of the best epoch so far, in the order of ``get_weights``; empty before the first one ends.
    """

    epoch: int = 0
    step: int = 0
    is_last: bool = False
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    early_decay: dict[str, Any] = dataclasses.field(default_factory=dict)
    variables: list[np.ndarray] = dataclasses.field(default_factory=list)
    best_weights: list[np.ndarray] = dataclasses.field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Write it to a folder, and delete all but the newest two.

        Raises:
            OSError: There is no room, or the folder can not be written to. The older ones are still there.
        """
        state = {name: value for name, value in vars(self).items() if name not in ("variables", "best_weights")}
        state["num_variables"] = len(self.variables)
        text = np.frombuffer(json.dumps(state).encode(), np.uint8)
        arrays = [*self.variables, *self.best_weights]
        write_atomically(
            folder / f"{self.epoch:06}-{self.step:09}.npz", lambda path: np.savez(path, *arrays, state=text)
        )
        for old in _newest_first(folder)[2:]:  # The newest stays, and one to fall back to.
            old.unlink()


def newest(folder: Path) -> Checkpoint:
    """Read the newest checkpoint of a folder that is not damaged.

    Warns:
        UserWarning: A damaged one was passed over.

    Raises:
        ValueError: There is none.
    """
    for path in _newest_first(folder):
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            # NumPy advises to unpickle what is no archive.
            reason = "" if "pickle" in str(error) else f" ({error})"
            warnings.warn(f"passed over {path}, which is damaged{reason}", stacklevel=3)
    raise ValueError(
        f"run_dir: expected a checkpoint to go on from; {folder.parent} has none that can be read. Begin again in "
        "another directory."
    )


def make_variables(autoencoder: keras.Model, shape: tuple[int, ...]) -> None:
    """Make all variables of a compiled model, those of the optimizer and the metrics too, as ``fit`` would."""
    x = tf.zeros((1, *shape))
    with autoencoder.distribute_strategy.scope():
        if not autoencoder.optimizer.built:  # That of mixed_float16 would make its variables anew.
            autoencoder.optimizer.build(autoencoder.trainable_variables)
        call_on_replicas(strategy_of(autoencoder), lambda: autoencoder.test_step((x, x)))
        autoencoder.reset_metrics()


def values_of(autoencoder: keras.Model, *, in_epoch: bool) -> list[np.ndarray]:
    """Copies of all that changes in training: weights, random states, metrics, variables of optimizer and schedule.

    Metrics count only ``in_epoch``, between the first and the last step of one; else they are 0. In an epoch all
    workers of a training have to ask, as the sums of their metrics are taken.
    """
    metrics = set() if in_epoch else {id(variable) for variable in autoencoder.metrics_variables}
    return [
        np.zeros(variable.shape, keras.backend.standardize_dtype(variable.dtype))
        if id(variable) in metrics
        else np.array(tf.convert_to_tensor(variable.value))
        for variable in _variables(autoencoder)
    ]


def assign(autoencoder: keras.Model, values: list[np.ndarray]) -> None:
    """Give a model the values that ``values_of`` returned.

    Raises:
        ValueError: They are of another model or optimizer.
    """
    variables = _variables(autoencoder)
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise ValueError(
            f"run_dir: expected a checkpoint of this model and optimizer, with {len(variables)} variables; received "
            f"one with {len(values)}, or of other shapes. Was it made by another version of Keras?"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _variables(autoencoder: keras.Model) -> list[keras.Variable]:
    schedule = schedule_of(autoencoder)
    of_schedule = [] if schedule is None else [schedule.variable]
    return [*autoencoder.variables, *autoencoder.metrics_variables, *autoencoder.optimizer.variables, *of_schedule]


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npz"), reverse=True)


def _read(path: Path) -> Checkpoint:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        state = json.loads(file["state"].tobytes())
        arrays = [_array(file[f"arr_{index}"]) for index in range(len(file.files) - 1)]
    num_variables = state.pop("num_variables")
    return Checkpoint(**state, variables=arrays[:num_variables], best_weights=arrays[num_variables:])


def _array(value: np.ndarray) -> np.ndarray:
    """``value`` in its dtype: NumPy's files know no bfloat16 and return its bytes."""
    return value.view(tf.bfloat16.as_numpy_dtype) if value.dtype.kind == "V" else value


def write_history(path: Path, history: dict[str, list[float]]) -> None:
    """Write the losses of every epoch, counted from 1, as CSV."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["epoch", *history])
    rows.writerows([epoch, *values] for epoch, values in enumerate(zip(*history.values(), strict=True), 1))
    write_atomically(path, text.getvalue())
