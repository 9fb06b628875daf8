"""The gate before publication: a SavedModel has to answer as the Keras model does, on a server's terms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfae.export.golden_requests import GoldenRequest
from tfae.servable import (
    Request,
    Servable,
    dangerous_operations,
    list_signatures,
    read_meta_graph,
    read_warmup,
    unservable_signatures,
    write_warmup,
)
from tfae.tensor_spec import NOT_IN_JSON

#: How far an answer may be from that of Keras, relative to it.
RTOL = 1e-5
#: Requests in a warm-up file, and bytes of their inputs; the requests of one row come first, one per signature.
MAX_REQUESTS = 100
MAX_BYTES = 32_000_000


def validate_graph(path: Path) -> None:
    """Validate the SavedModel in the folder ``path``, which TensorFlow Serving may load and then fail; nothing is run.

    Raises:
        ValueError: If the graph holds operations that may do more than compute, or needs XLA; or if an input or output
            has no batch axis or a dtype that the server does not carry.
    """
    # Here, because the functions of Python code still exist in this process, so that the code would run.
    meta_graph = read_meta_graph(path)
    found = dangerous_operations(meta_graph)
    for name, error in unservable_signatures(meta_graph).items():
        found.append(f"{error.message.splitlines()[0]}: signature {name}")
    for signature in list_signatures(meta_graph).values():
        for name, spec in {**signature.inputs, **signature.outputs}.items():
            if spec.dtype_name in NOT_IN_JSON:
                found.append(f"{signature.name}: {name} of dtype {spec.dtype_name}")
            if not spec.is_batch_first:
                found.append(f"{signature.name}: {name} of {spec}, without a batch axis")
    if found:
        raise ValueError(
            f"autoencoder: expected a graph that TensorFlow Serving can run; received one with {'; '.join(found)}. "
            "Nothing was published: build its layers of operations that only compute, without jit_compile."
        )


def write_golden(path: Path, golden: Sequence[GoldenRequest], *, model_name: str) -> None:
    """Write golden requests as the warm-up file of the version in the folder ``path``, as many as fit."""

    def num_bytes(array: np.ndarray) -> int:
        return sum(map(len, array)) if array.dtype == object else array.nbytes

    sizes = np.cumsum([sum(map(num_bytes, each.request.inputs.values())) for each in golden])
    one_each = len({each.request.signature for each in golden})
    num_fitting = min(MAX_REQUESTS, max(one_each, int((sizes <= MAX_BYTES).sum())))
    write_warmup(path, [each.request for each in golden[:num_fitting]], model_name=model_name)


def validate_parity(path: Path, golden: Sequence[GoldenRequest]) -> None:
    """Ask the SavedModel in the folder ``path`` its golden requests, those of its warm-up file as they are there.

    A float b̂ has to be within 1e-5·|b| of the answer b of Keras, plus its slack: what rounding in the model's output
    can do to b. Without that, a perfect reconstruction would fail: its score is a difference of nearly equal numbers,
    and consists of rounding errors. A flag, an integer or a string has to be that of Keras, except where that rounding
    turns Keras's into another one, as it does with the flag of a score that equals its threshold.

    Raises:
        ValueError: If it can not be loaded, a request fails, an answer differs, or depends on what else is in the
            batch.
    """
    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0}, allow_soft_placement=True)
    try:
        servable = Servable(path, config=config)
    except tf.errors.OpError as error:
        raise ValueError(
            f"autoencoder: expected one whose SavedModel TensorFlow Serving can load; loading failed with "
            f"{type(error).__name__}: {error.message.splitlines()[0]} Nothing was published."
        ) from error
    written = read_warmup(path)
    requests = [*written, *(each.request for each in golden[len(written) :])]
    answered: dict[tuple[str, str, int], np.ndarray] = {}
    for each, request in zip(golden, requests, strict=True):
        outputs = _ask(servable, request)
        for name, served in outputs.items():
            _compare(each, name, served)
            for position, row in enumerate(each.rows):
                first = answered.setdefault((request.signature, name, row), served[position])
                _compare_rows(each, name, position, served[position], first)


def _ask(servable: Servable, request: Request) -> dict[str, np.ndarray]:
    try:
        return servable.run(request.signature, request.inputs)
    except tf.errors.OpError as error:
        raise ValueError(
            f"{request.signature}: expected an answer to the golden request {request}; received from the SavedModel "
            f"{type(error).__name__}: {error.message.splitlines()[0]} Nothing was published."
        ) from error


def _compare(golden: GoldenRequest, name: str, served: np.ndarray) -> None:
    expected, slack = golden.expected[name], golden.slack[name]
    if served.shape != expected.shape or served.dtype != expected.dtype:
        raise ValueError(
            f"{golden.request.signature}: expected {name} as {expected.dtype} {expected.shape}; received from the "
            f"SavedModel {served.dtype} {served.shape}. Nothing was published."
        )
    worst = _find_difference(served, expected, slack)
    if worst is not None:
        raise ValueError(
            f"{golden.request.signature}: expected the answers of the Keras model, to {RTOL:g} relative; received from "
            f"the SavedModel {name}[{_index(worst)}] = {_text(served[worst])} where Keras gives "
            f"{_text(expected[worst])}, on the golden request {golden.request}. Nothing was published. Look for what "
            "does something else in a graph than in Python: keeps a state, draws random numbers, or branches on a "
            "Python value."
        )


def _compare_rows(golden: GoldenRequest, name: str, position: int, served: np.ndarray, first: np.ndarray) -> None:
    # Of rows without axes, too, the slack stays an array.
    served, first = np.asarray(served), np.asarray(first)
    worst = _find_difference(served, first, np.asarray(golden.slack[name][position]))
    if worst is not None:
        raise ValueError(
            f"{golden.request.signature}: expected answers that do not depend on what else is in the batch; received "
            f"{name}[{_index((position, *worst))}] = {_text(served[worst])} on the golden request {golden.request}, "
            f"where the same sample in another batch gave {_text(first[worst])}. Nothing was published. Look for a "
            "layer that reduces or normalises over the batch axis."
        )


def _find_difference(served: np.ndarray, expected: np.ndarray, slack: np.ndarray) -> tuple[int, ...] | None:
    """Index of the element that is furthest beyond what is allowed; None if none is."""
    if slack.dtype == bool:
        beyond = np.asarray(served != expected, bool) & ~slack
    else:
        difference = np.abs(served.astype("float64") - expected)
        beyond = np.nan_to_num(difference, nan=np.inf) - RTOL * np.abs(expected.astype("float64")) - slack
    worst = np.unravel_index(np.argmax(beyond), beyond.shape)
    return tuple(int(index) for index in worst) if beyond[worst] > 0 else None


def _text(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, np.floating) else repr(value)


def _index(index: Sequence[int]) -> str:
    return ", ".join(map(str, index))
