"""Bottlenecks: layers from features, ``(batch, num_features)``, to the latent, ``(batch, latent_dim)``.

A bottleneck is any Keras layer of that shape. It adds its penalty with ``add_loss``, so that training and reports find
it in ``layer.losses``. Where its configuration has a ``latent_dim`` of None, the builder sets it.
"""

from __future__ import annotations

import math
from typing import Any, final

import keras
import tensorflow as tf
from keras import layers, ops


@final
@keras.saving.register_keras_serializable(package="tfae")
class SparseBottleneck(layers.Layer):
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
        >>> autoencoder = dense((8,), latent_dim=2, bottleneck=SparseBottleneck(0.5))
        >>> autoencoder.get_layer("encoder").layers[-1].name
        'sparse_bottleneck'
    """

    def __init__(
        self, l1: float, latent_dim: int | None = None, *, name: str = "sparse_bottleneck", **kwargs: Any
    ) -> None:
        if not 0 <= l1 < math.inf:
            raise ValueError(f"l1: expected a finite weight of 0 or more; received {l1!r}.")
        super().__init__(name=name, **kwargs)
        self.l1 = l1
        self.latent_dim = latent_dim

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create ``kernel``, ``(num_features, latent_dim)``, and ``bias``, ``(latent_dim,)``."""
        self.kernel = self.add_weight((input_shape[-1], self.latent_dim), "glorot_uniform", name="kernel")
        self.bias = self.add_weight((self.latent_dim,), "zeros", name="bias")

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Return the latent, ``(batch, latent_dim)``, of features, ``(batch, num_features)``."""
        latent = ops.matmul(features, self.kernel) + self.bias
        per_sample = ops.sum(ops.abs(ops.cast(latent, "float32")), axis=-1)
        self.add_loss(self.l1 * ops.mean(per_sample))
        return latent

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal layer."""
        return {**super().get_config(), "l1": self.l1, "latent_dim": self.latent_dim}


#: By name, what makes a bottleneck of its weight.
_BY_NAME = {"sparse": SparseBottleneck}


def parse_bottleneck(text: str) -> layers.Layer | None:
    """Return the bottleneck that a text names: "plain", which is None, or "sparse=WEIGHT".

    Raises:
        ValueError: If it names none, or the weight is not a number in its range.

    Example:
        >>> parse_bottleneck("sparse=0.001").l1
        0.001
    """
    if text == "plain":
        return None
    name, _, weight = text.partition("=")
    try:
        return _BY_NAME[name](float(weight))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"bottleneck: expected plain or {' or '.join(f'{known}=WEIGHT' for known in _BY_NAME)}, with a finite "
            f"weight of 0 or more, such as sparse=0.001; received {text!r}."
        ) from error


def latent_of(features: tf.Tensor, latent_dim: int, bottleneck: layers.Layer | None) -> tf.Tensor:
    """Return the latent, ``(batch, latent_dim)``, that a new copy of a bottleneck makes of features.

    Raises:
        ValueError: If ``bottleneck`` is no layer, or the latent has another shape.
    """
    if bottleneck is None:
        return layers.Dense(latent_dim, name="latent")(features)
    if not isinstance(bottleneck, layers.Layer):
        raise ValueError(
            f"bottleneck: expected a Keras layer, such as SparseBottleneck(0.001); received {bottleneck!r}."
        )
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
