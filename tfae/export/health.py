"""Whether a SavedModel answers: every signature is run, in the way of TensorFlow Serving."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfae.export.publication import find_version
from tfae.graph_messages import summarize
from tfae.servable import Request, Servable, find_operations, read_warmup
from tfae.tensor_spec import Signature

_OK = "OK"
#: Answers that are no verdict: nothing was asked.
_NOT_TRIED = "not tried"
#: Operations that an error names; a model can hold thousands.
_NUM_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Health:
    """What came of running a SavedModel; ``print`` shows it as a page.

    Attributes:
        path: Folder of the version.
        answers: By signature, ``"OK"`` and what was asked, ``"not tried"`` and why, or the error.
        defects: Why the model as a whole would not be served, or was not run.
    """

    path: Path
    answers: dict[str, str]
    defects: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing was found that is wrong."""
        return not self.defects and all(answer.startswith((_OK, _NOT_TRIED)) for answer in self.answers.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain values by field name, fit for JSON."""
        return {"healthy": self.healthy, "answers": self.answers, "defects": list(self.defects)}

    def __str__(self) -> str:
        lines = [f"health         {_OK if self.healthy else 'NOT OK'}", *(f"  {defect}" for defect in self.defects)]
        return "\n".join(lines + [f"  {name:18}{answer}" for name, answer in self.answers.items()])


def validate_operations(path: Path) -> None:
    """Raise ValueError if the SavedModel in the folder ``path`` may do more than compute; nothing of it is run."""
    operations = find_operations(path)
    if operations:
        raise ValueError(
            f"path: expected a SavedModel that only computes; received {path}, which holds {_name_some(operations)}. "
            "Nothing of it was run. If you know who made it and trust them, say trust=True."
        )


def check_health(path: str | os.PathLike[str], *, trust: bool = False) -> Health:
    """Run every signature of a SavedModel, of tfae or not, in the way of TensorFlow Serving.

    Args:
        path: As for :func:`tfae.export.load`.
        trust: Whether to run even what may read or write files or run Python.

    Returns:
        What came of it. Its warm-up requests are asked; a signature without any is asked for one row of zeros.

    Raises:
        ValueError: If there is no SavedModel at the path, or it is damaged.
    """
    path = find_version(path)
    try:
        operations = find_operations(path)
    except tf.errors.OpError as error:
        raise ValueError(f"path: expected a SavedModel; received {path} ({error.message}).") from error
    if operations and not trust:
        defect = f"holds {_name_some(operations)}. Nothing was run. If you trust who made it: trust=True, or --trust"
        return Health(path, {}, (defect,))
    try:
        servable = Servable(path)
    except (tf.errors.OpError, ValueError) as error:
        return Health(path, {}, (f"can not be loaded: {_reason(error)}",))
    try:
        requests, defects = read_warmup(path), []
    except tf.errors.OpError as error:
        requests, defects = [], [f"would not be loaded by a server, for its warm-up requests: {_reason(error)}"]
    if servable.defect is not None:
        return Health(path, {}, (servable.defect, *defects))
    defects += [
        f"would not be loaded by a server, for a warm-up request to {request.signature}, which it does not have"
        for request in requests
        if request.signature not in servable.signatures
    ]
    answers = {
        name: _answer(servable, signature, [request for request in requests if request.signature == name])
        for name, signature in servable.signatures.items()
    }
    return Health(path, answers, tuple(defects))


def _answer(servable: Servable, signature: Signature, requests: Sequence[Request]) -> str:
    asked = f"{len(requests)} warm-up request" + ("s" if len(requests) != 1 else "")
    if not requests:
        text = [name for name, info in signature.inputs.items() if info.is_string]
        if text:
            return f"{_NOT_TRIED}: without warm-up requests there is no telling what {', '.join(text)} holds"
        try:
            inputs = {name: info.zeros(1) for name, info in signature.inputs.items()}
        except (MemoryError, ValueError) as error:
            return f"{_NOT_TRIED}: there are no zeros to ask it for ({_reason(error)})"
        requests, asked = [Request(signature.name, inputs)], "zeros"
    for request in requests:
        try:
            if request.inputs.keys() != signature.inputs.keys():
                return f"a warm-up request has the inputs {', '.join(request.inputs)}"
            servable.run(signature.name, request.inputs)
        except (tf.errors.OpError, TypeError, ValueError) as error:  # The latter for what is no tensor of the graph.
            return f"{request}: {_reason(error)}"
    return f"{_OK}, {asked}"


def _name_some(operations: Sequence[str]) -> str:
    named = "; ".join(operations[:_NUM_NAMED])
    more = f"; and {len(operations) - _NUM_NAMED} more" if len(operations) > _NUM_NAMED else ""
    return f"{named}{more}"


def _reason(error: Exception) -> str:
    """Kind of the error and what it says."""
    return f"{type(error).__name__}: {summarize(error)}"
