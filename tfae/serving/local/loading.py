"""Loading one version of a model, and trying its warm-up requests."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tfae.servable import Servable, read_warmup
from tfae.serving.local.prediction import check_inputs, find_signature, run, to_status_error
from tfae.serving.status import StatusError


def load(path: Path, *, allow_xla: bool = False) -> Servable:
    """Load the version in the folder ``path`` and send it its warm-up requests.

    Raises:
        StatusError: If it cannot be loaded, or a single warm-up request fails, as in TensorFlow Serving.
    """
    try:
        servable = Servable(path, xla_compilation_enabled=allow_xla)
    except tf.errors.OpError as error:
        raise to_status_error(error) from error
    except (ValueError, TypeError, KeyError, IndexError) as error:  # A graph that TensorFlow's importer trips over.
        raise StatusError("INVALID_ARGUMENT", f"{path}: {error}") from error
    try:
        for request in read_warmup(path):
            signature = find_signature(servable, request.signature)
            check_inputs(signature, request.inputs)
            run(servable, signature, request.inputs)
    except BaseException as error:
        servable.close()
        if isinstance(error, tf.errors.OpError):
            raise to_status_error(error) from error
        raise
    return servable
