"""What made a model: the facts that run directories and exported models write down."""

from __future__ import annotations

import datetime
import platform
from typing import Any

import keras
import tensorflow as tf

import tfae
from tfae.losses import get_loss


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of the libraries that the numbers depend on."""
    return {
        "tfae": tfae.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }


def model(autoencoder: keras.Model) -> dict[str, Any]:
    """Name, number of parameters and width of the latent."""
    return {
        "name": autoencoder.name,
        "parameters": autoencoder.count_params(),
        "latent_dim": autoencoder.get_layer("encoder").output_shape[-1],
    }


def loss(autoencoder: keras.Model) -> dict[str, Any]:
    """Class and arguments of the loss that the model is compiled with."""
    reconstruction_loss = get_loss(autoencoder)
    return {"class_name": type(reconstruction_loss).__name__, **reconstruction_loss.get_config()}
