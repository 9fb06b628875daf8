"""What layers add to the loss in training: activity regularizers, ``add_loss`` and regularizers of weights."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import tensorflow as tf
from keras import ops


def penalties_of(model: keras.Model) -> dict[str, tf.Tensor]:
    """Sum up the penalties of each layer that has some, for the batch that the model was last called on.

    Args:
        model: Called before in the same graph.

    Returns:
        float scalars by name of the layer, with the names of the models that it is in: ``"encoder/hidden_0"``. Their
        sum is what Keras adds to the loss of the batch.
    """
    counted: set[int] = set()
    found = {}
    for name, layer in _named_layers(model):
        regularized = [weight for weight in layer.trainable_weights if weight.regularizer is not None]
        losses = layer.losses
        # Keras lists the regularizers of weights last, computed anew on each access.
        added = losses[: len(losses) - len(regularized)]
        penalties = [loss for loss in added if id(loss) not in counted]
        penalties += [weight.regularizer(weight) for weight in regularized if id(weight) not in counted]
        counted |= {id(each) for each in [*added, *regularized]}
        if penalties:
            found[name] = sum(ops.sum(penalty) for penalty in penalties)
    return found


def _named_layers(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.layers.Layer]]:
    """Layers before the models that hold them, to which only what no layer of theirs has adds is left."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _named_layers(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer
    yield prefix[:-1] or model.name, model
