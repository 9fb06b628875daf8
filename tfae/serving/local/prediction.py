"""What a Predict request has to satisfy before anything runs: checks and texts of TensorFlow Serving."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.framework import types_pb2

from tfae.servable import INIT_OP, Signature
from tfae.serving.local.tensors import dtype_of
from tfae.serving.status import CODES, StatusError

if TYPE_CHECKING:
    import numpy as np

    from tfae.servable import Servable

DEFAULT_SIGNATURE = "serving_default"


def signature_of(servable: Servable, name: str) -> Signature:
    """The signature of that name, ``serving_default`` for an empty one.

    Raises:
        StatusError: FAILED_PRECONDITION if there is none, as gRPC has it; REST says INVALID_ARGUMENT.
    """
    name = name or DEFAULT_SIGNATURE
    if name == INIT_OP and name in servable.signature_def_map:
        return Signature(name, "", {}, {})  # The real server offers it like any other.
    if name not in servable.signatures:
        raise StatusError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    return servable.signatures[name]


def check_inputs(signature: Signature, received: Collection[str]) -> None:
    """Refuse inputs other than those of the signature.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    expected = set(signature.inputs)
    if len(received) != len(expected):
        extra, missing = set(received) - expected, expected - set(received)
        raise StatusError(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(received)}!={len(expected)} len({_braces(received)}) != "
            f"len({_braces(expected)}). Sent extra: {_braces(extra)}. Missing but required: {_braces(missing)}.",
        )
    for name, info in signature.inputs.items():
        if name not in received:
            raise StatusError(
                "INVALID_ARGUMENT",
                f"Signature input alias: {name}(feed name: {info.tensor_name}) not found in request and no default "
                f"value provided. Inputs expected to be in the request {_braces(received)}, or default input alias "
                "set: ",
            )


def check_dtypes(signature: Signature, inputs: Mapping[str, np.ndarray]) -> None:
    """Refuse inputs of other dtypes than the graph has.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    # The server numbers the inputs by the names of their tensors.
    by_tensor = sorted(signature.inputs, key=lambda name: signature.inputs[name].tensor_name)
    for index, name in enumerate(by_tensor):
        expected, received = signature.inputs[name].dtype, dtype_of(inputs[name])
        if received != expected:
            raise StatusError(
                "INVALID_ARGUMENT",
                f"Expects arg[{index}] to be {_cpp(expected)} but {_cpp(received)} is provided",
            )


def wanted_outputs(signature: Signature, output_filter: Sequence[str]) -> list[str] | None:
    """The outputs that a request names, None for all of them.

    Raises:
        StatusError: INVALID_ARGUMENT for a name that is unknown, or there twice.
    """
    wanted: list[str] = []
    for name in output_filter:
        if name not in signature.outputs:
            raise StatusError(
                "INVALID_ARGUMENT",
                f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                f"{_braces(signature.outputs)}.",
            )
        if name in wanted:
            raise StatusError("INVALID_ARGUMENT", f"duplicate output tensor alias: {name}")
        wanted.append(name)
    return wanted or None


def run_alone(
    servable: Servable, signature_name: str, inputs: Mapping[str, np.ndarray], outputs: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Ask a signature with the inputs of one request; arguments and answer as in `Models.run`.

    Raises:
        StatusError: What the kernel says.
    """
    if signature_name == INIT_OP:
        (info,) = servable.signature_def_map[INIT_OP].outputs.values()
        raise StatusError(
            "OUT_OF_RANGE", f"Node '{info.name}' (type: 'NoOp', num of outputs: 0) does not have output 0"
        )
    try:
        return servable.run(signature_name, inputs, outputs)
    except tf.errors.OpError as error:
        raise status_error(error) from error
    except UnicodeDecodeError as error:
        # TensorFlow quotes what the client sent, trips over it, and with that loses the code of the kernel's error.
        # REST answers with the very bytes, as the real server does.
        raise StatusError("INVALID_ARGUMENT", error.object.decode("utf-8", "surrogateescape")) from error


def status_error(error: tf.errors.OpError) -> StatusError:
    """What a client is told when a kernel fails."""
    return StatusError(CODES[error.error_code], error.message)


def _cpp(dtype: tf.DType) -> str:
    """What TensorFlow's C++ code calls a dtype: float32 is ``float`` there."""
    return types_pb2.DataType.Name(dtype.as_datatype_enum).removeprefix("DT_").lower()


def _braces(names: Iterable[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"
