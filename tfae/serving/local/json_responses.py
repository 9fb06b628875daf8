"""The JSON of responses over REST."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from google.protobuf import json_format
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap

from tfae.serving.client.inputs import to_object_vector
from tfae.serving.status import StatusError, VersionStatus
from tfae.tensor_spec import NOT_IN_JSON

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from tfae.serving.local.models import ModelVersion


def write_predictions(outputs: Mapping[str, np.ndarray], *, in_rows: bool) -> bytes:
    """Write outputs as ``predictions`` in rows, or as ``outputs`` in columns; a single output has no name.

    Raises:
        StatusError: INVALID_ARGUMENT for a dtype without JSON, or for rows if outputs differ in their number.

    Example:
        >>> write_predictions({"y": np.array([[1, np.nan]], "float32")}, in_rows=True)
        b'{"predictions": [[1.0, NaN]]}'
    """
    values = {name: _to_values(name, array) for name, array in outputs.items()}
    is_finite = all(array.dtype.kind != "f" or np.isfinite(array).all() for array in outputs.values())
    content = values if len(values) > 1 else next(iter(values.values()))
    if in_rows:
        sizes = {len(array) if array.ndim else None for array in outputs.values()}
        if None in sizes or len(sizes) > 1:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())
            raise StatusError(
                "INVALID_ARGUMENT",
                f"outputs: expected the same number of rows in each, for a request with 'instances'; the model gave "
                f"{shapes}. Send 'inputs' instead.",
            )
        if len(values) > 1:
            content = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return write({"predictions" if in_rows else "outputs": content}, is_finite=is_finite)


def write_status(versions: Sequence[VersionStatus]) -> bytes:
    """Write the states of versions."""
    entries = []
    for version in versions:
        status = {"error_code": version.error_code, "error_message": version.error_message}
        entries.append({"version": str(version.version), "state": version.state, "status": status})
    return write({"model_version_status": entries})


def write_metadata(version: ModelVersion, signature_def_map: Mapping[str, SignatureDef]) -> bytes:
    """Write the signatures of a version, with that of its init op."""
    signatures = json_format.MessageToDict(
        SignatureDefMap(signature_def=signature_def_map),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    spec = {"name": version.name, "version": str(version.number), "signature_name": ""}
    return write({"model_spec": spec, "metadata": {"signature_def": signatures}})


def write(document: dict[str, Any], *, is_finite: bool = True) -> bytes:
    """Write a document of plain values and arrays; with ``is_finite`` none of them is NaN or infinite."""
    if is_finite:  # orjson writes null for NaN and infinity.
        with contextlib.suppress(orjson.JSONEncodeError):  # Text that is not UTF-8 is sent as its bytes.
            return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    text = json.dumps(document, ensure_ascii=False, default=lambda array: array.tolist())
    return text.encode(errors="surrogateescape")


def _to_values(name: str, array: np.ndarray) -> Any:
    """Return an output as values that can be written."""
    if array.dtype.name in NOT_IN_JSON:
        raise StatusError("INVALID_ARGUMENT", f"{name}: expected an output that JSON can carry; it is {array.dtype}.")
    if array.dtype == object:
        is_binary = name.endswith("_bytes")
        leaves = [
            {"b64": base64.b64encode(value).decode()} if is_binary else value.decode(errors="surrogateescape")
            for value in array.flat
        ]
        return to_object_vector(leaves).reshape(array.shape).tolist()
    return np.ascontiguousarray(array) if array.ndim else array.item()
