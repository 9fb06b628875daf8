"""What is in a SavedModel, read from its files alone: nothing of it is loaded or run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfae.servable import find_operations, read_signatures

#: What of an evaluation fits into a line.
_SHOWN = ("loss", "excess", "constant_skill", "linear_skill", "mse", "mae", "psnr", "train_loss")


#: What a description holds, so far as it is read: kinds of values by name, those of mappings by name again.
_LAYOUT: dict[str, Any] = {
    "created": str,
    "model": {"name": str, "parameters": int, "latent_dim": int},
    "loss": {"class_name": str, "sample_reduction": str},
    "preprocessing": {"method": str},
    "data": dict | None,
    "metrics": dict | None,
    "versions": dict,
}


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a SavedModel holds; ``print`` shows it as a page.

    Attributes:
        path: Folder of the version.
        num_bytes: Size of all its files.
        signatures: By name, ``{"inputs": {name: "dtype (shape)"}, "outputs": …}``.
        operations: Those that may do more than compute, and links out of its folder, in words; tfae exports none.
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


def find_misfit(description: Any, layout: Any = _LAYOUT, name: str = "") -> str | None:
    """Where a description that was read is not laid out as :func:`tfae.export.save` writes it: what was expected there
    and what is; None if it is sound."""
    kind = dict if isinstance(layout, dict) else layout
    if not isinstance(description, kind):
        expected = getattr(kind, "__name__", str(kind))
        return f"{name or 'all'}: {expected}, not {type(description).__name__}"
    if not isinstance(layout, dict):
        return None
    for key, inner in layout.items():
        where = f"{name}.{key}" if name else key
        misfit = find_misfit(description[key], inner, where) if key in description else f"{where}, which is not there"
        if misfit is not None:
            return misfit
    return None


def inspect_files(path: Path, description: dict[str, Any] | None) -> Inspection:
    """Read the SavedModel in the folder ``path``."""
    try:
        signatures, operations = read_signatures(path), find_operations(path)
    except tf.errors.OpError as error:
        raise ValueError(f"path: expected a SavedModel; received {path} ({error.message}).") from error
    except ValueError as error:
        raise ValueError(f"path: expected a SavedModel; received {path} ({error})") from error
    return Inspection(
        path=path,
        num_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        signatures={
            name: {
                "inputs": {key: str(info) for key, info in signature.inputs.items()},
                "outputs": {key: str(info) for key, info in signature.outputs.items()},
            }
            for name, signature in signatures.items()
        },
        operations=tuple(operations),
        description=description,
    )
