"""What the signatures of a served model take and give. Imports no TensorFlow, which the REST client does without."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, final

import numpy as np

from tfae.casting import cast_exactly
from tfae.columns_by_name import to_numbers, to_texts

#: Signature that sets up variables and tables when a SavedModel is loaded; not for clients.
INIT_OP = "__saved_model_init_op"
#: Dtypes that TensorFlow Serving's REST API does not carry.
NOT_IN_JSON = ("float16", "bfloat16", "uint16", "complex64", "complex128")
#: Where the name of a dtype is not that in protobuf's.
_NAMES = {"DT_HALF": "float16", "DT_FLOAT": "float32", "DT_DOUBLE": "float64"}


@final
@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """Dtype and shape of an input or output.

    Attributes:
        dtype_name: TensorFlow's name of the dtype, such as ``"float32"`` or ``"string"``.
        shape: None is a side of any length; a shape of None is any shape at all.
    """

    dtype_name: str
    shape: tuple[int | None, ...] | None

    @property
    def dtype(self) -> np.dtype:
        """Dtype in NumPy, object for strings, which are bytes; a ValueError if NumPy has none for it."""
        if self.is_string:
            return np.dtype(object)
        if self.dtype_name == "bfloat16":
            import ml_dtypes  # A requirement of TensorFlow and of Keras, and seldom needed.

            return np.dtype(ml_dtypes.bfloat16)
        try:
            return np.dtype(self.dtype_name)
        except TypeError:
            raise ValueError(
                f"signature: expected tensors that NumPy can hold; received one of type {self.dtype_name}."
            ) from None

    @property
    def is_string(self) -> bool:
        """Whether it holds strings."""
        return self.dtype_name == "string"

    @property
    def is_batch_first(self) -> bool:
        """Whether the first side is free: one row for each sample."""
        return self.shape is not None and self.shape[:1] == (None,)

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape fits."""
        if self.shape is None:
            return True
        return len(shape) == len(self.shape) and all(
            side is None or side == given for side, given in zip(self.shape, shape, strict=True)
        )

    def fit(self, name: str, given: Any) -> np.ndarray:
        """An array of this dtype, strings as bytes; ValueError if shape, dtype or values of what is given differ.

        A server validates none of these: a wrong width fails in some kernel or not at all, 256 becomes a uint8 of 0.
        """
        if np.ma.is_masked(given):
            raise ValueError(
                f"{name}: expected values without a mask; received some that are masked. Fill them: x.filled(…)."
            )
        if self.is_string:
            array = to_texts(given, name)
        elif self.shape == (None,):
            array = to_numbers(given, name)
        else:
            try:
                array = np.asarray(given)
            except ValueError as error:  # Rows of different lengths.
                raise ValueError(f"{name}: expected an array; received lists that are none ({error}).") from error
        if not self.admits(array.shape):
            hint = " Add the batch axis: x[None]." if self.admits((1, *array.shape)) else ""
            raise ValueError(f"{name}: expected shape {self.shape_text()}; received {array.shape}.{hint}")
        return array if self.is_string else cast_exactly(array, self.dtype, name=name)

    def zeros(self, num_rows: int) -> np.ndarray:
        """Zeros with ``num_rows`` on every free side."""
        shape = (None,) if self.shape is None else self.shape
        return np.zeros([num_rows if side is None else side for side in shape], self.dtype)

    def shape_text(self) -> str:
        """The shape as errors write it: ``(batch, 8, 8, 1)``."""
        if self.shape is None:
            return "of any rank"
        names = ["batch"] + ["any"] * len(self.shape)
        sides = [name if side is None else str(side) for name, side in zip(names, self.shape, strict=False)]
        return f"({', '.join(sides)}{',' if len(sides) == 1 else ''})"

    def __str__(self) -> str:
        return f"{self.dtype_name} {self.shape_text()}"


@final
@dataclasses.dataclass(frozen=True)
class Signature:
    """A function that a server offers: its inputs and outputs by name."""

    name: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    @property
    def is_batch_first(self) -> bool:
        """Whether every input and output has one row for each sample, so that a large input can be sent in pieces."""
        specs = (*self.inputs.values(), *self.outputs.values())
        return bool(self.inputs) and all(spec.is_batch_first for spec in specs)

    def fit(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Arrays as the signature takes them; ValueError if names, shapes, dtypes, values or numbers of rows differ."""
        if inputs.keys() != self.inputs.keys():
            expected, received = (", ".join(sorted(names)) or "none" for names in (self.inputs, inputs))
            raise ValueError(f"inputs: expected {expected} for signature {self.name}; received {received}.")
        arrays = {name: self.inputs[name].fit(name, given) for name, given in inputs.items()}
        if self.is_batch_first and len({len(array) for array in arrays.values()}) > 1:
            listed = ", ".join(f"{len(array)} in {name}" for name, array in arrays.items())
            raise ValueError(f"inputs: expected the same number of rows in every input; received {listed}.")
        return arrays

    def as_text(self) -> list[str]:
        """Lines with the inputs, then the outputs."""
        sides = (("→", self.inputs), ("←", self.outputs))
        return [f"  {arrow} {name:16}{spec}" for arrow, side in sides for name, spec in sorted(side.items())]


def read_signatures(definitions: Mapping[str, Any]) -> dict[str, Signature]:
    """Signatures for clients, by name and sorted, from the JSON of a SavedModel's; some error if there are none."""
    return {
        name: Signature(name, *(_read_tensors(definition.get(side, {})) for side in ("inputs", "outputs")))
        for name, definition in sorted(definitions.items())
        if name != INIT_OP
    }


def _read_tensors(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    specs = {}
    for name, info in sorted(infos.items()):
        dtype, shape = str(info.get("dtype", "DT_INVALID")), info.get("tensor_shape", {})
        if dtype == "DT_INVALID":
            raise ValueError(f"signature: expected a dtype of every tensor; received none of {name}.")
        sides = [int(dim.get("size", 0)) for dim in shape.get("dim", ())]
        known = None if shape.get("unknown_rank") else tuple(None if side < 0 else side for side in sides)
        specs[name] = TensorSpec(_NAMES.get(dtype, dtype.removeprefix("DT_").lower()), known)
    return specs
