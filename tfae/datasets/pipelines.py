"""``tf.data`` pipelines and ``PyDataset`` as arrays: read once, so that what belongs together stays together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

#: What an element can hold, by name. The names are those of the arguments of ``load``.
_NAMES = ("samples", "labels", "inputs", "sample_weight")
_BY_NAME = (
    'dicts {"samples": x}, with "inputs" for what the model gets in their place, "sample_weight" and "labels" as there '
    "are: dataset.map(lambda x, y: {...})"
)
#: Samples that are batched at once where they come one by one.
_BATCH = 1024


def is_pipeline(source: Any) -> bool:
    """Whether this is read here."""
    return isinstance(source, tf.data.Dataset | keras.utils.PyDataset)


def read(source: Any, called: str) -> dict[str, np.ndarray]:
    """Read a pipeline whole, in one pass, as arrays ``(n, ...)`` by name, "samples" among them.

    It is one of batches ``x``, ``(x, x)``, ``(x, label)``, ``(x, x, sample_weight)``, or of dicts by name, and ends.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for element in _batches_of(source, called):
        named = {name: np.asarray(array) for name, array in _name_items(element, called).items()}
        for name, array in named.items():
            if array.ndim == 0 or len(array) != len(named["samples"]):
                raise ValueError(
                    f"source: expected {called} to give as many {name} as samples; received {len(named['samples'])} "
                    f"samples and {name} of shape {array.shape} in a batch."
                )
            parts.setdefault(name, []).append(array)
    if not parts:
        raise ValueError(f"source: expected {called} to hold at least one sample; received none.")
    for name, arrays in parts.items():
        others = [each.shape[1:] for each in arrays if each.shape[1:] != arrays[0].shape[1:]]
        if others:
            raise ValueError(
                f"source: expected {called} to give {name} of one shape; received {arrays[0].shape[1:]} and "
                f"{others[0]}. Pad them to one length: padded_batch(128, padded_shapes=...)."
            )
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _batches_of(source: Any, called: str) -> Iterator[Any]:
    if isinstance(source, keras.utils.PyDataset):
        if source.num_batches is None:
            raise ValueError(f"source: expected {called} to end; received one without a length.")
        return (source[index] for index in range(source.num_batches))
    if _repeats(source):
        raise ValueError(f"source: expected {called} to end; received one that repeats forever. Use take().")
    spec = source.element_spec
    specs = tf.nest.flatten(spec)
    if not specs or not all(isinstance(each, tf.TensorSpec) for each in specs):
        raise ValueError(f"source: expected {called} to give tensors; received {spec}. Use to_tensor() on others.")
    samples = _name_items(spec, called)["samples"].shape
    is_batched = _is_batched(source, None if samples.rank is None else samples[:1].as_list())
    if is_batched is None and samples.rank == 1 and None not in samples:
        is_batched = False  # A batch of samples has an axis more.
    if is_batched is None:
        raise ValueError(
            f"source: expected {called} to say what a batch is; received elements of shape {samples} that no batch() "
            "made. If each is one sample, add .batch(128), or .padded_batch(128) where lengths differ; if each is a "
            "batch, add .unbatch().batch(128)."
        )
    if not is_batched and None in samples:
        raise ValueError(
            f"source: expected {called} to give samples of one shape; received {samples}. Pad them to one length: "
            "padded_batch(128, padded_shapes=...)."
        )
    return _read_on((source if is_batched else source.batch(_BATCH)).as_numpy_iterator(), called)


def _read_on(elements: Iterator[Any], called: str) -> Iterator[Any]:
    try:
        yield from elements
    except tf.errors.OpError as error:
        message = re.sub(r"^{{.*?}} | \[Op:.*", "", error.message).partition("\nTraceback")[0]
        remedy = " Pad them: padded_batch(128)." if "different shapes" in message else ""
        raise ValueError(
            f"source: expected {called} to be read to its end; received an error of it: {message.rstrip('.')}.{remedy}"
        ) from error


def _repeats(dataset: Any) -> bool:
    """Whether a pipeline never ends, as far as its steps tell: after a filter, TensorFlow does not know."""
    cardinality = dataset.cardinality()
    if cardinality != tf.data.UNKNOWN_CARDINALITY or "take" in type(dataset).__name__.lower():
        return bool(cardinality == tf.data.INFINITE_CARDINALITY)
    inputs = dataset._inputs()
    return len(inputs) == 1 and _repeats(inputs[0])


def _is_batched(dataset: Any, first: list[int | None] | None, *, is_whole: bool | None = None) -> bool | None:
    """Whether the first axis of the elements is one of samples, by the steps that made them; None if none says so.

    ``first`` is the length of that axis in a list, None where the rank is not known. Where it is known and not the
    batch's, as after ``.batch(1).map(lambda x: x[0])``, it is another axis.
    """
    step = type(dataset).__name__.lstrip("_").lower()
    is_whole = bool(dataset.cardinality() == 1) if is_whole is None else is_whole
    if "unbatch" in step or "tensorslice" in step:
        return False
    if "batch" in step:
        return True if first in (None, [None], [tf.nest.flatten(dataset.element_spec)[0].shape[0]]) else None
    if step == "tensordataset":
        return True if is_whole else None  # Several may be samples.
    if any(each in step for each in ("flatmap", "interleave", "group", "window", "scan")):
        return None  # What a function returns.
    answers = {_is_batched(each, first, is_whole=is_whole) for each in dataset._inputs()}
    return answers.pop() if len(answers) == 1 else None


def _name_items(element: Any, called: str) -> dict[str, Any]:
    """Name what an element holds: arrays or their specs."""
    if isinstance(element, Mapping):
        if "samples" not in element or not set(element) <= set(_NAMES):
            raise ValueError(
                f"source: expected {called} to give batches x, or {_BY_NAME}; received dicts of "
                f"{', '.join(map(repr, element))}."
            )
        _validate_flat(element.values(), element, called)
        return dict(element)
    items = element if isinstance(element, tuple | list) else (element,)
    _validate_flat(items, element, called)
    if len(items) == 1:
        return {"samples": items[0]}
    x, second = items[:2]
    if len(items) == 2 and len(second.shape) < max(2, len(x.shape)):
        return {"samples": x, "labels": second}
    _validate_same(x, second, called)
    return {"samples": x} | ({"sample_weight": items[2]} if len(items) == 3 else {})


def _validate_flat(items: Collection[Any], element: Any, called: str) -> None:
    """Raise ValueError for items of items, such as dicts of features, and for more items than ``fit`` takes."""
    is_nested = any(isinstance(item, Mapping | tuple | list) for item in items)
    if is_nested or not (isinstance(element, Mapping) or 1 <= len(items) <= 3):
        shapes = tf.nest.map_structure(lambda each: str(getattr(each, "shape", each)), element)
        raise ValueError(
            f"source: expected {called} to give x, (x, x), (x, label), (x, x, sample_weight), or {_BY_NAME}; received "
            f"elements of shapes {shapes}."
        )


def _validate_same(x: Any, second: Any, called: str) -> None:
    """Raise ValueError unless what comes second is the sample once more, as ``fit`` wants it."""
    if isinstance(x, tf.TensorSpec):
        is_same = x.shape.as_list() == second.shape.as_list() and x.dtype == second.dtype
    else:
        x, second = np.asarray(x), np.asarray(second)
        is_same = np.array_equal(x, second, equal_nan=x.dtype.kind == "f")
    if not is_same:
        raise ValueError(
            f"source: expected {called} to give x, (x, x) or (x, label); received pairs that differ. Name what is "
            f"which: {_BY_NAME}."
        )
