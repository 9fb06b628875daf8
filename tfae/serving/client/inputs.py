"""Which of the arrays of a call go to which inputs of a signature."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfae.columns_by_name import expand_inputs, is_named, take_columns
from tfae.tensor_spec import Signature

Inputs = Mapping[str, npt.ArrayLike]
#: Assigns the arrays of a call to the inputs of a signature, which may be fetched after the call began.
Bind = Callable[[Signature], Inputs]


def bind_samples(given: Any) -> Bind:
    """Assign samples to the inputs of a signature."""
    return lambda signature: _take(given, list(signature.inputs))


def _take(given: Any, names: Sequence[str]) -> Inputs:
    """Samples by name of the input: an array is the only one, and all else are the columns of a table."""
    return {names[0]: given} if len(names) == 1 and not is_named(given) else take_columns(given, names)


def bind_named(inputs: Inputs, more: Inputs | None = None) -> Bind:
    """Assign arrays to the inputs of their names, each given in one of the two mappings."""
    more = more or {}
    twice = sorted(set(inputs) & set(more))
    if twice:
        raise ValueError(
            f"inputs: expected every input once; received {', '.join(twice)} in the mapping and by keyword."
        )
    return lambda signature: expand_inputs({**inputs, **more}, signature.inputs, _take)


def bind_zeros(signature: Signature) -> Inputs:
    """Assign one row of zeros to each input; ValueError for strings, which have no such default."""
    if any(spec.is_string for spec in signature.inputs.values()):
        raise ValueError(f"inputs: expected what to ask signature {signature.name} with; received none. Give inputs.")
    return {name: spec.zeros(1) for name, spec in signature.inputs.items()}


def to_object_vector(elements: Sequence[object]) -> np.ndarray:
    """Make a vector of objects; NumPy's own bytes lose zeros at the end."""
    vector = np.empty(len(elements), dtype=object)
    vector[:] = elements
    return vector
