"""The course of a training: ``fit`` from a checkpoint to the end, and what is made of its result."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfae import report
from tfae.atomic_write import write_atomically
from tfae.datasets import Data
from tfae.evaluation import evaluate
from tfae.training import tensorboard
from tfae.training.checkpoint import Checkpoint
from tfae.training.directory import how_to_resume
from tfae.training.execution import Execution, NonFiniteLossError
from tfae.training.run import Run
from tfae.training.safekeeping import Interrupted, Safekeeping, write_history


def fit(
    autoencoder: keras.Model,
    data: Data,
    directory: Path,
    config: dict[str, Any],
    execution: Execution,
    *,
    start: Checkpoint,
    verbose: str | int,
) -> Checkpoint:
    """Train from ``start`` to the end, and return the last checkpoint."""
    history = keras.callbacks.History()
    early_stopping = keras.callbacks.EarlyStopping("val_loss", patience=config["patience"], restore_best_weights=True)
    keeping = Safekeeping(directory, config, execution, history, early_stopping, start)
    callbacks = [history, early_stopping]
    if config["tensorboard"]:
        callbacks += tensorboard.callbacks(directory / "tensorboard", data)
    callbacks.append(keeping)
    steps_before = autoencoder.steps_per_execution
    execution.install()
    try:
        with keeping.waiting_signals(), _plain_errors_of(data):
            autoencoder.fit(
                data.train_from(start.epoch),
                validation_data=data.validation,
                initial_epoch=start.epoch,
                epochs=config["epochs"],
                callbacks=callbacks,
                verbose=verbose,
                shuffle=False,  # data.train brings its own order.
            )
    except BaseException as error:
        for callback in callbacks[2:-1]:  # They hold open files, which fit did not come to close.
            callback.on_train_end()
        if isinstance(error, NonFiniteLossError):
            raise _named(error, keeping, data, directory, config) from error
        raise
    finally:
        autoencoder.train_function = autoencoder.test_function = autoencoder.predict_function = None
        autoencoder.steps_per_execution = steps_before
    if keeping.signal_number is not None:  # It came at the very end.
        raise Interrupted(directory, config, "after its last epoch", keeping.signal_number)
    return keeping.last


def finish(autoencoder: keras.Model, data: Data, directory: Path, config: dict[str, Any], last: Checkpoint) -> Run:
    """Keep the best epoch, evaluate and draw it, and declare the run finished.

    Raises:
        ValueError: There is no room for what a finished run holds; the checkpoints stay.
    """
    try:
        return _finished(autoencoder, data, directory, config, last)
    except OSError as error:
        raise ValueError(
            f"run_dir: expected to write the finished run to {directory}; received {error}. Nothing of the training is "
            f"lost: make room, and go on with {how_to_resume(directory, config)}."
        ) from error


def _finished(autoencoder: keras.Model, data: Data, directory: Path, config: dict[str, Any], last: Checkpoint) -> Run:
    autoencoder.set_weights(last.best_weights)
    write_history(directory / "history.csv", last.history)
    write_atomically(directory / "model.keras", autoencoder.save)
    with _plain_errors_of(data):
        measures = evaluate(
            autoencoder,
            data.test,
            train=data.train_from(0),
            data_range=data.preprocessing.value_range,
            ignore=config["ignore"],
        )
        report.draw_pictures(autoencoder, data, last.history, directory / "pictures")
    report.write_run_page(directory / "report.html", data, config, last.history, measures, directory / "pictures")
    write_atomically(directory / "evaluation.json", as_json(measures.as_dict()))
    shutil.rmtree(directory / "checkpoints")
    return Run(directory, autoencoder, data.preprocessing, config, measures)


@contextlib.contextmanager
def _plain_errors_of(data: Data) -> Iterator[None]:
    """Raise what went wrong in reading data, not TensorFlow's account of it."""
    try:
        yield
    except tf.errors.OpError as error:
        if data.defect is None:
            raise
        raise data.defect from error


def _named(
    error: NonFiniteLossError, keeping: Safekeeping, data: Data, directory: Path, config: dict[str, Any]
) -> ValueError:
    """The error with the place in the training at which it came up."""
    last = keeping.last
    batch = keeping.step + error.index
    samples = data.training_batch(keeping.epoch, batch)
    remedy = f"; {how_to_resume(directory, config, finish=True)} keeps the best epoch" if last.best_weights else ""
    return ValueError(
        f"training: expected a finite loss; received NaN or infinity in epoch {keeping.epoch + 1}, batch {batch + 1}, "
        f"of the training samples {', '.join(map(str, samples[:8]))}{', …' if len(samples) > 8 else ''}. Lower the "
        "learning rate, clip the gradients (clipnorm of the optimizer), or look for extreme values in these samples. "
        f"The last good weights, of epoch {last.epoch + 1} after {last.step} batches, are in "
        f"{directory / 'checkpoints'}{remedy}."
    )


def build(autoencoder: keras.Model) -> None:
    """Make all variables of a compiled model, those of the optimizer and the metrics too, as ``fit`` would."""
    if not autoencoder.optimizer.built:  # That of mixed_float16 would make its variables anew.
        autoencoder.optimizer.build(autoencoder.trainable_variables)
    x = tf.zeros((1, *autoencoder.input_shape[1:]))
    autoencoder.test_step((x, x))
    autoencoder.reset_metrics()


def as_json(value: Any) -> str:
    """The text of a JSON file."""
    return json.dumps(value, indent=2) + "\n"
