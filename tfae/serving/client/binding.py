"""Which array is which input of a signature; what a caller gave is known before the signature is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tfae.serving.client.description import Signature

Inputs = Mapping[str, npt.ArrayLike]
Bind = Callable[[Signature], Inputs]


def sole(array: npt.ArrayLike) -> Bind:
    """Gives the array to the only input of a signature, whatever its name."""

    def bind(signature: Signature) -> Inputs:
        if len(signature.inputs) != 1:
            raise ValueError(
                f"signature: expected one with a single input; received {signature.name} with "
                f"{', '.join(sorted(signature.inputs)) or 'none'}. Use predict, which names them."
            )
        return dict.fromkeys(signature.inputs, array)

    return bind


def named(inputs: Inputs, more: Inputs | None = None) -> Bind:
    """Gives arrays to the inputs of their names.

    Raises:
        ValueError: If a name is in both.
    """
    more = more or {}
    twice = sorted(set(inputs) & set(more))
    if twice:
        raise ValueError(
            f"inputs: expected every input once; received {', '.join(twice)} in the mapping and by keyword."
        )
    return lambda signature: {**inputs, **more}


def zeros(signature: Signature) -> Inputs:
    """One row of zeros.

    Raises:
        ValueError: If an input is of strings, of which none is sure to mean something.
    """
    if any(spec.is_string for spec in signature.inputs.values()):
        raise ValueError(f"inputs: expected what to ask signature {signature.name} with; received none. Give inputs.")
    return {
        name: np.zeros((1,) if spec.shape is None else [side or 1 for side in spec.shape], spec.dtype)
        for name, spec in signature.inputs.items()
    }


def strings(elements: Sequence[object]) -> np.ndarray:
    """A vector of objects; NumPy's own bytes would lose zeros at the end."""
    vector = np.empty(len(elements), dtype=object)
    vector[:] = elements
    return vector
