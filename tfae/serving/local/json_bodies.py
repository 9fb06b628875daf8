"""The JSON bodies of TensorFlow Serving's REST interface: requests, read as an array for each input, and responses."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from google.protobuf import json_format

from tfae.serving.client.json_bodies import map_leaves
from tfae.serving.status import StatusError
from tfae.tensor_spec import NOT_IN_JSON, TensorSpec

#: The types of the values that become an input, by its dtype.
_ACCEPTED: dict[str, set[type]] = {"bool": {bool}, "float32": {int, float}, "float64": {int, float}}
_ACCEPTED |= {name: {int} for name in ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")}
_ACCEPTED |= {"string": {str, dict}}

#: Keys of a request; of equal ones the first counts.
_KEYS = (b'"signature_name"', b'"instances"', b'"inputs"')
#: Numbers that TensorFlow Serving reads and the standard library does not, in its spelling.
_SPELLINGS = {"-NaN": "NaN", "Inf": "Infinity", "-Inf": "-Infinity"}
#: They, and whole strings, which keep their text.
_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|-NaN|-?Inf(?:inity)?', re.DOTALL)


def parse(body: bytes) -> dict[str, Any]:
    """Read the JSON object at the start of a body, and ignore the rest; INVALID_ARGUMENT if there is none.

    NaN, Infinity and Inf are numbers. Bytes that are not UTF-8 become lone surrogates (``surrogateescape``). Of equal
    keys ``signature_name``, ``instances`` or ``inputs`` the first counts; of others, the first or the last.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")  # The byte order mark.
    try:  # orjson takes the last of equal keys.
        is_repeated = any(body.count(key) > 1 for key in _KEYS)
        document = _parse_leniently(body) if is_repeated else orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _parse_leniently(body)
    if not isinstance(document, dict):
        raise _make_error(f"body: expected a JSON object; received {_describe(document)}.")
    return document


def read_signature_name(document: Mapping[str, Any]) -> str:
    """Return the name of the signature, ``""`` if there is none."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _make_error(f"signature_name: expected a string; received {_describe(name)}.")
    return name


def read_inputs(document: Mapping[str, Any], infos: Mapping[str, TensorSpec]) -> tuple[dict[str, np.ndarray], bool]:
    """Return the inputs, strings as object arrays of bytes, and whether the response is in rows."""
    if ("instances" in document) == ("inputs" in document):
        raise _make_error("body: expected either 'instances' (rows) or 'inputs' (columns); received both or neither.")
    in_rows = "instances" in document
    for name, info in infos.items():
        if info.dtype_name not in _ACCEPTED:
            raise StatusError(
                "INVALID_ARGUMENT" if in_rows else "UNIMPLEMENTED",
                f"{name}: expected a dtype that JSON can carry; the model wants {info.dtype_name}.",
            )
    columns = _split_rows(document["instances"], infos) if in_rows else _name_columns(document["inputs"], infos)
    return {name: _to_array(name, columns[name], info.dtype_name) for name, info in infos.items()}, in_rows


def write_predictions(outputs: Mapping[str, np.ndarray], *, in_rows: bool) -> bytes:
    """Write outputs as ``predictions`` in rows, or as ``outputs`` in columns; a single output has no name."""
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


def write_message(message: Any) -> bytes:
    """Write the answer of a gRPC service as that of REST, which has no types of what a message holds."""
    document = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for packed in document.get("metadata", {}).values():
        del packed["@type"]
    return write(document)


def write(document: dict[str, Any], *, is_finite: bool = True) -> bytes:
    """Write a document of plain values and arrays; with ``is_finite`` none of them is NaN or infinite."""
    if is_finite:  # orjson writes null for NaN and infinity.
        with contextlib.suppress(orjson.JSONEncodeError):  # Text that is not UTF-8 is sent as its bytes.
            return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    text = json.dumps(document, ensure_ascii=False, default=lambda array: array.tolist())
    return text.encode(errors="surrogateescape")


def _parse_leniently(body: bytes) -> object:
    """Parse what orjson rejects and TensorFlow Serving reads, more slowly."""
    text = body.decode(errors="surrogateescape")
    if "-NaN" in text or "Inf" in text:
        text = _TOKENS.sub(lambda match: _SPELLINGS.get(match[0], match[0]), text)
    decoder = json.JSONDecoder(object_pairs_hook=_keep_first, parse_float=_to_float, parse_int=_to_integer)
    try:
        return decoder.raw_decode(text.lstrip(" \t\n\r"))[0]
    except (ValueError, RecursionError) as error:
        raise _make_error(f"JSON Parse error: {error}") from None


def _keep_first(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return {**dict(pairs), **dict(reversed(pairs))}  # In the order of the first ones.


def _to_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"number too large: {text[:40]}")
    return value


def _to_integer(text: str) -> int | float:
    """As in orjson, an integer beyond 64 bits becomes a float."""
    value = int(text) if len(text) <= 20 else 2**64
    return value if -(2**63) <= value < 2**64 else _to_float(text)


def _is_named(value: object) -> bool:
    """Return whether a value is an object of inputs; ``{"b64": "..."}`` is a string."""
    return isinstance(value, dict) and not (len(value) == 1 and isinstance(value.get("b64"), str))


def _name_columns(value: Any, infos: Mapping[str, TensorSpec]) -> Mapping[str, Any]:
    """Return the value of each input; further names are ignored."""
    if len(infos) == 1 and not _is_named(value):
        return dict.fromkeys(infos, value)
    if not _is_named(value) or not infos.keys() <= value.keys():
        raise _make_error(f"inputs: expected an object with {', '.join(infos)}; received {_describe(value)}.")
    return value


def _split_rows(rows: Any, infos: Mapping[str, TensorSpec]) -> Mapping[str, list]:
    """Return a list of values for each input, one for each row."""
    if not isinstance(rows, list) or not rows:
        raise _make_error(f"instances: expected a list with at least one row; received {_describe(rows)}.")
    if len(infos) == 1 and not any(map(_is_named, rows)):
        return dict.fromkeys(infos, rows)
    for index, row in enumerate(rows):
        if not _is_named(row) or row.keys() != infos.keys():
            raise _make_error(
                f"instances: expected an object with {', '.join(infos)} in every row; received {_describe(row)} in row "
                f"{index}."
            )
    return {name: [row[name] for row in rows] for name in infos}


def _to_array(name: str, value: Any, dtype: str) -> np.ndarray:
    try:
        array = np.array(value, object)  # Else NumPy makes booleans and large integers other numbers.
    except (ValueError, RecursionError):
        raise _make_error(f"{name}: expected lists of equal lengths, not too deep; received others.") from None
    flat = array.reshape(-1)
    for odd in set(map(type, flat)) - _ACCEPTED[dtype]:
        raise _make_error(
            f"{name}: expected values of dtype {dtype}, in lists of equal lengths; received {odd.__name__}."
        )
    if dtype == "string":
        flat[:] = [_encode(name, item) for item in flat]
    elif _ACCEPTED[dtype] == {int} and array.size:  # Less than 32 bits wrap around, as in TensorFlow Serving.
        limits = np.iinfo("int32" if np.dtype(dtype).itemsize < 4 else dtype)
        least, most = array.min(), array.max()
        if not limits.min <= least <= most <= limits.max:
            raise _make_error(
                f"{name}: expected integers from {limits.min} to {limits.max}; received {least} to {most}."
            )
        array = array.astype(limits.dtype)
    with np.errstate(over="ignore"):  # 1e39 is Infinity in float32.
        return array.astype(object if dtype == "string" else dtype)


def _encode(name: str, item: str | dict[str, Any]) -> bytes:
    """Return the bytes of a string or of ``{"b64": "..."}``, in which padding and white space mean nothing."""
    try:
        if isinstance(item, str):
            return item.encode(errors="surrogateescape")
        if _is_named(item):
            raise _make_error(f'{name}: expected strings or {{"b64": "..."}}; received an object.')
        bare = "".join(item["b64"].split()).rstrip("=")
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except UnicodeEncodeError:
        raise _make_error(f"{name}: expected text; received half of a surrogate pair.") from None
    except ValueError as error:
        raise _make_error(f"{name}: expected base64; {error}.") from None


def _describe(value: object) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(value) or 'nothing'}"
    return "an empty list" if value == [] else type(value).__name__


def _make_error(message: str) -> StatusError:
    return StatusError("INVALID_ARGUMENT", message)


def _to_values(name: str, array: np.ndarray) -> Any:
    if array.dtype.name in NOT_IN_JSON:
        raise StatusError("INVALID_ARGUMENT", f"{name}: expected an output that JSON can carry; it is {array.dtype}.")
    if array.dtype == object:
        if name.endswith("_bytes"):
            return map_leaves(lambda value: {"b64": base64.b64encode(value).decode()}, array).tolist()
        return map_leaves(lambda value: value.decode(errors="surrogateescape"), array).tolist()
    return np.ascontiguousarray(array) if array.ndim else array.item()
