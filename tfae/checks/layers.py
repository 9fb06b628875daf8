"""What the layers of a model do to samples and losses, found by looking and by trying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tfae.models.structure import sample_shape_of

#: How many times the same sample is in the larger of the two batches that a penalty is tried on.
_REPEATS = 8


def layers_of(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model, and of the models in it."""
    for layer in model.layers:
        yield from layers_of(layer) if isinstance(layer, keras.Model) else [layer]


def is_of_keras(operation: Any) -> bool:
    """Return whether a layer or operation computes what Keras says, and not what a subclass may do."""
    return (type(operation).call.__module__ or "").startswith("keras.")


def find_penalties(model: keras.Model, shape: tuple[int, ...] | None) -> dict[str, tuple[float, float]]:
    """Try what layers add to the loss, those of activity regularizers included and those of weights not.

    Only a call of the model shows it; this one has no effects on weights and random states.

    Args:
        model: Built.
        shape: Of one sample; None for that of the model. Where it has free sides, nothing is found.

    Returns:
        The sum of the penalties of each layer that has any, by its name: for a batch of one sample, and for one of the
        same sample eight times.
    """
    sides = sample_shape_of(model) if shape is None else shape
    # What Keras brings adds a penalty through its activity regularizer only.
    may_add = any(layer.activity_regularizer or not is_of_keras(layer) for layer in model._flatten_layers())
    if not may_add or not model.built or sides is None or None in sides:
        return {}
    x = np.random.default_rng(0).random((1, *(side or 1 for side in sides)), "float32")
    small, large = (_add_penalties(model, np.repeat(x, repeats, axis=0)) for repeats in (1, _REPEATS))
    return {name: (small[name], large[name]) for name in small if name in large}


def _add_penalties(model: keras.Model, x: np.ndarray) -> dict[str, float]:
    mapping = [(variable, variable.value) for variable in model.variables]
    found: dict[str, float] = {}
    counted: set[int] = set()
    with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
        model(x, training=True)
        # The inner layers first: a model lists what its layers add.
        for layer in (*layers_of(model), model):
            regularized = sum(weight.regularizer is not None for weight in layer.trainable_weights)
            losses = layer.losses
            for loss in losses[: len(losses) - regularized]:
                if id(loss) not in counted:
                    counted.add(id(loss))
                    found[layer.name] = found.get(layer.name, 0.0) + float(ops.sum(loss))
    return found


def penalties_grow(penalty: tuple[float, float]) -> bool:
    """Return whether a penalty of :func:`find_penalties` grows with the size of the batch."""
    small, large = penalty
    # Layers that sample or that normalize over the batch vary by less.
    return abs(large) > _REPEATS / 2 * abs(small) > 0


def mask_values(model: keras.Model, kind: str) -> list[float]:
    """Return the values that layers take for padding: of steps of a sequence, or of columns of a table of indices."""
    if kind == "sequence":
        return [float(layer.mask_value) for layer in layers_of(model) if isinstance(layer, layers.Masking)]
    are_masked = any(isinstance(layer, layers.Embedding) and layer.mask_zero for layer in layers_of(model))
    return [0.0] if kind == "table" and are_masked else []


def penalty_weights(layer: keras.layers.Layer) -> dict[str, float]:
    """The weights by name, as far as the layer tells them as Keras and tfae do."""
    penalty = layer.activity_regularizer or layer
    weights = {name: float(getattr(penalty, name, 0.0)) for name in ("l1", "l2")}
    return {name: weight for name, weight in weights.items() if weight}
