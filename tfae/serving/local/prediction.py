"""Predict requests, for REST, gRPC and warm-up alike: loading, validation and execution."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from tfae.servable import Servable, read_warmup
from tfae.serving.status import CODES, StatusError
from tfae.tensor_spec import Signature

if TYPE_CHECKING:
    import numpy as np

_LOG = logging.getLogger("tfae.serving")


def load(path: Path, *, allow_xla: bool = False) -> Servable:
    """Load the version in the folder ``path``, and run its warm-up requests: one that fails is an error."""
    try:
        servable = Servable(path, xla_compilation_enabled=allow_xla)
        if servable.defect is not None:
            _LOG.warning("Every request will fail: %s.", servable.defect)
        for request in read_warmup(path):
            signature = find_signature(servable, request.signature)
            validate_inputs(signature, request.inputs)
            run(servable, signature, request.inputs)
        return servable
    except tf.errors.OpError as error:
        raise _to_status_error(error) from error
    except (ValueError, TypeError, KeyError, IndexError) as error:  # From TensorFlow's importer.
        raise StatusError("INVALID_ARGUMENT", f"{path}: {error}") from error


def find_signature(servable: Servable, name: str) -> Signature:
    """Return the signature of a name, ``serving_default`` if it is empty; FAILED_PRECONDITION if there is none."""
    name = name or "serving_default"
    if name not in servable.signatures:
        expected = ", ".join(servable.signatures)
        raise StatusError("FAILED_PRECONDITION", f"signature_name: expected one of {expected}; received {name!r}.")
    return servable.signatures[name]


def validate_inputs(signature: Signature, received: Collection[str]) -> None:
    """Raise INVALID_ARGUMENT unless the names are those of the inputs of the signature."""
    if set(received) != set(signature.inputs):
        expected, given = (", ".join(sorted(names)) or "none" for names in (signature.inputs, received))
        message = f"inputs: expected {expected} for the signature {signature.name}; received {given}."
        raise StatusError("INVALID_ARGUMENT", message)


def run(servable: Servable, signature: Signature, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a signature as `Servable.run` does; errors have the code and message of the kernel."""
    try:
        return servable.run(signature.name, inputs)
    except tf.errors.OpError as error:
        raise _to_status_error(error) from error
    except UnicodeDecodeError as error:
        # TensorFlow fails to decode bytes that an error quotes, and loses the code.
        raise StatusError("INVALID_ARGUMENT", error.object.decode("utf-8", "replace")) from error


def _to_status_error(error: tf.errors.OpError) -> StatusError:
    # The message may quote bytes that are not UTF-8.
    return StatusError(CODES[error.error_code], error.message.encode("utf-8", "replace").decode())
