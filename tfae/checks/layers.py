"""What the layers of a model do to samples and losses, found by looking and by trying, and what it can put out."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tfae.losses import ReconstructionLoss
from tfae.models.gaussian import trying
from tfae.models.structure import sample_shape_of

#: How many times the same sample is in the larger of the two batches that a penalty is tried on, and from which growth
#: on it is no mean over the batch: layers that sample or that normalize over the batch vary by less.
_REPEATS, GROWING = 8, 4.0
#: Names of Keras's layers and operations that leave every value as it is, outside of training.
_PASSING = re.compile(
    "ActivityRegularization|(Alpha|Gaussian|Spatial)?Dropout([123]D)?|Cast|Cropping[123]D|ExpandDims|Flatten|"
    "GaussianNoise|Identity|Permute|RepeatVector|Reshape|Squeeze|Transpose"
)
#: Those among them that change the order of the elements, or their number.
_REARRANGING = re.compile("Cropping[123]D|Permute|RepeatVector|Transpose")
#: Those that give each sample the same norm or deviation.
_NORMALIZING = re.compile("UnitNormalization|Normalize|(Layer|Group|RMS)Norm(alization)?")
#: Layers that are functions and learn nothing.
_ACTIVATIONS = (layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Softmax)
#: What stands for logits that nothing bounds.
_FAR = 1e9


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


@dataclasses.dataclass(frozen=True)
class Output:
    """What the elements of a model's output can be.

    Attributes:
        name: Of the activation that bounds them, and of what comes behind it.
        low: The least value, or what it comes arbitrarily close to; −inf where there is none.
        high: The greatest, likewise.
        project: What ties the elements of a sample together, as a softmax does, under which they sum to 1: a function
            that returns an output ``(n, ...)`` of it, or the logarithms of one, as that output. None where elements are
            independent, or that is not known.
    """

    name: str
    low: float
    high: float
    project: Callable[[Any], Any] | None = dataclasses.field(default=None, repr=False)

    def reachable(self, loss: ReconstructionLoss, width: int | None) -> tuple[float, float]:
        """The least and the greatest reconstruction that outputs of a width of the last axis stand for."""
        if not loss.reads_link:
            return self.low, self.high
        # A softmax looks at all elements of that axis: one of them is at an end, and the others are at the other.
        low, high = np.clip((self.low, self.high), -_FAR, _FAR)
        is_first = np.arange(width or 2) == 0
        reached = np.asarray(loss.reconstruction(np.where([is_first, ~is_first], low, high).astype("float32")))
        return float(reached.min()), float(reached.max())

    def moves(self, x: np.ndarray) -> float:
        """How far the nearer one of what ``project`` makes of samples ``(n, ...)`` is from them; 0 without it."""
        if self.project is None:
            return 0.0
        logarithms = np.log(np.maximum(x, np.finfo("float32").tiny))
        return min(float(np.abs(ops.convert_to_numpy(self.project(z)) - x).max()) for z in (x, logarithms))


def output_of(model: keras.Model, outside: tuple[keras.KerasTensor, ...] = ()) -> Output | None:
    """What a model can put out; None where its last layers do not tell.

    It is functional, sequential, or of such models one inside the other; ``outside`` are the inputs of those that it is
    inside of, the innermost last.

    Example:
        >>> output_of(keras.Sequential([keras.Input((3,)), layers.Dense(6, "tanh"), layers.Reshape((3, 2))]))
        Output(name='tanh', low=-1.0, high=1.0)
    """
    outputs = getattr(model, "outputs", None) or []  # A subclassed model has none.
    return _output(outputs[0], outside) if len(outputs) == 1 and is_of_keras(model) else None


def _output(tensor: keras.KerasTensor, outside: tuple[keras.KerasTensor, ...]) -> Output | None:
    operation, node, _ = tensor._keras_history
    inputs = operation._inbound_nodes[node].input_tensors
    if isinstance(operation, layers.InputLayer):
        return _output(outside[-1], outside[:-1]) if outside else None
    is_repeated = isinstance(operation, layers.TimeDistributed)
    if is_repeated:
        operation = operation.layer
    if len(inputs) != 1 or not is_of_keras(operation):
        return None
    kind = type(operation).__name__
    if isinstance(operation, keras.Model):
        found = output_of(operation, (*outside, *inputs))
        return dataclasses.replace(found, project=None) if found and is_repeated else found
    is_linear = isinstance(operation, layers.Activation) and operation.activation is keras.activations.linear
    if is_linear or _PASSING.fullmatch(kind):
        found = _output(inputs[0], outside)
        return found and _reshape(found, None if _REARRANGING.fullmatch(kind) else inputs[0].shape[1:])
    if isinstance(operation, layers.Rescaling):
        return _rescale(_output(inputs[0], outside), operation)
    if _NORMALIZING.fullmatch(kind):
        bound = 1.0 if kind in ("UnitNormalization", "Normalize") else math.inf
        return Output(kind, -bound, bound, _copy(operation))
    activation = _activation_of(operation)
    found = None if activation is None else _output_of_activation(activation)
    # Along the axis of the layer, or the operation.
    return dataclasses.replace(found, project=_copy(operation)) if found and kind == "Softmax" else found


def _copy(operation: Any) -> Any:
    """A layer as it was made, whose calls leave the model as it is; operations are their functions."""
    return type(operation).from_config(operation.get_config()) if isinstance(operation, layers.Layer) else operation


def _activation_of(operation: Any) -> Callable[[Any], Any] | None:
    """The function that a layer or an operation ends in; a new layer where that is one."""
    activation = operation
    if not isinstance(operation, layers.Layer):  # ops.sigmoid and others like it.
        activation = getattr(keras.activations, type(operation).__name__.lower(), None)
    elif isinstance(operation, layers.Softmax):  # Along the last axis of what it is tried on.
        activation = keras.activations.softmax
    elif not isinstance(operation, _ACTIVATIONS):
        activation = getattr(operation, "activation", None)
    if isinstance(activation, _ACTIVATIONS):
        return _copy(activation)
    # Other layers may learn what they do.
    return activation if callable(activation) and not isinstance(activation, layers.Layer) else None


def _output_of_activation(activation: Callable[[Any], Any]) -> Output | None:
    """The range of an activation, found by trying, for which there need be no table of all that Keras has."""
    near, far = (np.array([[-end, *np.linspace(-20, 20, 4001), end]], "float32") for end in (1e6, 1e12))
    try:
        half = near[:, : near.size // 2]  # For activations that look at others, too.
        half, near, far = (ops.convert_to_numpy(activation(values)) for values in (half, near, far))
    except Exception:  # A function of one's own may want other shapes, and raise whatever it likes.
        return None
    if np.isnan(near).any() or np.isnan(far).any():
        return None
    # What still moves so far out has no bound.
    low = float(far.min()) + 0.0 if far.min() >= near.min() - 1e-5 else -math.inf
    high = float(far.max()) + 0.0 if far.max() <= near.max() + 1e-5 else math.inf
    if low >= high:  # That was an overflow.
        return None
    is_elementwise = np.allclose(half, near[:, : half.size], rtol=1e-3, atol=1e-3)
    name = getattr(activation, "__name__", type(activation).__name__)
    return Output(name, low, high, None if is_elementwise else activation)


def _reshape(output: Output, shape: tuple[int | None, ...] | None) -> Output:
    """What a layer makes of an output of a shape that it leaves in order; None where it does not."""
    project = output.project
    if project is None or shape is None or None in shape:
        return dataclasses.replace(output, project=None)
    return dataclasses.replace(output, project=lambda x: ops.reshape(project(ops.reshape(x, (-1, *shape))), x.shape))


def _rescale(output: Output | None, rescaling: layers.Rescaling) -> Output | None:
    scale, offset = (np.asarray(value, "float64") for value in (rescaling.scale, rescaling.offset))
    if output is None or not scale.all():
        return None
    ends = [bound * scale + offset for bound in (output.low, output.high)]
    # What is rescaled is seldom meant to keep to what tied it.
    return Output(f"{output.name} and Rescaling", float(np.min(ends)), float(np.max(ends)))
