"""Autoencoders that are a function."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfae.evaluation import Evaluation
from tfae.losses import AbsoluteError, BinaryCrossentropy, SquaredError

SQUARED_ERROR = SquaredError()
#: What a loss makes of each element of samples and reconstructions in NumPy's float64.
FORMULAS: dict[type, Callable] = {
    SquaredError: lambda x, y: (x - y) ** 2,
    AbsoluteError: lambda x, y: np.abs(x - y),
    BinaryCrossentropy: lambda x, y: -x * np.log(y) - (1 - x) * np.log1p(-y),
}


def function_model(reconstruct: Callable, shape: tuple[int, ...], loss: Any = SQUARED_ERROR) -> keras.Model:
    """A model that reconstructs batches by a function; with None as loss it is not compiled."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, keras.layers.Lambda(reconstruct, output_shape=shape)(inputs))
    if loss is not None:
        model.compile(loss=loss)
    return model


def with_encoder(
    reconstruct: Callable, encode: Callable, shape: tuple[int, ...], loss: Any = SQUARED_ERROR
) -> keras.Model:
    """The same beside an encoder of another function, which the reconstruction does not need."""
    inputs = keras.Input(shape)
    code_shape = encode(np.zeros((1, *shape), "float32")).shape[1:]
    encoder = keras.Model(inputs, keras.layers.Lambda(encode, output_shape=code_shape)(inputs), name="encoder")
    output = keras.layers.Lambda(lambda pair: reconstruct(pair[0]), output_shape=shape)([inputs, encoder(inputs)])
    model = keras.Model(inputs, output)
    model.compile(loss=loss)
    return model


def names(evaluation: Evaluation) -> set[str]:
    """What the findings of an evaluation are about."""
    return {finding.name for finding in evaluation.findings}
