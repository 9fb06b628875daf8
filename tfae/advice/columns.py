"""What the columns of a table are, and what in them is no feature: each with the option that deals with it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from tfae.datasets import Data
from tfae.datasets.defects import percent

#: Rows that are looked at, at least, however wide the table is.
MIN_ROWS = 1000
#: Share of rows from which on one extreme value may stand for a missing one, and the fewest rows that show anything.
_LEAST_SHARE, _LEAST_ROWS = 0.01, 20
#: Seconds, and thousandths, millionths and billionths of seconds since 1970, from 2001 to 2065.
_EPOCHS = {"seconds": 1, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}


def numbers_of(data: Data, rows: np.ndarray) -> Any:
    """Return the numbers in rows of a table of several kinds as data of numbers alone, with means in gaps."""
    chosen = [index for index, column in enumerate(data.columns) if column.kind == "number"]
    rows = rows[:, chosen]
    rows = np.where(np.isnan(rows), np.nanmean(rows, axis=0) if chosen else 0.0, rows)
    bounds = np.stack([rows.min(axis=0), rows.max(axis=0)])
    scaling = data.preprocessing
    return SimpleNamespace(
        raw=data.raw._replace(train=rows),
        shape=rows.shape[1:],
        bounds=data.bounds._replace(train=bounds, validation=bounds, test=bounds),
        kind="table",
        feature_names=tuple(data.columns[index].name for index in chosen),
        value_range=data.value_range,
        preprocessing=SimpleNamespace(
            method=scaling.method,
            offset=np.broadcast_to(scaling.offset, len(data.columns))[chosen],
            scale=np.broadcast_to(scaling.scale, len(data.columns))[chosen],
        ),
    )


def describe_kinds(data: Data) -> Iterator[str]:
    """Yield a sentence for each kind of column: which loss it has, and why."""
    of_kind: dict[str, list[str]] = {}
    for column, block in zip(data.columns, data.preprocessing.blocks, strict=True):
        known = f"{column.name} ({block.width - 1} of {len(column.vocabulary)} told apart)"
        of_kind.setdefault(column.kind, []).append(known if column.kind == "category" else column.name)
    for kind, reason in (
        ("category", "one of some texts: cross-entropy, the negative log-likelihood of such, of a softmax per column"),
        ("yes/no", "true or false: binary cross-entropy, their negative log-likelihood"),
        ("number", "numbers: the loss above"),
    ):
        if kind in of_kind:
            yield f"{_listed(of_kind[kind])}: {reason}"


def find_suspects(data: Data, rows: np.ndarray) -> Iterator[str]:
    """Yield what in rows of a table is most likely no feature, or no value."""
    if len(rows) < _LEAST_ROWS:
        return
    are_missing = np.isnan(rows).mean(axis=0)
    if are_missing.any():
        order = [i for i in np.argsort(-are_missing).tolist() if are_missing[i]]
        worst = [f"{data.columns[i].name} {percent(are_missing[i])}" for i in order]
        yield f"missing values: {_listed(worst)}; gaps=mask leaves these cells out, gaps=drop their rows"
    seen: dict[bytes, str] = {}
    for index, column in enumerate(data.columns):
        values = rows[:, index]
        present = values[~np.isnan(values)]
        if len(present) < _LEAST_ROWS or present.min() == present.max():
            continue
        ranks = np.unique(values, return_inverse=True)[1].astype("int32")
        key = min(ranks.tobytes(), (ranks.max() - ranks).tobytes())  # Of falling values, too.
        other = seen.setdefault(key, column.name)
        if other != column.name and ranks.max() > 1:
            yield f"{column.name} says the same as {other}: drop=[{column.name!r}] leaves it out"
        if column.kind != "number":
            continue
        if (filler := _find_filler(present)) is not None:
            share = percent(float((present == filler).mean()))
            yield (
                f"{column.name} is {filler:g} in {share} of the rows, far from all other values, as what stands for a "
                f"missing one is: missing=['{filler:g}'] takes it so"
            )
        whole = bool((present == np.floor(present)).all())
        low, high = present.min(), present.max()
        unit = next((name for name, per in _EPOCHS.items() if 1e9 * per < low and high < 3e9 * per), None)
        if whole and unit:
            yield f"{column.name} looks like times, {unit} since 1970: drop=[{column.name!r}] leaves it out"
        elif whole and len(np.unique(present)) == len(present):
            yield (
                f"{column.name} is another whole number in every row, as identifiers are: drop=[{column.name!r}] "
                "leaves it out"
            )


def _find_filler(values: np.ndarray) -> float | None:
    """The least or greatest value, if many rows share it and it is further from the others than these are apart."""
    for value, far in ((values.min(), -1), (values.max(), 1)):
        others = values[values != value]
        if len(others) < _LEAST_ROWS or len(others) > (1 - _LEAST_SHARE) * len(values):
            continue
        distance = float(far * (value - (others.min() if far < 0 else others.max())))
        if distance > float(others.max() - others.min()) and not math.isclose(distance, 0):
            return float(value)
    return None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
