"""What is in a SavedModel, read from its files alone: nothing of it is loaded or run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfae.servable import dangerous_operations, read_meta_graph, signatures_of

#: What of an evaluation fits into a line.
_SHOWN = ("loss", "excess", "constant_skill", "linear_skill", "mse", "mae", "psnr", "train_loss")


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a SavedModel holds; ``print`` shows it as a page.

    Attributes:
        path: Folder of the version.
        num_bytes: Size of all its files.
        signatures: By name, ``{"inputs": {name: "dtype (shape)"}, "outputs": …}``.
        operations: Those with which it can read or write files, run Python and the like, as text; none in what tfae
            exports.
        description: What ``tfae.export.save`` wrote about it; None if it was not made by tfae.
    """

    path: Path
    num_bytes: int
    signatures: dict[str, dict[str, dict[str, str]]]
    operations: tuple[str, ...]
    description: dict[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values by field name, fit for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        lines = [f"{self.path}  {self.num_bytes / 1e6:.2f} MB", ""]
        if self.description is None:
            lines += ["description    none: not exported by tfae"]
        else:
            lines[0] += f", exported {self.description['created']}"
            lines += _described(self.description)
        lines += [f"operations     {operation}" for operation in self.operations]
        for name, signature in self.signatures.items():
            lines += ["", name]
            for arrow, side in (("→", "inputs"), ("←", "outputs")):
                lines += [f"  {arrow} {tensor:16}{spec}" for tensor, spec in signature[side].items()]
        return "\n".join(lines)


def _described(description: dict[str, Any]) -> list[str]:
    model, loss, data, metrics = (description[key] for key in ("model", "loss", "data", "metrics"))
    source = (
        ", ".join(f"{key} {data[key]}" for key in ("name", "kind", "seed") if key in data) if data else "not recorded"
    )
    lines = [
        f"model          {model['name']}, {model['parameters']:,} parameters, latent_dim {model['latent_dim']}",
        f"loss           {loss['class_name']}, {loss['sample_reduction']} over elements",
        f"preprocessing  {description['preprocessing']['method']}",
        f"data           {source}",
        "versions       " + ", ".join(f"{name} {version}" for name, version in description["versions"].items()),
    ]
    if metrics is not None:
        shown = {name: metrics[name] for name in _SHOWN if isinstance(metrics.get(name), float)}
        lines += ["test split     " + ", ".join(f"{name} {value:.4g}" for name, value in shown.items())]
    return lines


def inspect_files(path: Path, description: dict[str, Any] | None) -> Inspection:
    """Read the SavedModel in the folder ``path``."""
    try:
        meta_graph = read_meta_graph(path)
    except tf.errors.OpError as error:
        raise ValueError(f"path: expected a SavedModel; received {path} ({error.message}).") from error
    return Inspection(
        path=path,
        num_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        signatures={
            name: {
                "inputs": {key: str(info) for key, info in signature.inputs.items()},
                "outputs": {key: str(info) for key, info in signature.outputs.items()},
            }
            for name, signature in signatures_of(meta_graph.signature_def).items()
        },
        operations=tuple(map(str, dangerous_operations(meta_graph))),
        description=description,
    )
