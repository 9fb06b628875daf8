"""From a sum over elements to their mean, and back, without a change of what is learned.

The sum over the n elements of a sample is n times their mean, and so is its gradient. Whatever is compared with either
has to be multiplied, or divided, by n as well.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Sequence
from typing import Any

import keras

#: What gives the same steps where gradients are multiplied by a factor: the arguments of each optimizer, with the power
#: of the factor that each is multiplied by. Keras multiplies the weight decay by the learning rate.
_EXPONENTS: dict[type[keras.optimizers.Optimizer], dict[str, int]] = {
    keras.optimizers.SGD: {"learning_rate": -1, "weight_decay": 1},
    keras.optimizers.Adam: {"epsilon": 1},
    keras.optimizers.AdamW: {"epsilon": 1},
    keras.optimizers.Adamax: {"epsilon": 1},
    keras.optimizers.Nadam: {"epsilon": 1},
    keras.optimizers.Lion: {},
}
_CLIPPING = {"clipnorm": 1, "clipvalue": 1, "global_clipnorm": 1}


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What trains the same model under the other ``sample_reduction``.

    Attributes:
        sample_reduction: The other one, ``"sum"`` or ``"mean"``.
        factor: What the loss, its gradients, and every threshold on either are multiplied by: n or 1/n.
        optimizer: A new optimizer, of the same class.
        penalty_weight: Of what is added to the loss.
    """

    sample_reduction: str
    factor: float
    optimizer: keras.optimizers.Optimizer
    penalty_weight: float


def convert(
    optimizer: keras.optimizers.Optimizer | str,
    shape: int | Sequence[int],
    *,
    to: str,
    penalty_weight: float = 0.0,
) -> Conversion:
    """Find what keeps optimum and training the same when ``sample_reduction`` changes.

    With n elements per sample, from ``"sum"`` to ``"mean"``; the other way round it is the inverse:

    - the weight of a penalty (KL divergence, L1 or L2 norm of the code) is divided by n, and so are the loss and all of
      its gradients;
    - ``clipnorm``, ``clipvalue`` and ``global_clipnorm`` are compared with gradients and divided by n;
    - the learning rate of SGD is multiplied by n, and its weight decay, which Keras multiplies by that, divided by n;
    - Adam, AdamW, Nadam and Adamax divide the gradient by its own size, so that the learning rate stays; ``epsilon`` is
      added to that size and divided by n. Lion takes the sign, and nothing changes.

    The trainings are the same in exact arithmetic; floats round differently. Under a mask, the mean divides by another
    number for every sample, and no conversion is exact.

    Args:
        optimizer: An optimizer of Keras, of one of the classes above, or its name for its default arguments.
        shape: Of a sample, or the number of its elements.
        to: The ``sample_reduction`` to go over to, ``"mean"`` from ``"sum"`` or ``"sum"`` from ``"mean"``.
        penalty_weight: Of what is added to the loss, 0 or more.

    Returns:
        The converted optimizer, which has taken no steps, and weight.

    Raises:
        ValueError: If there is no such conversion.

    Example:
        >>> converted = convert(keras.optimizers.SGD(0.01, clipnorm=1.0), (28, 28), to="mean", penalty_weight=1.0)
        >>> round(float(converted.optimizer.learning_rate), 2)  # 0.01 · 784
        7.84
        >>> round(converted.optimizer.clipnorm, 6), round(converted.penalty_weight, 6)  # 1 / 784
        (0.001276, 0.001276)
    """
    if to not in ("sum", "mean"):
        raise ValueError(f'to: expected the sample_reduction to go over to, "sum" or "mean"; received {to!r}.')
    if not (math.isfinite(penalty_weight) and penalty_weight >= 0):
        raise ValueError(f"penalty_weight: expected a finite weight of 0 or more; received {penalty_weight!r}.")
    num_elements = _num_elements(shape)
    factor = float(num_elements) if to == "sum" else 1 / num_elements
    optimizer = keras.optimizers.get(optimizer)
    if type(optimizer) not in _EXPONENTS:
        raise ValueError(
            f"optimizer: expected one of {', '.join(cls.__name__ for cls in _EXPONENTS)}; received "
            f"{type(optimizer).__name__}, for which no conversion is known."
        )
    config: dict[str, Any] = optimizer.get_config()
    for name, exponent in (_EXPONENTS[type(optimizer)] | _CLIPPING).items():
        if isinstance(config[name], dict):
            raise ValueError(
                f"optimizer: expected a number as {name}; received the schedule {config[name]['class_name']}. Convert "
                f"with a number, and multiply what the schedule returns by {factor**exponent:.6g}."
            )
        if config[name] is not None:
            config[name] *= factor**exponent
    return Conversion(to, factor, type(optimizer).from_config(config), penalty_weight * factor)


def _num_elements(shape: int | Sequence[int]) -> int:
    try:
        sides = [operator.index(side) for side in (shape if isinstance(shape, Sequence) else [shape])]
    except TypeError:
        sides = []
    if not sides or min(sides) < 1:
        raise ValueError(
            f"shape: expected the shape of a sample, such as (28, 28, 1), or the number of its elements; received "
            f"{shape!r}."
        )
    return math.prod(sides)
