"""What is not as it was when a run began."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import keras

from tfae import provenance
from tfae.datasets import Data
from tfae.losses import ReconstructionLoss, get_loss
from tfae.models import structure
from tfae.models.gaussian import gaussians_of

# TensorFlow reads it when it is imported, and takes other kernels for convolutions, which round differently.
ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


def warn_of_changes(directory: Path, config: dict[str, Any], num_replicas: int) -> None:
    """Warn of what is not as it was when the run began, and say what does not hold then."""
    before = {**config.get("versions", {}), ONEDNN: config.get("onednn"), "replicas": config["num_replicas"]}
    now = {**provenance.versions(), ONEDNN: os.environ.get(ONEDNN), "replicas": num_replicas}
    changed = [name for name in ("tfae", "tensorflow", "keras", ONEDNN, "replicas") if before.get(name) != now[name]]
    if changed:
        began, goes_on = (", ".join(f"{name} {of.get(name) or 'unset'}" for name in changed) for of in (before, now))
        warnings.warn(
            f"run_dir: {directory} began with {began} and goes on with {goes_on}: it does not end with the weights of "
            f"a training that was not stopped. {ONEDNN} counts when TensorFlow is imported; tfae train --resume sets "
            "it as it was.",
            stacklevel=3,
        )


def validate_repeated(
    directory: Path, autoencoder: keras.Model, data: Data, loss: ReconstructionLoss | None, **arguments: Any
) -> None:
    """Raise ValueError unless a run began with the same arguments, as far as they are written down."""
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    structure.build(autoencoder, data.shape)
    for gaussian in gaussians_of(autoencoder):  # As compile does.
        gaussian.set_training(arguments["epochs"] * int(data.train.cardinality()))
    arguments["autoencoder"] = provenance.model(autoencoder, data.shape)
    arguments["loss"] = type(loss or get_loss(autoencoder)).__name__
    began = {**config, "autoencoder": config["model"], "loss": config["loss"]["class_name"]}
    for name, value in arguments.items():
        if began[name] != value:
            raise ValueError(
                f"{name}: expected {began[name]}, with which the run in {directory} began; received {value}. Repeat "
                "the same call, or choose another directory."
            )
