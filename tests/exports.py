"""Autoencoders to export, and samples for them."""

import numpy as np

from tfae import models, preprocessing
from tfae.losses import SquaredError

DIGITS = np.random.default_rng(0).integers(0, 17, (30, 8, 8, 1)).astype("uint8")
TABLE = np.random.default_rng(0).normal([5, -1e5], [0.1, 50], (30, 2))


def built(samples=DIGITS, loss=None, method="unit", build=models.dense, **arguments):
    """A compiled model, with random weights, and the preprocessing of these samples."""
    loss = loss or SquaredError()
    kind, value_range = ("image", (0, 16)) if samples.ndim == 4 else ("table", None)
    fitted = preprocessing.fit(method, samples, kind=kind, value_range=value_range)
    output_range = fitted.value_range if kind == "image" else None
    model = build(samples.shape[1:], latent_dim=3, output_activation=loss.output_activation(output_range), **arguments)
    model.compile("adam", loss=loss)
    return model, fitted
