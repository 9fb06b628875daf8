"""The inputs of a Predict request, by name, or TensorFlow Serving's word on what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfae.serving.local.rest.tensor import Tensor, dense, invalid, is_base64
from tfae.serving.local.rest.values import Members, quoted
from tfae.serving.status import StatusError

if TYPE_CHECKING:
    from tfae.servable.signatures import TensorInfo


def signature_name(document: Members) -> str:
    """The signature that a request is for, ``""`` if it does not say.

    Raises:
        StatusError: INVALID_ARGUMENT if the name is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {quoted(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def read_inputs(
    document: Members, infos: Mapping[str, TensorInfo], *, has_booleans: bool = True
) -> tuple[dict[str, np.ndarray], bool]:
    """The inputs of a Predict request.

    Args:
        document: The request.
        infos: The inputs of the signature, of which there is at least one; of their shapes nothing is asked.
        has_booleans: Whether ``true`` or ``false`` may be among the values. NumPy takes them for numbers, so that
            every value has to be looked at.

    Returns:
        An array for each input, strings as object arrays of bytes; and whether the answer has to be in rows.

    Raises:
        StatusError: INVALID_ARGUMENT; UNIMPLEMENTED for dtypes that cannot be sent.
    """
    if "instances" not in document:
        if "inputs" not in document:
            raise invalid("Missing 'inputs' or 'instances' key")
        return _columns(document.get("inputs"), infos, has_booleans), False
    if "inputs" in document:
        raise invalid(
            f"JSON Value: {quoted(document)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    rows = document.get("instances")
    if not isinstance(rows, list):
        raise invalid(f"JSON Value: {quoted(document)} Expecting 'instances' to be an list/array")
    if not rows:
        raise invalid(f"JSON Value: {quoted(document)} No values in 'instances' array")
    fast = None if has_booleans else _fast_rows(rows, infos)
    return (_rows(rows, infos) if fast is None else fast), True


def _columns(value: object, infos: Mapping[str, TensorInfo], has_booleans: bool) -> dict[str, np.ndarray]:
    """Inputs from what ``inputs`` holds."""
    if isinstance(value, Members) and not is_base64(value):
        named = value
    elif len(infos) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    else:
        named = Members([(next(iter(infos)), value)])
    arrays = {}
    for name, info in infos.items():
        if name not in named:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        item, dtype = named.get(name), _dtype_name(info)
        array = None if has_booleans or not isinstance(item, list) else dense(item, dtype)
        if array is None:
            tensor = Tensor(name, dtype)
            tensor.add(item)
            array = tensor.array(())
        arrays[name] = array
    return arrays


def _rows(rows: list, infos: Mapping[str, TensorInfo]) -> dict[str, np.ndarray]:
    """Inputs from ``instances``, value by value."""
    if not isinstance(rows[0], Members) and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_named(rows[0])
    tensors: dict[str, Tensor] = {}
    for index, row in enumerate(rows):
        if _is_named(row) != named:
            expected, received = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {expected} but got {received} at item {index} of input list")
        for name, value in row.pairs if named else [(next(iter(infos)), row)]:
            try:
                if name not in infos:
                    raise invalid(f"JSON object: does not have named input: {name}")
                tensors.setdefault(name, Tensor(name, _dtype_name(infos[name]))).add(value)
            except StatusError as error:
                key = f" key: {name}" if named else ""
                raise invalid(f"Failed to process element: {index}{key} of 'instances' list. Error: {error}") from None
        if named and set(row.names) != set(infos):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: {quoted(row)} keys must be "
                f"equal to: {','.join(sorted(infos))}"
            )
    return {name: tensor.array((len(rows),)) for name, tensor in tensors.items()}


def _is_named(value: object) -> bool:
    """Whether a value holds inputs by name; ``{"b64": "..."}`` is a string."""
    return isinstance(value, Members) and not is_base64(value)


def _fast_rows(rows: list, infos: Mapping[str, TensorInfo]) -> dict[str, np.ndarray] | None:
    """As `_rows` does, for rows of numbers alone; None where there is anything to be said about them."""
    columns: dict[str, list] = {}
    if all(isinstance(row, Members) for row in rows):
        names = sorted(infos)
        if any(sorted(row.names) != names for row in rows):
            return None
        columns = {name: [row.get(name) for row in rows] for name in infos}
    elif len(infos) == 1:
        columns = {next(iter(infos)): rows}
    arrays = {}
    for name, values in columns.items():
        array = dense(values, _dtype_name(infos[name]))
        if array is None:
            return None
        arrays[name] = array
    return arrays or None


def _dtype_name(info: TensorInfo) -> str:
    return info.dtype.name
