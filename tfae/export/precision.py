"""An autoencoder computed in another floating-point dtype than its own, with the same weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

#: Dtypes of mixed precision, that round to three digits or fewer.
_NARROW = ("float16", "bfloat16")


def is_narrow(model: keras.Model) -> bool:
    """Whether a layer of the model, or in its layers, computes in float16 or bfloat16."""
    return any(layer.compute_dtype in _NARROW for layer in model._flatten_layers())


@contextlib.contextmanager
def computing_in(dtype: str, model: keras.Model) -> Iterator[None]:
    """Have the layers of the model compute in ``dtype`` while the context lasts; nobody else may use the model then.

    The variables stay as they are and are cast as they are read. Quantized layers stay as they are; so does what a
    layer casts by hand, and what enters a model within the model, which Keras casts to the dtype of its input.

    Args:
        dtype: ``"float64"`` is for all layers, ``"float32"`` only for those in narrower dtypes.
        model: Of which the layers, and those in its layers, are meant.
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if (dtype == "float64" or layer.compute_dtype in _NARROW)
        and not isinstance(layer.dtype_policy, keras.dtype_policies.DTypePolicyMap)
        and layer.dtype_policy.quantization_mode is None
    ]
    policies = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = keras.DTypePolicy(dtype)
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy
