"""What a server says about a model: signatures with their tensors, and the state of its versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, final

import numpy as np

from tfae.serving.status import VersionStatus

#: Signature that restores variables; not for clients.
_INTERNAL = "__saved_model_init_op"
_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "complex64", "complex128", "bool")
_DTYPES = {
    **{f"DT_{name.upper()}": name for name in _NUMBERS},
    **{"DT_HALF": "float16", "DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_STRING": "object"},
}


@final
@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """Dtype and shape of one input or output.

    Attributes:
        type_name: TensorFlow's name of the dtype, such as ``"DT_FLOAT"``.
        shape: None is a side of any length; a shape of None is any shape at all.
    """

    type_name: str
    shape: tuple[int | None, ...] | None

    @property
    def dtype(self) -> np.dtype:
        """Dtype in NumPy; object for strings, which are bytes.

        Raises:
            ValueError: If NumPy has none for it.
        """
        if self.type_name == "DT_BFLOAT16":
            import ml_dtypes  # A requirement of TensorFlow and of Keras, and seldom needed.

            return np.dtype(ml_dtypes.bfloat16)
        if self.type_name not in _DTYPES:
            raise ValueError(f"signature: expected tensors that NumPy can hold; received one of type {self.type_name}.")
        return np.dtype(_DTYPES[self.type_name])

    @property
    def is_string(self) -> bool:
        """Whether it holds strings."""
        return self.type_name == "DT_STRING"

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

    def shape_text(self) -> str:
        """The shape as errors write it: ``(batch, 8, 8, 1)``."""
        if self.shape is None:
            return "of any rank"
        names = ["batch"] + ["any"] * len(self.shape)
        sides = [name if side is None else str(side) for name, side in zip(names, self.shape, strict=False)]
        return f"({', '.join(sides)}{',' if len(sides) == 1 else ''})"

    def __str__(self) -> str:
        name = "string" if self.is_string else _DTYPES.get(self.type_name, self.type_name)
        return f"{name} {self.shape_text()}"


@final
@dataclasses.dataclass(frozen=True)
class Signature:
    """One function of a model: its named inputs and outputs."""

    name: str
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    @property
    def is_batch_first(self) -> bool:
        """Whether every input and output has one row for each sample, so that a large input can be sent in pieces."""
        specs = (*self.inputs.values(), *self.outputs.values())
        return bool(self.inputs) and all(spec.is_batch_first for spec in specs)


@final
@dataclasses.dataclass(frozen=True)
class Metadata:
    """What a server says about one version of a model; ``print`` shows it as a page.

    Attributes:
        model: Name of the model.
        version: Number of the version.
        signatures: By name.
    """

    model: str
    version: int
    signatures: dict[str, Signature]

    def signature(self, name: str) -> Signature:
        """The signature of that name.

        Raises:
            ValueError: If the model has none.
        """
        if name not in self.signatures:
            raise ValueError(
                f"signature: expected one of {', '.join(sorted(self.signatures))}, which version {self.version} of "
                f"{self.model} has; received {name!r}."
            )
        return self.signatures[name]

    def __str__(self) -> str:
        lines = [f"{self.model}, version {self.version}"]
        for name, signature in sorted(self.signatures.items()):
            lines += ["", name]
            for arrow, side in (("→", signature.inputs), ("←", signature.outputs)):
                lines += [f"  {arrow} {tensor:16}{spec}" for tensor, spec in sorted(side.items())]
        return "\n".join(lines)


def read_metadata(document: Mapping[str, Any]) -> Metadata:
    """The metadata in a server's JSON, or in the JSON form of its gRPC answer; some error if there are none."""
    spec = document["model_spec"]
    definitions = document["metadata"]["signature_def"].get("signature_def", {})
    return Metadata(
        model=str(spec["name"]),
        version=int(spec["version"]),
        signatures={
            name: Signature(name, *(_tensors(definition.get(side, {})) for side in ("inputs", "outputs")))
            for name, definition in definitions.items()
            if name != _INTERNAL
        },
    )


def read_status(document: Mapping[str, Any]) -> list[VersionStatus]:
    """The versions in the same, newest first."""
    versions = []
    for entry in document["model_version_status"]:
        status = entry.get("status", {})
        code, message = status.get("error_code", "OK"), status.get("error_message", "")
        versions.append(
            VersionStatus(int(entry["version"]), str(entry.get("state", "UNKNOWN")), str(code), str(message))
        )
    return sorted(versions, key=lambda entry: -entry.version)


def _tensors(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(info.get("dtype", "DT_INVALID"), _shape(info.get("tensor_shape", {})))
        for name, info in infos.items()
    }


def _shape(shape: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    if shape.get("unknown_rank"):
        return None
    sides = [int(dim.get("size", 0)) for dim in shape.get("dim", ())]
    return tuple(None if side < 0 else side for side in sides)
