"""Predict requests: the checks before anything runs, and the call itself, for REST and gRPC alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from tfae.servable import Signature
from tfae.serving.status import CODES, StatusError

if TYPE_CHECKING:
    import numpy as np

    from tfae.servable import Servable

DEFAULT_SIGNATURE = "serving_default"


def find_signature(servable: Servable, name: str) -> Signature:
    """The signature of that name, ``serving_default`` for an empty one; FAILED_PRECONDITION, as in gRPC, if none."""
    name = name or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise StatusError(
            "FAILED_PRECONDITION",
            f"signature_name: expected one of {', '.join(servable.signatures)}; received {name!r}.",
        )
    return servable.signatures[name]


def check_inputs(signature: Signature, received: Collection[str]) -> None:
    """Refuse inputs other than those of the signature as INVALID_ARGUMENT."""
    if set(received) != set(signature.inputs):
        expected, given = (", ".join(sorted(names)) or "none" for names in (signature.inputs, received))
        message = f"inputs: expected {expected} for the signature {signature.name}; received {given}."
        raise StatusError("INVALID_ARGUMENT", message)


def run(
    servable: Servable, signature: Signature, inputs: Mapping[str, np.ndarray], outputs: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Run a signature as `Servable.run` does; errors have the code and the words of the kernel."""
    try:
        return servable.run(signature.name, inputs, outputs)
    except tf.errors.OpError as error:
        raise to_status_error(error) from error
    except UnicodeDecodeError as error:
        # TensorFlow quotes what the client sent, trips over bytes that are no text, and loses the kernel's code.
        raise StatusError("INVALID_ARGUMENT", error.object.decode("utf-8", "replace")) from error


def to_status_error(error: tf.errors.OpError) -> StatusError:
    """What a client is told when a kernel fails."""
    return StatusError(CODES[error.error_code], error.message)
