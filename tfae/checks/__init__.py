"""Whether data, loss and model fit together, before time is spent on a training that can not succeed.

Each check finds one mistake that trains without an error and spoils the result, and has a name by which to silence it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, Union

import keras
import numpy as np

from tfae.activations import Clip
from tfae.checks.output import Output, output_of
from tfae.losses import DOMAIN_TOLERANCE, ReconstructionLoss, explain_invalid, registered
from tfae.preprocessing import RANGES

_Samples = Union["Data", tuple[float, float], None]

if TYPE_CHECKING:
    from tfae.datasets import Data


def check(data: _Samples, loss: Any, model: keras.Model, *, ignore: Collection[str] = ()) -> None:
    """Raise ValueError if data, loss and model do not fit together.

    The checks, by name:

    - ``"loss"``: the loss is not one of :mod:`tfae.losses`. The checks below need one; so do ``train``, ``evaluate``
      and ``save``, which therefore refuse others whether or not this is ignored.
    - ``"domain"``: data outside ``loss.domain``, such as outside [0, 1] under cross-entropy, which has no lower bound
      there, so that being wrong lowers the loss.
    - ``"range"``: the output activation keeps the reconstructions away from values that the training split has, as a
      sigmoid does where data is negative.
    - ``"activation"``: the model's output can leave ``loss.domain``, such as [0, 1] where probabilities are read.
    - ``"logits"``: the loss reads logits, and the model ends in a sigmoid.
    - ``"reduction"``: a mean over elements together with a penalty that layers add, such as a KL divergence or an L1
      norm of the latent. Beside a mean over n elements it weighs n times what it weighs beside their sum.

    Where a model's output activation can not be known, as behind a layer of one's own, it is taken to be right.

    Args:
        data: What the model is to be trained on, or the least and the greatest value of the training split in model
            space for the check "range" alone, or None to check loss and model alone.
        loss: What it is to minimise.
        model: Any Keras model.
        ignore: Names of checks to leave out.

    Raises:
        ValueError: If a check fails, with the message of each that does; or if there is no check of a name.

    Example:
        >>> import tfae
        >>> model = tfae.models.dense((8, 8, 1), latent_dim=4, output_activation="sigmoid")
        >>> check(None, tfae.losses.BinaryCrossentropy(), model)
        >>> check(None, tfae.losses.BinaryCrossentropy(from_logits=True), model, ignore=["logits"])
    """
    names = {ignore} if isinstance(ignore, str) else set(ignore)
    if not names <= _CHECKS.keys():
        raise ValueError(
            f"ignore: expected names of checks, which are {', '.join(_CHECKS)}; received "
            f"{', '.join(sorted(map(repr, names - _CHECKS.keys())))}."
        )
    checks = _CHECKS if isinstance(loss, ReconstructionLoss) else {"loss": _loss}
    failed = {name: of(data, loss, model) for name, of in checks.items() if name not in names}
    silence = 'To go on all the same, silence this with ignore=["{0}"], or --ignore {0}.'
    messages = [f"{message} {silence.format(name)}" for name, message in failed.items() if message]
    if messages:
        raise ValueError("\n".join(messages))


def _loss(data: _Samples, loss: Any, model: keras.Model) -> str | None:
    reason = explain_invalid(loss)
    return reason and f"loss: {reason}"


def _domain(data: _Samples, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    if data is None or isinstance(data, tuple) or loss.domain is None:
        return None
    for split in data.bounds._fields:
        low, high = _span(data, split)
        if low < loss.domain[0] - DOMAIN_TOLERANCE or high > loss.domain[1] + DOMAIN_TOLERANCE:
            remedy = (
                "declare a value_range=(low, high) that holds the raw values of all splits"
                if data.preprocessing.method == "unit"
                else 'use preprocessing="unit"'
            )
            others = " or ".join(each.__name__ for each in registered() if each.domain is None)
            return (
                f"loss: {type(loss).__name__} is defined on {list(loss.domain)}; the {split} split spans "
                f'[{low:.4g}, {high:.4g}] after preprocessing "{data.preprocessing.method}". Choose {others}, '
                f"or {remedy}."
            )
    return None


def _range(data: _Samples, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    output = output_of(model)
    if data is None or output is None or _logits(None, loss, model):
        return None
    # The test split of a table may lie a little outside of what the training split is scaled to; that is no mistake.
    low, high = data if isinstance(data, tuple) else _span(data, "train")
    reachable = _reachable(output, loss)
    # What is outside the domain of the loss is another check's business.
    least, greatest = (low, high) if loss.domain is None else np.clip((low, high), *loss.domain)
    if least >= reachable[0] - DOMAIN_TOLERANCE and greatest <= reachable[1] + DOMAIN_TOLERANCE:
        return None
    known = None if isinstance(data, tuple) else data
    method, output_range = (known.preprocessing.method, known.output_range) if known else (None, None)
    scaling = f'after preprocessing "{method}"' if method else "in model space"
    better = next((name for name, ends in RANGES.items() if ends == (output.low, output.high)), None)
    return (
        f"model: expected one whose reconstructions reach the training split, which spans {_interval(low, high)} "
        f"{scaling}; received one that ends in {output.name}, which keeps them in {_interval(*reachable)}. End it in "
        f"{_as_argument(loss.output_activation(output_range))}"
        + (f', or use preprocessing="{better}".' if better and better != method else ".")
    )


def _as_argument(activation: str | Clip) -> str:
    return f"activation=tfae.activations.{activation}" if isinstance(activation, Clip) else f'activation="{activation}"'


def _activation(data: _Samples, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    output = output_of(model)
    if output is None or loss.domain is None or loss.on_reconstructions() is not loss or _is_inside(output, loss):
        return None
    by_name = type(loss).from_config({**loss.get_config(), **loss.config_by_name})
    other = f", or use {by_name!r} with {_as_argument(by_name.output_activation())}"
    return (
        f"model: expected one whose output stays in {_interval(*loss.domain)}, where {loss!r} is defined; received one "
        f"that ends in {output.name}, whose output spans {_interval(output.low, output.high)}. End the model in "
        f"{_as_argument(loss.output_activation())}{'' if by_name.on_reconstructions() is by_name else other}."
    )


def _logits(data: _Samples, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    output = output_of(model)
    if output is None or loss.on_reconstructions() is loss or not _is_inside(output, loss):
        return None
    return (
        f"model: expected one that ends in {loss.output_activation()}, because {loss!r} reads its output as logits; "
        f"received one that ends in {output.name}, which read so keeps reconstructions in "
        f"{_interval(*_reachable(output, loss))}. End the model in {_as_argument(loss.output_activation())}, or use "
        f"{loss.on_reconstructions()!r}."
    )


def _is_inside(output: Output, loss: ReconstructionLoss) -> bool:
    """Whether a model's output is bounded as the reconstructions of a loss are."""
    low, high = loss.domain or (-math.inf, math.inf)
    return output.low >= low - DOMAIN_TOLERANCE and output.high <= high + DOMAIN_TOLERANCE


def _reachable(output: Output, loss: ReconstructionLoss) -> list[float]:
    """The least and the greatest reconstruction that a model's output stands for."""
    return [float(bound) for bound in loss.reconstruction(np.array([output.low, output.high], "float32"))]


def _reduction(data: _Samples, loss: ReconstructionLoss, model: keras.Model) -> str | None:
    if loss.sample_reduction == "sum" or not _adds_losses(model):
        return None
    num_elements = math.prod(model.output_shape[1:])
    weights = [
        f"{name}={weight:.4g} in layer {layer.name!r} becomes {weight / num_elements:.4g}"
        for layer in layers_of(model)
        for name, weight in _penalty_weights(layer).items()
    ]
    return (
        'loss: expected sample_reduction="sum" beside the penalty that layers of the model add; received "mean", '
        f"beside which a penalty weighs {num_elements:,} times as much, once for each element of a sample. Use "
        f'sample_reduction="sum", or divide the weight by {num_elements:,}'
        + (f" ({', '.join(weights)})" if weights else "")
        + ", unless you chose it for the mean."
    )


#: In the order in which they are reported.
_CHECKS: dict[str, Callable[[_Samples, Any, keras.Model], str | None]] = {
    "loss": _loss,
    "domain": _domain,
    "range": _range,
    "activation": _activation,
    "logits": _logits,
    "reduction": _reduction,
}

#: What ``ignore`` may hold.
NAMES = tuple(_CHECKS)


def _span(data: Data, split: str) -> tuple[float, float]:
    """The least and the greatest value of a split, in model space."""
    # The scaling is monotone in every element, so that the bounds of the data give those in model space.
    scaled = data.preprocessing(getattr(data.bounds, split)).numpy()
    return float(scaled.min()), float(scaled.max())


def _interval(low: float, high: float) -> str:
    return f"{'[' if math.isfinite(low) else '('}{low:.4g}, {high:.4g}{']' if math.isfinite(high) else ')'}"


def _adds_losses(model: keras.Model) -> bool:
    """Whether layers add losses, those of activity regularizers included and those of weights not.

    Only a call of the model shows it; one without effects on weights and random states.
    """
    shape = getattr(model, "input_shape", None)
    if not model.built or not isinstance(shape, tuple) or None in shape[1:]:
        return False
    *_, added = model.stateless_call(
        [variable.value for variable in model.trainable_variables],
        [variable.value for variable in model.non_trainable_variables],
        np.zeros((1, *shape[1:]), "float32"),
        training=True,
        return_losses=True,
    )
    num_regularized = sum(weight.regularizer is not None for weight in model.trainable_weights)
    return len(added) > num_regularized


def layers_of(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """The layers of a model, and of the models in it."""
    for layer in model.layers:
        yield from layers_of(layer) if isinstance(layer, keras.Model) else [layer]


def _penalty_weights(layer: keras.layers.Layer) -> dict[str, float]:
    """The weights by name, as far as the layer tells them as Keras and tfae do."""
    penalty = layer.activity_regularizer or layer
    weights = {name: float(getattr(penalty, name, 0.0)) for name in ("l1", "l2")}
    return {name: weight for name, weight in weights.items() if weight}
