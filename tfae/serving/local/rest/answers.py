"""The JSON text of answers, blank for blank as TensorFlow Serving lays it out.

Text is str; bytes that are not UTF-8 stand in it as lone surrogates, see ``values``.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfae.serving.local.rest.float_text import float_texts
from tfae.serving.local.rest.tensor import DTYPE_NAMES
from tfae.serving.local.rest.values import string_text
from tfae.serving.status import StatusError

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from tfae.serving.local.models import VersionStatus

_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")
_BLANKS = "    "


def error_text(message: str) -> str:
    """What a client gets instead of an answer."""
    return f'{{\n{_BLANKS}"error": {string_text(message)}\n}}'


def predictions_text(outputs: Mapping[str, np.ndarray]) -> str:
    """The outputs in rows; with one output there are no names.

    Raises:
        StatusError: INVALID_ARGUMENT if an output has no rows, or another number of them, or a dtype without JSON.
    """
    num_rows = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise StatusError("INVALID_ARGUMENT", f"Tensor name: {name} has no shape information ")
        if num_rows is not None and len(array) != num_rows:
            raise StatusError(
                "INVALID_ARGUMENT",
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {num_rows}",
            )
        num_rows = len(array)
    level = 2 if len(outputs) == 1 else 3
    columns = {
        name: _in_lines(_texts(name, array, level + array.ndim - 1), array.shape) for name, array in outputs.items()
    }
    if not num_rows:
        return f'{{\n{_BLANKS}"predictions": []\n}}'
    if len(columns) == 1:
        (rows,) = columns.values()
        return f'{{\n{_BLANKS}"predictions": [{", ".join(rows)}\n{_BLANKS}]\n}}'
    members = [[f"{_BLANKS * 3}{string_text(name)}: {text}" for text in texts] for name, texts in columns.items()]
    separator = ",\n"
    objects = [f"{_BLANKS * 2}{{\n{separator.join(row)}\n{_BLANKS * 2}}}" for row in zip(*members, strict=True)]
    return f'{{\n{_BLANKS}"predictions": [\n{separator.join(objects)}\n{_BLANKS}]\n}}'


def outputs_text(outputs: Mapping[str, np.ndarray]) -> str:
    """The outputs in columns; a single one has no name.

    Raises:
        StatusError: INVALID_ARGUMENT if an output has a dtype without JSON.
    """
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        return f'{{\n{_BLANKS}"outputs": {_indented(_texts(name, array, 1 + array.ndim), array.shape, 1)}\n}}'
    members = [
        f"{_BLANKS * 2}{string_text(name)}: {_indented(_texts(name, array, 2 + array.ndim), array.shape, 2)}"
        for name, array in outputs.items()
    ]
    separator = ",\n"
    return f'{{\n{_BLANKS}"outputs": {{\n{separator.join(members)}\n{_BLANKS}}}\n}}'


def status_text(versions: Sequence[VersionStatus]) -> str:
    """The states of a model's versions."""
    entries = [
        {
            "version": str(version.version),
            "state": version.state,
            "status": {"error_code": version.error_code, "error_message": version.error_message},
        }
        for version in versions
    ]
    return json.dumps({"model_version_status": entries}, indent=1, ensure_ascii=False) + "\n"


def metadata_text(name: str, version: int, signature_def_map: Mapping[str, SignatureDef]) -> str:
    """The signatures of a version, the loader's own included."""
    # Both take a while to import, and many requests never need them.
    from google.protobuf import json_format
    from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap

    message = SignatureDefMap()
    for key, signature in signature_def_map.items():
        message.signature_def[key].CopyFrom(signature)
    signatures = json_format.MessageToJson(
        message,
        indent=1,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        ensure_ascii=False,
    )
    spec = json.dumps({"name": name, "version": str(version), "signature_name": ""}, indent=1, ensure_ascii=False)
    return f'{{\n"model_spec":{spec}\n,\n"metadata": {{"signature_def": {signatures}\n}}\n}}\n'


def _texts(name: str, array: np.ndarray, level: int) -> list[str]:
    """The text of each value; ``level`` is how many arrays and objects are around one."""
    dtype = array.dtype.name
    flat = array.reshape(-1)
    if dtype in ("float32", "float64"):
        return float_texts(flat)
    if dtype in _INTEGERS:
        return list(map(str, flat.tolist()))
    if dtype == "bool":
        return ["true" if value else "false" for value in flat.tolist()]
    if dtype == "object" and name.endswith("_bytes"):
        inner = "\n" + _BLANKS * (level + 1)
        outer = "\n" + _BLANKS * level
        return [f'{{{inner}"b64": "{base64.b64encode(value).decode()}"{outer}}}' for value in flat]
    if dtype == "object":
        return [string_text(value.decode(errors="surrogateescape")) for value in flat]
    if len(flat):
        raise StatusError(
            "INVALID_ARGUMENT", f"Failed to write JSON value for tensor type: {DTYPE_NAMES.get(dtype, dtype)}"
        )
    return []


def _in_lines(texts: list[str], shape: tuple[int, ...]) -> list[str]:
    """One line for each row: lists nested as in ``shape``, without its first axis."""
    for axis in range(len(shape) - 1, 0, -1):
        side, count = shape[axis], math.prod(shape[:axis])
        texts = [f"[{', '.join(texts[index * side : (index + 1) * side])}]" for index in range(count)]
    return texts


def _indented(texts: list[str], shape: tuple[int, ...], level: int) -> str:
    """All values, each in a line of its own; ``level`` is how many objects are around them."""
    for axis in range(len(shape) - 1, -1, -1):
        side, count = shape[axis], math.prod(shape[:axis])
        if not side:
            texts = ["[]"] * count
            continue
        inner, outer = "\n" + _BLANKS * (level + axis + 1), "\n" + _BLANKS * (level + axis)
        separator = "," + inner
        texts = [
            f"[{inner}{separator.join(texts[index * side : (index + 1) * side])}{outer}]" for index in range(count)
        ]
    return texts[0]
