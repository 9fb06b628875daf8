"""What the layers of a model do to samples and losses, found by looking and by trying."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tfae.models.gaussian import trying
from tfae.models.structure import sample_shape_of

#: How many times the same sample is in the larger of the two batches that a penalty is tried on, and from which growth
#: on it is no mean over the batch: layers that sample or that normalize over the batch vary by less.
_REPEATS, GROWING = 8, 4.0


def layers_of(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model, and of the models in it."""
    for layer in model.layers:
        yield from layers_of(layer) if isinstance(layer, keras.Model) else [layer]


def is_of_keras(operation: Any) -> bool:
    """Return whether a layer or operation computes what Keras says, and not what a subclass may do."""
    return (type(operation).call.__module__ or "").startswith("keras.")


def find_penalties(model: keras.Model, shape: tuple[int, ...] | None) -> dict[str, float]:
    """Try what layers add to the loss of a built model, those of activity regularizers included and of weights not.

    Only a call of the model shows it; this one, on samples of a shape, by default that of the model, has no effects on
    weights and random states. Where the shape has free sides, nothing is found.

    Returns:
        By name of the layer how many times as large a batch of eight times the same sample makes its penalty as one of
        the sample alone does; 0 where that one is 0.
    """
    sides = sample_shape_of(model) if shape is None else shape
    # What Keras brings adds a penalty through its activity regularizer only.
    may_add = any(layer.activity_regularizer or not is_of_keras(layer) for layer in model._flatten_layers())
    if not may_add or not model.built or sides is None or None in sides:
        return {}
    x = np.random.default_rng(0).random((1, *(side or 1 for side in sides)), "float32")
    small, large = (_add_penalties(model, np.repeat(x, repeats, axis=0)) for repeats in (1, _REPEATS))
    return {name: abs(large[name] / alone) if alone else 0.0 for name, alone in small.items() if name in large}


def _add_penalties(model: keras.Model, x: np.ndarray) -> dict[str, float]:
    mapping = [(variable, variable.value) for variable in model.variables]
    with keras.StatelessScope(state_mapping=mapping, collect_losses=True), trying():
        model(x, training=True)
        return {name: float(penalty) for name, penalty in sum_penalties(model, of_weights=False).items()}


def sum_penalties(model: keras.Model, *, of_weights: bool = True) -> dict[str, Any]:
    """Return what layers add to the loss of the batch that the model was last called on, in the same graph.

    These are activity regularizers, ``add_loss`` and, ``of_weights``, their regularizers: float scalars by name of the
    layer, with the names of the models that it is in, ``"encoder/hidden_0"``. Their sum is what Keras adds to the loss.
    """
    counted: set[int] = set()
    found = {}
    for name, layer in _named_layers(model):
        regularized = [weight for weight in layer.trainable_weights if weight.regularizer is not None]
        losses = layer.losses
        # Keras lists the regularizers of weights last, computed anew on each access.
        added = losses[: len(losses) - len(regularized)]
        penalties = [loss for loss in added if id(loss) not in counted]
        if of_weights:
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


def mask_values(model: keras.Model, kind: str) -> list[float]:
    """Return the values that layers take for padding: of steps of a sequence, or of columns of a table of indices."""
    if kind == "sequence":
        return [float(layer.mask_value) for layer in layers_of(model) if isinstance(layer, layers.Masking)]
    are_masked = any(isinstance(layer, layers.Embedding) and layer.mask_zero for layer in layers_of(model))
    return [0.0] if kind == "table" and are_masked else []


def penalty_weights(layer: keras.layers.Layer) -> dict[str, float]:
    """The weights by name, as far as the layer tells them as Keras and tfae do."""
    penalty = layer.activity_regularizer or layer
    weights = {name: float(getattr(penalty, name, 0.0)) for name in ("l1", "l2", "kl_weight")}
    return {name: weight for name, weight in weights.items() if weight}
