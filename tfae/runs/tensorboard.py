"""Logs for TensorBoard, an extra."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfae import report
from tfae.datasets import Data


def check_installed() -> None:
    """Check that logs can be written.

    Raises:
        ValueError: If TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ValueError('tensorboard: expected the extra to be installed. Run pip install "tfae[tensorboard]".')


def callbacks(directory: Path, data: Data) -> list[keras.callbacks.Callback]:
    """Keras's own logs and, of images, the first reconstructions of every epoch beside their originals."""
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
