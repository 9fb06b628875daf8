"""What the columns of a table hold: numbers, categories, yes and no."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import pyarrow as pa

from tfae.columns import Column
from tfae.datasets.columns import validate_known
from tfae.load_options import ReadOptions


def find_columns(
    found: Mapping[str, str], features: Sequence[str], options: ReadOptions, where: str
) -> tuple[Column, ...]:
    """Return what the columns of a table that are asked for hold, as ``found`` or as the options say.

    Times that are not asked for by name are left out; ``where`` is what holds the table, for errors.
    """
    category, number = options.category or (), options.number or ()
    for argument, asked in (("category", category), ("number", number)):
        for name in asked:
            validate_known(argument, name, list(found), where)
    if both := set(category) & set(number):
        raise ValueError(f"number: expected other columns than those of category; received {both.pop()!r} in both.")
    kinds = {name: "category" if name in category else "number" if name in number else found[name] for name in features}
    times = [name for name, kind in kinds.items() if kind == "time"]
    if times and options.columns is None:
        what = f"{', '.join(times)}, which hold{'s' if len(times) == 1 else ''} times"
        warnings.warn(f"left out {what}; drop=[...] says so, and category=[...] makes categories of them", stacklevel=2)
        kinds = {name: kind for name, kind in kinds.items() if kind != "time"}
    others = [
        f"{name!r} ({kind})" for name, kind in kinds.items() if kind not in ("number", "yes/no", "text", "category")
    ]
    if others or not kinds:
        raise ValueError(
            f"source: expected columns of numbers, categories, or true and false; received "
            f"{', '.join(others or map(repr, times))} in {where}. Leave these out, drop=[...], or take one for label=."
        )
    return tuple(Column(name, "category" if kind == "text" else kind) for name, kind in kinds.items())


def kind_of(dtype: pa.DataType) -> str:
    """What a column of that type of Arrow holds."""
    if pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_decimal(dtype):
        return "number"
    if pa.types.is_boolean(dtype):
        return "yes/no"
    if pa.types.is_null(dtype):
        return "missing"
    if pa.types.is_temporal(dtype):
        return "time"
    return "text" if is_text(dtype) else str(dtype)


def is_text(dtype: pa.DataType) -> bool:
    """Whether a column of that type holds texts."""
    if pa.types.is_dictionary(dtype):
        dtype = dtype.value_type
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_null(dtype)
