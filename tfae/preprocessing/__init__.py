"""Invertible scaling from data space (what the user gave) to model space (what the model trains on) and back.

A fitted :class:`Preprocessing` is a Keras layer: it is saved beside the model, is part of every exported graph, and
its inverse takes reconstructions back to the user's units.
"""

from tfae.casting import cast_exactly
from tfae.preprocessing.fit import (
    METHODS,
    RANGES,
    constant_columns,
    declared_range,
    default_method,
    fit,
)
from tfae.preprocessing.gaps import FillGaps
from tfae.preprocessing.layer import Preprocessing

__all__ = [
    "METHODS",
    "RANGES",
    "FillGaps",
    "Preprocessing",
    "cast_exactly",
    "constant_columns",
    "declared_range",
    "default_method",
    "fit",
]
