"""What is in a SavedModel, read from its files alone: nothing of it is loaded or run."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import tensorflow as tf

from tfae import provenance
from tfae.export.publication import find_version
from tfae.servable import find_operations, list_signatures, read_meta_graph, read_warmup

#: What a SavedModel of tfae says about itself, and the version of that page's layout.
DESCRIPTION = Path("assets.extra", "tfae.json")
FORMAT = 1
#: What of an evaluation fits into a line.
_SHOWN = ("loss", "excess", "constant_skill", "linear_skill", "mse", "mae", "psnr", "train_loss")


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a SavedModel holds; ``print`` shows it as a page.

    Attributes:
        path: Folder of the version.
        num_bytes: Size of all its files.
        signatures: By name, ``{"inputs": {name: "dtype (shape)"}, "outputs": …}``.
        operations: Those that may do more than compute, and links out of its folder, in words; tfae exports none.
        description: What ``tfae.export.save`` wrote about it; None if it was not made by tfae.
        example: Lines for a shell that ask a server on this machine for a score; None if it was not made by tfae.
    """

    path: Path
    num_bytes: int
    signatures: dict[str, dict[str, dict[str, str]]]
    operations: tuple[str, ...]
    description: dict[str, Any] | None
    example: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values by field name, fit for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        lines = [f"{self.path}  {self.num_bytes / 1e6:.2f} MB", ""]
        lines += (
            ["description    none: not exported by tfae"] if self.description is None else _list_facts(self.description)
        )
        lines += [f"operations     {operation}" for operation in self.operations]
        for name, signature in self.signatures.items():
            lines += ["", name]
            for arrow, side in (("→", "inputs"), ("←", "outputs")):
                lines += [f"  {arrow} {tensor:16}{spec}" for tensor, spec in signature[side].items()]
        if self.example is not None:
            lines += ["", f"for example, once `tfae serve {shlex.quote(str(self.path.parent))}` runs:", self.example]
        return "\n".join(lines)


def _list_facts(description: dict[str, Any]) -> list[str]:
    """Lines of a page on a description; some error if it is not laid out as ``save`` does."""
    model, loss, data, metrics = (description[key] for key in ("model", "loss", "data", "metrics"))
    source = (
        ", ".join(f"{key} {data[key]}" for key in ("name", "kind", "seed") if key in data) if data else "not recorded"
    )
    lines = [
        f"exported       {description['created']}",
        f"model          {provenance.format_model(model)}",
        f"loss           {loss['class_name']}, {loss['sample_reduction']} over elements",
        f"preprocessing  {description['preprocessing']['method']}",
        f"data           {source}",
        "versions       " + ", ".join(f"{name} {version}" for name, version in description["versions"].items()),
    ]
    names = (data or {}).get("feature_names")
    if names:  # In the order of the inputs.
        listed = ", ".join(
            json.dumps(name, ensure_ascii=False) if '"' in name or "," in name else name for name in names
        )
        wrapped = textwrap.wrap(listed, 45, break_long_words=False, break_on_hyphens=False)
        lines += [f"columns        {len(names)}, in this order:", *(" " * 15 + line for line in wrapped)]
    if calibration := description.get("calibration"):
        lines += [
            f"alarms         above a score of {calibration['threshold']:.6g}, at a false-alarm rate of "
            f"{calibration['false_alarm_rate']:g}; {calibration['num_samples']:,} samples of {calibration['source']}"
        ]
    if metrics is not None:
        shown = {name: metrics[name] for name in _SHOWN if isinstance(metrics.get(name), float)}
        lines += ["test split     " + ", ".join(f"{name} {value:.4g}" for name, value in shown.items())]
    return lines


def read_description(version: Path) -> dict[str, Any]:
    """What ``save`` wrote about the SavedModel in the folder ``version``."""
    try:
        description = json.loads((version / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"path: expected a SavedModel exported by tfae; received {version}, whose {DESCRIPTION} can not be read "
            f"({error})."
        ) from error
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"path: expected a description of format {FORMAT}; received {version} with format {found}. "
            "Use the version of tfae that exported it, or export it once more."
        )
    try:
        _list_facts(description)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"path: expected a description as tfae writes it; received {version} with a damaged {DESCRIPTION} "
            f"({error!r}). Export it once more, or delete that file to use it as a model of unknown origin."
        ) from error
    return description


def inspect(path: str | os.PathLike[str]) -> Inspection:
    """Say what is in a SavedModel, of tfae or not, without loading or running anything of it.

    Args:
        path: As for :func:`tfae.export.load`.

    Raises:
        ValueError: If there is no SavedModel at the path, or it is damaged.
    """
    path = find_version(path)
    description = read_description(path) if (path / DESCRIPTION).exists() else None
    try:
        signatures, operations = list_signatures(read_meta_graph(path)), find_operations(path)
    except (tf.errors.OpError, ValueError) as error:
        reason = error.message if isinstance(error, tf.errors.OpError) else error
        raise ValueError(f"path: expected a SavedModel; received {path} ({reason}).") from error
    return Inspection(
        path=path,
        num_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        signatures={
            name: {
                side: {tensor: str(spec) for tensor, spec in getattr(signature, side).items()}
                for side in ("inputs", "outputs")
            }
            for name, signature in signatures.items()
        },
        operations=tuple(operations),
        description=description,
        example=None if description is None else _write_example(path),
    )


def _write_example(version: Path) -> str | None:
    """Commands that ask a server on this machine for a score over REST; None where REST carries no such request.

    Of a table it is that of a row of its warm-up requests; of all else, whose samples are too long to read, of zeros.
    """
    try:
        requests = [request.inputs for request in read_warmup(version) if request.signature == "score"]
    except tf.errors.OpError:
        return None
    rows = (
        {name: array[row] for name, array in each.items()}
        for each in requests
        for row in range(len(next(iter(each.values()))))
    )
    # For the gaps that a table may have JSON has no sign.
    row = next((each for each in rows if not any(np.any(value != value) for value in each.values())), None)
    if row is None:
        return None
    url = shlex.quote(f"http://localhost:8501/v1/models/{quote(version.absolute().parent.name, safe='')}:predict")
    if row.keys() != {"inputs"}:
        values = {name: _as_written(value) for name, value in row.items()}
        body = json.dumps({"signature_name": "score", "instances": [values]}, ensure_ascii=False)
        return f"curl -d {shlex.quote(body)} \\\n    {url}"
    zeros = "0"
    for side in reversed(row["inputs"].shape):
        zeros = f"[{zeros}]" + (f" * {side}" if side > 1 else "")
    document = f'{{"signature_name": "score", "instances": [{zeros}]}}'
    return f"python3 -c 'import json; print(json.dumps({document}))' |\n    curl -d @- {url}"


def _as_written(value: Any) -> Any:
    """A value as JSON has it; floats of golden requests are those of float32, and are written without more digits."""
    if isinstance(value, bytes):
        return value.decode()
    return float(str(np.float32(value))) if isinstance(value, np.floating) else value.item()
