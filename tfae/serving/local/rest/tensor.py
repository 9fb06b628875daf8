"""One JSON value, or one for each row, as an array of a dtype."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterator

import numpy as np

from tfae.serving.local.rest.values import Members, kind, quoted
from tfae.serving.status import StatusError

#: NumPy 1 has no more axes than that, in which case nothing that means anything is lost.
_MOST_AXES = 32
#: What TensorFlow calls its dtypes where that is not NumPy's name.
DTYPE_NAMES = {"float32": "float", "float64": "double", "float16": "half"}

#: Integers that a number has to be one of. Those of less than 32 bits then wrap around.
_INT32 = (-(2**31), 2**31 - 1)
_RANGES = {
    "int8": _INT32,
    "int16": _INT32,
    "int32": _INT32,
    "uint8": _INT32,
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
_FLOATS = ("float32", "float64")
#: Standard alphabet only; whether the padding is right is looked at afterwards.
_BASE64 = re.compile(r"([A-Za-z0-9+/]*)([=.]*)")
_WHITE_SPACE = dict.fromkeys(map(ord, " \t\n\v\f\r"))


def is_base64(value: Members) -> bool:
    """Whether an object is ``{"b64": "..."}``, which stands for a string."""
    return len(value.pairs) == 1 and isinstance(value.get("b64"), str)


class Tensor:
    """The values of one input, gathered from one or more JSON values of equal shapes.

    Args:
        name: Of the input.
        dtype: NumPy's name of its dtype.
    """

    def __init__(self, name: str, dtype: str) -> None:
        self.name, self.dtype = name, dtype
        self.shape: tuple[int, ...] | None = None
        self.size = 0
        self.values: list = []

    def add(self, value: object) -> None:
        """Append one JSON value.

        Raises:
            StatusError: If it has a shape of its own, or none, or holds what the dtype does not.
        """
        shape, before = _shape(value), len(self.values)
        self.values += _leaves(value, shape, self.dtype)
        size = len(self.values) - before
        if self.shape is None:
            self.shape, self.size = shape, size
        elif size != self.size:
            raise invalid(f"Expecting tensor size: {self.size} but got: {size}")
        elif shape != self.shape:
            raise invalid(f"Expecting shape {_shape_text(self.shape)} but got: {_shape_text(shape)}")

    def array(self, rows: tuple[int, ...]) -> np.ndarray:
        """All values; ``rows`` is the first axis, if there is one more than that of each value."""
        shape = rows + (self.shape or ())
        if len(shape) > _MOST_AXES:
            raise invalid(f"tensor parsing error: {self.name}")
        values = self.values[: math.prod(shape)]  # More come from rows that name an input twice.
        if self.dtype == "string":
            array = np.empty(len(values), object)
            array[:] = values
        elif self.dtype == "bool":
            array = np.array(values, bool)
        elif self.dtype in _FLOATS:
            array = _as_floats(np.array(values, np.float64), self.dtype)
        else:
            array = np.array(values, np.uint64 if self.dtype == "uint64" else np.int64).astype(self.dtype)
        return array.reshape(shape)


def _shape(value: object) -> tuple[int, ...]:
    """The shape that the first element of each list implies."""
    sides = []
    while isinstance(value, list):
        sides.append(len(value))
        value = value[0] if value else None
    return tuple(sides)


def _leaves(value: object, shape: tuple[int, ...], dtype: str) -> Iterator[object]:
    """All values in order, converted; lists are kept on a stack, not on Python's."""
    convert, rank = _conversion(dtype), len(shape)
    stack = [iter([value])]
    while stack:
        level = len(stack) - 1
        for item in stack[-1]:
            if isinstance(item, list):
                if level >= rank:
                    raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
                if len(item) != shape[level]:
                    raise invalid(
                        f"Encountered list at unexpected size: {len(item)} at level: {level} expected size: "
                        f"{shape[level]}"
                    )
                stack.append(iter(item))
                break
            if level != rank:
                raise invalid(
                    f"JSON Value: {quoted(item)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                    f"level: {rank}"
                )
            yield convert(item)
        else:
            stack.pop()


def _conversion(dtype: str) -> Callable[[object], object]:
    """What makes a value of that dtype of a JSON value, or raises."""
    name = DTYPE_NAMES.get(dtype, dtype)

    def refuse(value: object) -> StatusError:
        return invalid(f"JSON Value: {quoted(value)} Type: {kind(value)} is not of expected type: {name}")

    def convert(value: object) -> object:
        if isinstance(value, Members):
            if dtype != "string":
                raise refuse(value)
            return decoded(value)
        if dtype == "string":
            if not isinstance(value, str):
                raise refuse(value)
            return value.encode(errors="surrogateescape")
        if dtype == "bool":
            if not isinstance(value, bool):
                raise refuse(value)
        elif dtype in _FLOATS:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise refuse(value)
        elif dtype in _RANGES:
            low, high = _RANGES[dtype]
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise refuse(value)
        else:
            raise StatusError("UNIMPLEMENTED", f"Conversion of JSON Value: {quoted(value)} to type: {name}")
        return value

    return convert


def decoded(value: Members) -> bytes:
    """The bytes of ``{"b64": "..."}``."""
    if not is_base64(value):
        raise invalid(f"JSON Value: {quoted(value)} not formatted correctly for base64 data")
    match = _BASE64.fullmatch(str(value.get("b64")).translate(_WHITE_SPACE))
    if match is None or len(match[1]) % 4 == 1 or len(match[2]) not in (0, -len(match[1]) % 4):
        raise invalid("Unable to base64 decode")
    return base64.b64decode(match[1] + "=" * (-len(match[1]) % 4))


def dense(values: list, dtype: str) -> np.ndarray | None:
    """Nested lists of numbers as an array; None if they are anything else, or not numbers of that dtype."""
    if dtype not in _RANGES and dtype not in _FLOATS:
        return None
    try:
        array = np.array(values)
    except (ValueError, RecursionError):  # Ragged, or too deep.
        return None
    if array.ndim > _MOST_AXES or (array.dtype.kind not in "iuf"):
        return None
    if dtype in _FLOATS:
        return _as_floats(array.astype(np.float64, copy=False), dtype)
    if array.size and array.dtype.kind == "f":
        return None
    low, high = _RANGES[dtype]
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        return None
    return array.astype(dtype)


def _as_floats(array: np.ndarray, dtype: str) -> np.ndarray:
    """float64 as floats of that dtype; denormals become zero, as in the threads of the real server."""
    with np.errstate(over="ignore", invalid="ignore"):
        array = array.astype(dtype, copy=False)
    tiny = np.finfo(array.dtype).tiny
    denormal = (np.abs(array) < tiny) & (array != 0)
    return np.where(denormal, np.copysign(array.dtype.type(0), array), array) if denormal.any() else array


def _shape_text(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def invalid(message: str) -> StatusError:
    """What refuses a value that cannot be."""
    return StatusError("INVALID_ARGUMENT", message)
