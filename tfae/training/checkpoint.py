"""Checkpoints: all that the rest of a training depends on, one file each, whole or not there.

Keras's BackupAndRestore keeps the weights and the optimizer, but not the early stopping, the history or the metrics of
a half epoch, and goes back to its beginning; tf.train.CheckpointManager and Orbax keep trees of variables in several
files. Here all is one ``.npz``, whose members carry the checksums by which a damaged one is found.
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
from tfae.training.schedule import schedule_of

#: The newest, and one to fall back to.
NUM_KEPT = 2


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a training between two steps.

    Attributes:
        epoch: Epochs that are complete.
        step: Batches of the next epoch that are done.
        is_last: Whether the training has come to its end.
        history: Losses of the complete epochs by name.
        early_decay: Attributes of the callback.
        variables: Values of model, metrics and optimizer, in the order of ``variables_of``.
        best_weights: Of the best epoch so far, in the order of ``get_weights``; empty before the first one ends.
    """

    epoch: int
    step: int
    is_last: bool
    history: dict[str, list[float]]
    early_decay: dict[str, Any]
    variables: list[np.ndarray]
    best_weights: list[np.ndarray]

    def write(self, folder: Path) -> None:
        """Write it to a folder, and delete all but the newest.

        Raises:
            OSError: There is no room, or the folder can not be written to. The older ones are still there.
        """
        lists = {"variables": self.variables, "best_weights": self.best_weights}
        state = {
            **{name: value for name, value in vars(self).items() if name not in lists},
            **{f"num_{name}": len(values) for name, values in lists.items()},
        }
        arrays: dict[str, Any] = {
            f"{name}_{index}": value for name, values in lists.items() for index, value in enumerate(values)
        }
        arrays["state"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
        write_atomically(folder / f"{self.epoch:06}-{self.step:09}.npz", lambda path: np.savez(path, **arrays))
        for old in _newest_first(folder)[NUM_KEPT:]:
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
        except (
            OSError,
            ValueError,
            KeyError,
            EOFError,
            NotImplementedError,
            RuntimeError,
            zipfile.BadZipFile,
        ) as error:
            warnings.warn(f"passed over {path}, which is damaged ({error})", stacklevel=3)
    raise ValueError(
        f"run_dir: expected a checkpoint to go on from; {folder.parent} has none. Begin again with another run_dir."
    )


def variables_of(autoencoder: keras.Model) -> list[keras.Variable]:
    """All variables that change in training: weights, random states, metrics, those of optimizer and schedule."""
    schedule = schedule_of(autoencoder)
    return [
        *autoencoder.variables,
        *autoencoder.metrics_variables,
        *autoencoder.optimizer.variables,
        *([] if schedule is None else [schedule.variable]),
    ]


def build(autoencoder: keras.Model) -> None:
    """Make all variables of a compiled model, those of the optimizer and the metrics too, as ``fit`` would."""
    if not autoencoder.optimizer.built:  # That of mixed_float16 would make its variables anew.
        autoencoder.optimizer.build(autoencoder.trainable_variables)
    x = tf.zeros((1, *autoencoder.input_shape[1:]))
    autoencoder.test_step((x, x))
    autoencoder.reset_metrics()


def values_of(variables: list[keras.Variable]) -> list[np.ndarray]:
    """Copies of the values of variables."""
    return [np.array(variable.value) for variable in variables]


def assign(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    """Give variables the values that ``values_of`` returned.

    Raises:
        ValueError: They are not of as many, or of these, variables.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [value.shape for value in values]:
        raise ValueError(
            f"run_dir: expected a checkpoint of this model and optimizer, with {len(shapes)} variables; received "
            f"one with {len(values)}, or of other shapes. Was it made by another version of Keras?"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npz"), reverse=True)


def _read(path: Path) -> Checkpoint:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        state = json.loads(file["state"].tobytes())
        num_variables, num_best_weights = state.pop("num_variables"), state.pop("num_best_weights")
        return Checkpoint(
            **state,
            variables=[_array(file[f"variables_{index}"]) for index in range(num_variables)],
            best_weights=[_array(file[f"best_weights_{index}"]) for index in range(num_best_weights)],
        )


def _array(value: np.ndarray) -> np.ndarray:
    """``value`` in its dtype: NumPy's files know no bfloat16 and return its bytes."""
    return value.view(tf.bfloat16.as_numpy_dtype) if value.dtype.kind == "V" else value


def write_history(path: Path, history: dict[str, list[float]]) -> None:
    """Write the losses of every epoch as CSV, the columns as Keras's CSVLogger has them."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["epoch", *history])
    rows.writerows([epoch, *values] for epoch, values in enumerate(zip(*history.values(), strict=True)))
    write_atomically(path, text.getvalue())
