"""One training run in a run directory, which holds all that is needed to look at it, repeat it and export it.

runs/<name>/
    config.json         what was trained on what, and with which versions
    history.csv         the losses of every epoch, written as they come
    model.keras         the weights of the best epoch, compiled with the loss
    preprocessing.json  from data space to model space
    evaluation.json     the measures on the test split
    pictures/*.png      reconstructions, training curves, embedding, scores
    report.md           all of it on one page
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfae import provenance, report
from tfae.datasets import Data, load
from tfae.evaluation import Evaluation, evaluate
from tfae.losses import DOMAIN_TOLERANCE, ReconstructionLoss, loss_of
from tfae.preprocessing import Preprocessing
from tfae.staging import write_staged


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        directory: The run directory.
        autoencoder: The model, with the weights of the epoch of least validation loss.
        preprocessing: The scaling that it was trained behind.
        config: What ``config.json`` holds.
        evaluation: The measures on the test split.
    """

    directory: Path
    autoencoder: keras.Model
    preprocessing: Preprocessing
    config: dict[str, Any]
    evaluation: Evaluation

    def load_data(self) -> Data:
        """Load the data that the run was trained on once more, split and scaled as it was then.

        Raises:
            ValueError: If it came from memory, or is no longer there.
        """
        arguments = self.config["data"]["arguments"]
        if arguments is None:
            raise ValueError(f"run_dir: expected a run on a file or a named data set; {self.directory} had arrays.")
        data = load(**arguments)
        if data.digest != self.config["data"]["digest"]:
            raise ValueError(
                f"run_dir: expected the data that {self.directory} was trained on; {arguments['source']!r} has changed "
                "since. Name it as another source to measure the model on what it holds now."
            )
        return data


def train(
    autoencoder: keras.Model,
    data: Data,
    *,
    run_dir: str | os.PathLike[str],
    epochs: int = 30,
    patience: int = 5,
    tensorboard: bool = False,
    verbose: str | int = "auto",
) -> Run:
    """Train, evaluate, and leave everything in a run directory.

    The training is Keras's own ``fit``, stopped when the validation loss has not improved for ``patience`` epochs, or
    by Ctrl-C once an epoch is complete; the weights of its best epoch are kept.

    Args:
        autoencoder: Model compiled with a loss of :mod:`tfae.losses`.
        data: What to train on; training and validation split steer the training, the test split is only evaluated.
        run_dir: A new or empty directory.
        epochs: Epochs at most.
        patience: Epochs without improvement after which to stop.
        tensorboard: Whether to write TensorBoard logs with reconstructions of every epoch, to ``run_dir/tensorboard``;
            needs the extra ``tfae[tensorboard]``.
        verbose: As in ``fit``.

    Returns:
        The run, with its evaluation on the test split.

    Raises:
        ValueError: If the directory is in use or can not be written to, the model is not compiled with a tfae loss,
            data lies outside the loss's domain, or the loss stops being finite.
    """
    loss = loss_of(autoencoder)
    check_domain(loss, data)
    directory = Path(run_dir)
    early_stopping = keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True)
    callbacks = [
        keras.callbacks.CSVLogger(directory / "history.csv"),
        keras.callbacks.TerminateOnNaN(),
        early_stopping,
    ]
    if tensorboard:
        callbacks += _tensorboard_callbacks(directory / "tensorboard", data)
    _claim(directory)
    config = _describe(autoencoder, data, epochs=epochs, patience=patience)
    write_staged(directory / "config.json", _json(config))
    write_staged(directory / "preprocessing.json", _json(data.preprocessing.get_config()))
    try:
        autoencoder.fit(
            data.train,
            validation_data=data.validation,
            epochs=epochs,
            callbacks=callbacks,
            verbose=verbose,
            shuffle=False,  # data.train brings its own order.
        )
    except KeyboardInterrupt:
        for callback in callbacks:  # They hold open files, which fit did not come to close.
            callback.on_train_end()
        if early_stopping.best_weights is None:
            raise
        autoencoder.set_weights(early_stopping.best_weights)
    history = autoencoder.history.history
    if not np.isfinite(history["loss"]).all() or not np.isfinite(history["val_loss"]).all():
        raise ValueError(
            f"training: the loss stopped being finite in epoch {len(history['loss'])}. Lower the learning rate, clip "
            f"the gradients (clipnorm of the optimizer), or look for extreme values in the data. What there is, is in "
            f"{directory}."
        )
    write_staged(directory / "model.keras", autoencoder.save)
    measures = evaluate(autoencoder, data.test, data_range=data.preprocessing.value_range)
    write_staged(directory / "evaluation.json", _json(measures.as_dict()))
    report.draw_pictures(autoencoder, data, history, directory / "pictures")
    report.write_page(directory / "report.md", config, history, measures, directory / "pictures")
    return Run(directory, autoencoder, data.preprocessing, config, measures)


def load_run(run_dir: str | os.PathLike[str]) -> Run:
    """Load a finished run.

    Args:
        run_dir: What :func:`train` was given.

    Raises:
        ValueError: If there is no finished run.
    """
    directory = Path(run_dir)
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        preprocessing = json.loads((directory / "preprocessing.json").read_text(encoding="utf-8"))
        measures = json.loads((directory / "evaluation.json").read_text(encoding="utf-8"))
        autoencoder = keras.models.load_model(directory / "model.keras")
    except (OSError, ValueError) as error:
        exported = any(directory.glob("saved_model.pb")) or any(directory.glob("*/saved_model.pb"))
        reason: object = error
        if exported:
            reason = "an exported model, which tfae score takes"
        elif isinstance(error, OSError):
            reason = "which holds none"
        raise ValueError(
            f"run_dir: expected the directory of a finished run; received {directory} ({reason})."
        ) from error
    return Run(directory, autoencoder, Preprocessing.from_config(preprocessing), config, Evaluation(**measures))


def check_domain(loss: ReconstructionLoss, data: Data) -> None:
    """Refuse data on which the loss is not defined.

    Cross-entropy of x outside [0, 1] has no lower bound: the model would be paid for being wrong.

    Args:
        loss: The loss; its ``domain`` counts.
        data: All three splits are looked at.

    Raises:
        ValueError: If a split leaves the domain.
    """
    if loss.domain is None:
        return
    for split, samples in zip(data.raw._fields, data.raw, strict=True):
        # The scaling is monotone in every element, so that the bounds of the data give those in model space.
        bounds = data.preprocessing(np.stack([samples.min(axis=0), samples.max(axis=0)])).numpy()
        low, high = float(bounds.min()), float(bounds.max())
        if low < loss.domain[0] - DOMAIN_TOLERANCE or high > loss.domain[1] + DOMAIN_TOLERANCE:
            remedy = (
                "declare a value_range=(low, high) that holds the raw values of all splits"
                if data.preprocessing.method == "unit"
                else 'use preprocessing="unit"'
            )
            raise ValueError(
                f"loss: {type(loss).__name__} is defined on {list(loss.domain)}; the {split} split spans "
                f'[{low:.4g}, {high:.4g}] after preprocessing "{data.preprocessing.method}". Choose SquaredError or '
                f"AbsoluteError, or {remedy}."
            )


def _claim(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise ValueError(f"run_dir: expected a new or empty directory; received {directory}, which is in use.")
        (directory / "config.json").touch(exist_ok=False)
    except OSError as error:
        raise ValueError(f"run_dir: expected a directory to write to; received {directory} ({error}).") from error


def _describe(autoencoder: keras.Model, data: Data, *, epochs: int, patience: int) -> dict[str, Any]:
    optimizer = keras.optimizers.serialize(autoencoder.optimizer)
    return {
        "created": provenance.now(),
        "data": data.describe(),
        "model": provenance.model(autoencoder),
        "loss": provenance.loss(autoencoder),
        "optimizer": {"class_name": optimizer["class_name"], **optimizer["config"]},
        "epochs": epochs,
        "patience": patience,
        "versions": provenance.versions(),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _tensorboard_callbacks(directory: Path, data: Data) -> list[keras.callbacks.Callback]:
    """Keras's own logs and, of images, the first reconstructions of every epoch beside their originals."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError('tensorboard: expected the extra to be installed. Run pip install "tfae[tensorboard]".')
    logs = keras.callbacks.TensorBoard(directory, write_graph=False)
    if data.kind != "image" or data.shape[-1] not in (1, 3, 4):
        return [logs]
    x, _ = next(iter(data.validation.unbatch().batch(report.NUM_PICTURED)))

    def write_reconstructions(epoch: int, _: Any = None) -> None:
        model = logs.model
        rows = tf.concat([x, model.loss.reconstruction(model(x, training=False))], axis=1)
        low, high = data.preprocessing.value_range or (float(tf.reduce_min(x)), float(tf.reduce_max(x)))
        pictures = tf.clip_by_value((rows - low) / (high - low), 0, 1)
        with tf.summary.create_file_writer(str(directory / "images")).as_default():
            tf.summary.image("original above reconstruction", pictures, step=epoch, max_outputs=report.NUM_PICTURED)

    return [logs, keras.callbacks.LambdaCallback(on_epoch_end=write_reconstructions)]
