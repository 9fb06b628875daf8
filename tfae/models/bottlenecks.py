"""Bottlenecks: layers from features, ``(batch, num_features)``, to the latent, ``(batch, latent_dim)``.

A bottleneck is any Keras layer of that shape. One with a penalty is a :class:`Bottleneck`, which adds it to the loss
and notes it for the metrics. Where the configuration of a layer has a ``latent_dim`` of None, the builder sets it.
"""

from __future__ import annotations

import abc
import math
from typing import Any, final

import keras
import tensorflow as tf
from keras import layers, ops

from tfae.losses.loss_parts import note


class Bottleneck(layers.Layer, abc.ABC):
    """Base of the bottlenecks with a penalty, which are a mean over the batch as the reconstruction losses are.

    Args:
        latent_dim: Width of the latent; None for the ``latent_dim`` of the builder.
        name: Of the layer.
        **kwargs: As for every Keras layer.
    """

    def __init__(self, latent_dim: int | None, *, name: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.latent_dim = latent_dim

    @property
    @abc.abstractmethod
    def parts(self) -> tuple[str, ...]:
        """What the layer notes of each batch, scalars that are metrics beside the loss."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Raise ValueError where nothing says how wide the latent is, or features are not flat."""
        if len(input_shape) != 2:
            raise ValueError(
                f"{type(self).__name__}: expected features of shape (batch, num_features); received {input_shape}. Put "
                "keras.layers.Flatten before it."
            )
        if not self.latent_dim:
            raise ValueError(
                "latent_dim: expected the width of the latent, which only builders of tfae.models set; received "
                f"{self.latent_dim}. Give {type(self).__name__}(..., latent_dim=16)."
            )

    def note(self, part: str, value: tf.Tensor) -> None:
        """Note something of the batch under ``"<name of the layer>/<part>"``."""
        note(f"{self.name}/{part}", value)

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal layer."""
        return {**super().get_config(), "latent_dim": self.latent_dim}

    def describe(self) -> dict[str, Any]:
        """Return its class and its own arguments, fit for JSON."""
        own = {name: value for name, value in self.get_config().items() if name not in layers.Layer.get_config(self)}
        return {"class_name": type(self).__name__, **own}


@final
@keras.saving.register_keras_serializable(package="tfae")
class Sparse(Bottleneck):
    """Linear bottleneck with an L1 penalty on the latent z: ``l1`` · Σ|z| per sample, averaged over the batch.

    The average is that of the reconstruction losses. Keras's own activity regularizers divide by the batch size in some
    of its versions and not in others.

    Args:
        l1: Weight of the penalty, finite and ≥ 0.
        latent_dim: Width of the latent; None for the ``latent_dim`` of the builder.
        name: Of the layer.
        **kwargs: As for every Keras layer.

    Raises:
        ValueError: If ``l1`` is out of its range.

    Example:
        >>> from tfae.models import dense
        >>> autoencoder = dense((8,), latent_dim=2, bottleneck=Sparse(0.5))
        >>> autoencoder.get_layer("encoder").layers[-1].name
        'sparse'
    """

    def __init__(self, l1: float, latent_dim: int | None = None, *, name: str = "sparse", **kwargs: Any) -> None:
        super().__init__(latent_dim, name=name, **kwargs)
        self.l1 = validate_weight("l1", l1)

    @property
    def parts(self) -> tuple[str, ...]:
        """The penalty."""
        return ("l1_penalty",)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create ``kernel``, ``(num_features, latent_dim)``, and ``bias``, ``(latent_dim,)``."""
        super().build(input_shape)
        self.kernel = self.add_weight((input_shape[-1], self.latent_dim), "glorot_uniform", name="kernel")
        self.bias = self.add_weight((self.latent_dim,), "zeros", name="bias")

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Return the latent, ``(batch, latent_dim)``, of features, ``(batch, num_features)``."""
        latent = ops.matmul(features, self.kernel) + self.bias
        penalty = self.l1 * ops.mean(ops.sum(ops.abs(ops.cast(latent, "float32")), axis=-1))
        self.add_loss(penalty)
        self.note("l1_penalty", penalty)
        return latent

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal layer."""
        return {**super().get_config(), "l1": self.l1}


def validate_weight(name: str, value: float) -> float:
    """Return a weight; raise ValueError unless it is finite and 0 or more."""
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{name}: expected a finite number of 0 or more; received {value!r}.")
    return value


def bottlenecks_of(model: keras.Model) -> list[Bottleneck]:
    """Return the bottlenecks with a penalty among all layers of a model."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, Bottleneck)]


def latent_of(features: tf.Tensor, latent_dim: int, bottleneck: layers.Layer | None) -> tf.Tensor:
    """Return the latent, ``(batch, latent_dim)``, that a new copy of a bottleneck makes of features.

    Raises:
        ValueError: If ``bottleneck`` is no layer, or the latent has another shape.
    """
    if bottleneck is None:
        return layers.Dense(latent_dim, name="latent")(features)
    if not isinstance(bottleneck, layers.Layer):
        raise ValueError(f"bottleneck: expected a Keras layer, such as Sparse(0.001); received {bottleneck!r}.")
    config = bottleneck.get_config()
    if config.get("latent_dim", latent_dim) is None:
        config["latent_dim"] = latent_dim
    # Two models that share a layer would share its weights.
    try:
        copied = type(bottleneck).from_config(config)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "bottleneck: expected a layer that its get_config() builds again, as every Keras layer that is saved; "
            f"received {bottleneck.name!r} ({error})."
        ) from error
    latent = copied(features)
    shape = getattr(latent, "shape", None)
    if shape != (None, latent_dim):
        raise ValueError(
            f"bottleneck: expected a layer from features, {features.shape}, to a latent of shape (None, {latent_dim}), "
            f"as latent_dim says; received {bottleneck.name!r}, which returns {shape or type(latent).__name__}."
        )
    return latent
