"""What is in a SavedModel, read from its files alone: nothing of it is loaded or run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

#: Signature of Keras and TensorFlow that restores variables; not for clients.
_INTERNAL = "__saved_model_init_op"


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a SavedModel holds; ``print`` shows it as a page.

    Attributes:
        path: Folder of the version.
        num_bytes: Size of all its files.
        signatures: By name, ``{"inputs": {name: "dtype (shape)"}, "outputs": …}``.
        description: What ``tfae.export.save`` wrote about it.
    """

    path: Path
    num_bytes: int
    signatures: dict[str, dict[str, dict[str, str]]]
    description: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values by field name, fit for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        description = self.description
        model, loss, data, metrics = (description[key] for key in ("model", "loss", "data", "metrics"))
        source = (
            ", ".join(f"{key} {data[key]}" for key in ("name", "kind", "seed") if key in data)
            if data
            else "not recorded"
        )
        lines = [
            f"{self.path}  {self.num_bytes / 1e6:.2f} MB, exported {description['created']}",
            "",
            f"model          {model['name']}, {model['parameters']:,} parameters, latent_dim {model['latent_dim']}",
            f"loss           {loss['class_name']}, {loss['sample_reduction']} over elements",
            f"preprocessing  {description['preprocessing']['method']}",
            f"data           {source}",
            "versions       " + ", ".join(f"{name} {version}" for name, version in description["versions"].items()),
        ]
        if metrics is not None:
            shown = {name: value for name, value in metrics.items() if isinstance(value, float)}
            lines += ["test split     " + ", ".join(f"{name} {value:.4g}" for name, value in shown.items())]
        for name, signature in self.signatures.items():
            lines += ["", name]
            for arrow, side in (("→", "inputs"), ("←", "outputs")):
                lines += [f"  {arrow} {tensor:16}{spec}" for tensor, spec in signature[side].items()]
        return "\n".join(lines)


def inspect_files(path: Path, description: dict[str, Any]) -> Inspection:
    """Read the SavedModel in the folder ``path``."""
    model = SavedModel()
    try:
        model.ParseFromString((path / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise ValueError(f"path: expected a SavedModel; received {path}, whose saved_model.pb is damaged.") from error
    (graph,) = model.meta_graphs
    return Inspection(
        path=path,
        num_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        signatures={
            name: {
                "inputs": {key: _spec(tensor) for key, tensor in sorted(signature.inputs.items())},
                "outputs": {key: _spec(tensor) for key, tensor in sorted(signature.outputs.items())},
            }
            for name, signature in sorted(graph.signature_def.items())
            if name != _INTERNAL
        },
        description=description,
    )


def _spec(tensor: Any) -> str:
    sides = [
        "batch" if dim.size == -1 and axis == 0 else str(dim.size) for axis, dim in enumerate(tensor.tensor_shape.dim)
    ]
    return f"{tf.as_dtype(tensor.dtype).name} ({', '.join(sides)})"
