"""The JSON bodies of TensorFlow Serving's REST interface, in rows or in columns.

Rows are used for a single batched input: the response to an image of one channel takes a sixth of the bytes, as the
server writes every bracket of a column on a line of its own. Several inputs and 0-D tensors need columns.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from tfae.tensor_spec import NOT_IN_JSON, Signature, TensorSpec

#: Most characters of a number with its comma.
_WIDTHS = {"bool": 6, "uint8": 4, "int8": 5, "int16": 7, "uint32": 11, "int32": 12, "float32": 17}
_WIDEST = 25


def write_request(signature: Signature, inputs: Mapping[str, np.ndarray]) -> bytes:
    """Return the body of a predict request; ValueError for a dtype that JSON does not carry."""
    tensors = {name: _write(name, array) for name, array in inputs.items()}
    if _is_in_rows(signature):
        content = b'"instances":' + next(iter(tensors.values()))
    else:
        content = b'"inputs":{' + b",".join(orjson.dumps(name) + b":" + text for name, text in tensors.items()) + b"}"
    return b'{"signature_name":' + orjson.dumps(signature.name) + b"," + content + b"}"


def read_response(body: bytes, signature: Signature) -> dict[str, np.ndarray]:
    """Return the outputs by name, also the single one, which has no name in the body; some error if it is none."""
    document = read_json(body)
    key = "predictions" if _is_in_rows(signature) else "outputs"
    if not isinstance(document, dict) or key not in document:
        raise ValueError(f'no "{key}" in it')
    values = document[key]
    names = set(signature.outputs)
    if len(names) == 1:
        columns = dict.fromkeys(names, values)
    elif key == "outputs":
        columns = _validate_names(values, names)
    else:
        if not isinstance(values, list):
            raise ValueError("expected a list of predictions")
        rows = [_validate_names(row, names) for row in values]
        columns = {name: [row[name] for row in rows] for name in names}
    return {name: _read(name, columns[name], spec) for name, spec in signature.outputs.items()}


def read_json(body: bytes) -> Any:
    """Parse JSON with NaN, infinity and strings that are not UTF-8; ValueError if it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:  # orjson is strict; the standard library is lenient, and slower.
        pass
    try:
        return json.loads(body.decode("utf-8", "surrogateescape"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def estimate_row_bytes(array: np.ndarray) -> int:
    """At most how many bytes of a request the largest row takes."""
    shape = array.shape[1:]
    brackets = 3 * sum(math.prod(shape[:axis]) for axis in range(len(shape) + 1))
    if array.dtype.kind == "O":
        longest = max(sum(map(len, row)) for row in array.reshape(len(array), -1).tolist())
        return longest * 4 // 3 + len('{"b64":"=="},') * math.prod(shape) + brackets
    return math.prod(shape) * _WIDTHS.get(array.dtype.name, _WIDEST) + brackets


def map_leaves(function: Callable[[Any], object], array: np.ndarray) -> np.ndarray:
    """What a function returns for each element, as objects; NumPy's own bytes lose zeros at the end."""
    return np.vectorize(function, otypes=[object])(array)


def _is_in_rows(signature: Signature) -> bool:
    return signature.is_batch_first and len(signature.inputs) == 1


def _validate_names(values: Any, names: set[str]) -> dict[str, Any]:
    if not isinstance(values, dict) or set(values) != names:
        received = ", ".join(sorted(values)) if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"expected outputs {', '.join(sorted(names))}; received {received}")
    return values


def _write(name: str, array: np.ndarray) -> bytes:
    if array.dtype.name in NOT_IN_JSON:
        raise ValueError(
            f"{name}: expected an input of a dtype that REST carries; received {array.dtype}, which the model takes. "
            "Use a grpc:// address."
        )
    if array.dtype.kind == "O":
        return orjson.dumps(map_leaves(lambda data: {"b64": base64.b64encode(data).decode("ascii")}, array).tolist())
    contiguous = np.ascontiguousarray(array) if array.ndim else array[()]
    text = orjson.dumps(contiguous, option=orjson.OPT_SERIALIZE_NUMPY)
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return text
    # orjson writes null for NaN and infinity; the server reads the names of the standard library, which itself would
    # write every float32 with the digits of a float64.
    names = (json.dumps(number).encode("ascii") for number in array[~np.isfinite(array)].tolist())
    return re.sub(b"null", lambda _: next(names), text)


def _read(name: str, values: Any, spec: TensorSpec) -> np.ndarray:
    dtype = spec.dtype
    if spec.is_string:
        array = _read_strings(name, values, spec)
    elif dtype.kind in "iu":  # As objects, since NumPy alone makes large integers floats.
        array = np.array(values, dtype=object)
        if any(type(number) is not int for number in array.flat):
            raise ValueError(f"expected integers in {name}")
        array = array.astype(dtype)
    else:
        array = np.array(values)
        if array.size and array.dtype.kind not in {"f": "fiu", "b": "b"}.get(dtype.kind, ""):
            raise ValueError(f"expected {dtype} in {name}")
        array = array.astype(dtype)
    if not array.size and spec.shape:  # [] does not tell the rank.
        array = array.reshape((*array.shape, *(side or 0 for side in spec.shape[array.ndim :])))
    return array


def _read_strings(name: str, values: Any, spec: TensorSpec) -> np.ndarray:
    def read(leaf: Any) -> bytes:
        if isinstance(leaf, dict) and set(leaf) == {"b64"}:
            return base64.b64decode(leaf["b64"], validate=True)
        if isinstance(leaf, str):
            return leaf.encode("utf-8", "surrogateescape")
        raise ValueError(f"expected strings in {name}")

    return map_leaves(read, np.array(values, dtype=object))
