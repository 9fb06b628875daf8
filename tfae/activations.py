"""An activation for the last layer of a model, beside those of Keras."""

from __future__ import annotations

import dataclasses
from typing import Any, final

import keras
import tensorflow as tf
from keras import layers, ops


@final
@keras.saving.register_keras_serializable(package="tfae")
@dataclasses.dataclass(frozen=True)
class Clip:
    """Keeps values in ``[low, high]``; gradients pass through it as if it did not.

    A sigmoid keeps values in [0, 1] as well, but its gradient vanishes near the ends. A model that has taken all of
    an image to black, as absolute error asks of it at first where most pixels are black, can not come back. Through
    ``Clip`` the loss still pulls at every value that is on the wrong side, and lets go of one that is at, or beyond,
    the end where it should be. A linear layer has to hit the ends exactly instead.

    It goes wherever Keras takes an activation, and is saved with the model.

    Args:
        low: The least value, in the unit of the values.
        high: The greatest.

    Raises:
        ValueError: If neither is finite, or ``low`` is not below ``high``.

    Example:
        >>> clip = Clip(0, 1)
        >>> clip
        Clip(0, 1)
        >>> clip([-3.0, 0.25, 7.0]).numpy().tolist()
        [0.0, 0.25, 1.0]

    Reference:
        Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation, 2013
        (the straight-through estimator); ``tfp.math.clip_by_value_preserve_gradient``.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.low, self.high) == (-float("inf"), float("inf")):
            ends = f"{self.low!r}, {self.high!r}"
            raise ValueError(f"low, high: expected numbers, one of them finite, the lower first; received {ends}.")

    def __call__(self, values: Any) -> tf.Tensor:
        """Return the nearest values in the range, a float tensor of the same shape and dtype."""
        if isinstance(values, keras.KerasTensor):  # A functional model is being built.
            return layers.Activation(self)(values)

        @tf.custom_gradient
        def straight_through(values: tf.Tensor) -> tuple[tf.Tensor, Any]:
            return ops.clip(values, self.low, self.high), lambda upstream: upstream

        return straight_through(ops.convert_to_tensor(values))

    def get_config(self) -> dict[str, float]:
        """Configuration from which ``from_config`` builds an equal activation."""
        return {"low": float(self.low), "high": float(self.high)}

    @classmethod
    def from_config(cls, config: dict[str, float]) -> Clip:
        """Return the activation of a configuration."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"Clip({self.low:g}, {self.high:g})"
