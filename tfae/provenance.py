"""What made a model: the facts that run directories and exported models write down."""

from __future__ import annotations

import datetime
import platform
from typing import Any

import keras
import tensorflow as tf

import tfae
from tfae.losses import get_loss
from tfae.models import bottlenecks_of
from tfae.models.structure import latent_dim_of


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


def model(autoencoder: keras.Model, shape: tuple[int, ...]) -> dict[str, Any]:
    """Name, number of parameters, number of elements of the latent of a sample, None without any, and bottlenecks.

    Of a bottleneck with a penalty these are its class and arguments, such as the score of a variational autoencoder.
    """
    latent_dim = latent_dim_of(autoencoder, shape)
    return {
        "name": autoencoder.name,
        "parameters": autoencoder.count_params(),
        "latent_dim": None if isinstance(latent_dim, str) else latent_dim,
        "bottlenecks": [bottleneck.describe() for bottleneck in bottlenecks_of(autoencoder)],
    }


def format_model(facts: dict[str, Any]) -> str:
    """What :func:`model` returned, as a line."""
    latent = "no latent" if facts["latent_dim"] is None else f"latent_dim {facts['latent_dim']}"
    bottlenecks = [f"{each['class_name']} bottleneck" for each in facts.get("bottlenecks", ())]
    scores = [
        f"scored by {each['score'].replace('_', ' ')}" for each in facts.get("bottlenecks", ()) if "score" in each
    ]
    return ", ".join([facts["name"], f"{facts['parameters']:,} parameters", latent, *bottlenecks, *scores])


def loss(autoencoder: keras.Model) -> dict[str, Any]:
    """Class and arguments of the loss that the model is compiled with."""
    reconstruction_loss = get_loss(autoencoder)
    return {"class_name": type(reconstruction_loss).__name__, **reconstruction_loss.get_config()}
