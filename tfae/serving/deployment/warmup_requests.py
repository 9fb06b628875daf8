"""Requests of a model's warm-up, which it is known to answer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

from tfae.servable import WARMUP, Request, read_warmup
from tfae.serving.client.json_bodies import write_request
from tfae.tensor_spec import Signature, TensorSpec

#: Bytes of all bodies together. They go into one ConfigMap, of which Kubernetes stores 1 MiB.
MAX_BYTES = 900_000


def read_requests(version: Path) -> list[Request]:
    """The warm-up of the version in a folder; a ValueError if there is none that can be read."""
    try:
        requests = read_warmup(version)
    except tf.errors.OpError as error:
        raise ValueError(
            f"saved_models: expected warm-up requests that can be read; received {version / WARMUP} ({error.message}). "
            "Export the model again with `tfae export`."
        ) from error
    if not requests:
        raise ValueError(
            f"saved_models: expected a model with warm-up requests, which say what it answers and in which batch "
            f"sizes; received {version} with none in {WARMUP.as_posix()}. Export it again with `tfae export`."
        )
    return requests


def list_batch_sizes(requests: Iterable[Request]) -> list[int]:
    """Numbers of rows with which every signature is warmed up, ascending; a ValueError if there are none."""
    sizes: dict[str, set[int]] = {}
    for request in requests:
        rows = {array.shape[0] if array.ndim else 0 for array in request.inputs.values()}
        sizes.setdefault(request.signature, set()).update(rows if len(rows) == 1 else ())
    common = set.intersection(*sizes.values()) - {0}
    if not common:
        each = "; ".join(f"{signature} with {sorted(found)}" for signature, found in sorted(sizes.items()))
        raise ValueError(
            f"saved_models: expected warm-up requests that have every signature run with the same numbers of rows; "
            f"received {each}. Export the model again with `tfae export`."
        )
    return sorted(common)


def write_rest_bodies(requests: Iterable[Request]) -> tuple[dict[str, str], list[str]]:
    """The shortest request of each signature as JSON for REST, and the signatures that are too long or not for REST."""
    shortest: dict[str, str] = {}
    signatures = []
    for request in requests:
        signatures.append(request.signature)
        if body := _body(request):
            shortest[request.signature] = min(body, shortest.get(request.signature, body), key=len)
    chosen: dict[str, str] = {}
    for signature, body in sorted(shortest.items(), key=lambda item: len(item[1])):
        if sum(map(len, chosen.values())) + len(body) <= MAX_BYTES:
            chosen[signature] = body
    if not chosen:
        raise ValueError(
            f"saved_models: expected a signature with a request of at most {MAX_BYTES:,} bytes of JSON, for the "
            f"readiness probe; received {', '.join(sorted(set(signatures)))} with longer ones or dtypes that REST can "
            "not carry. Serve smaller samples."
        )
    return dict(sorted(chosen.items())), sorted(set(signatures) - set(chosen))


def _body(request: Request) -> str | None:
    """The request as REST takes it; None if that can not carry it."""
    specs = {name: TensorSpec("", (None,) if array.ndim else ()) for name, array in request.inputs.items()}
    try:
        return write_request(Signature(request.signature, specs, {}), request.inputs).decode()
    except ValueError:
        return None
