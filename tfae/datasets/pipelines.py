"""``tf.data`` pipelines as sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
import tensorflow as tf

from tfae.datasets.source import Batch, Part, normalize_shape


@final
@dataclass(kw_only=True, eq=False, repr=False)
class PipelinePart(Part):
    """Samples of a pipeline, in the order in which one pass over it gives them.

    Attributes:
        dataset: Batches ``x`` or ``(x, second)``.
        second: What comes second: "target", the sample once more; "label", or None.
        called: What errors call it.
    """

    dataset: tf.data.Dataset
    second: str | None
    called: str

    def blocks(self, size: int) -> Iterator[Batch]:
        """Yield the samples in blocks of ``size``, whatever the batches are."""
        for element in self.dataset.unbatch().batch(size).as_numpy_iterator():
            samples, second = (element, np.empty(0)) if self.second is None else element
            if self.second == "target" and not np.array_equal(samples, second, equal_nan=samples.dtype.kind == "f"):
                raise ValueError(
                    f"source: expected {self.called} to give x, or (x, x); received pairs that differ. Name what the "
                    "model gets: load(clean, inputs=noisy), each a pipeline x."
                )
            yield samples.reshape(-1, *self.shape), second if self.second == "label" else None


def open_part(dataset: tf.data.Dataset, called: str) -> PipelinePart:
    """Open a pipeline of batches ``x``, ``(x, x)`` or ``(x, label)``, as ``fit`` takes them.

    Raises:
        ValueError: If it gives something else, or never ends.
    """
    spec = dataset.element_spec
    specs = spec if isinstance(spec, tuple) else (spec,)
    if len(specs) > 2 or not all(isinstance(each, tf.TensorSpec) for each in specs):
        raise ValueError(
            f"source: expected {called} to give batches x, (x, x) or (x, label); received {spec}. Keep what is to be "
            "reconstructed: dataset.map(lambda x, *rest: x); inputs= and sample_weight= take the rest."
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(f"source: expected {called} to end; received one that repeats forever. Use take().")
    sides = specs[0].shape.as_list() if specs[0].shape.rank else []
    # A first side that is fixed may be of a sample, as the number of its rows.
    if len(sides) < 2 or sides[0] is not None or None in sides[1:]:
        raise ValueError(
            f"source: expected {called} to give batches of samples of one shape, (None, ...); received "
            f"{specs[0].shape}. Batch it, dataset.batch(128), and leave drop_remainder out."
        )
    dtype = np.dtype(specs[0].dtype.as_numpy_dtype)
    shape = normalize_shape((1, *(side for side in sides[1:] if side is not None)), dtype, called)[1:]
    second = None
    if len(specs) == 2:
        second = "target" if specs[1].shape.as_list() == sides and specs[1].dtype == specs[0].dtype else "label"
        if second == "label" and specs[1].shape.rank != 1:
            raise ValueError(
                f"source: expected {called} to give x, (x, x), or (x, label) with a label of shape (None,); received "
                f"{spec}. Keep what is to be reconstructed: dataset.map(lambda x, *rest: x)."
            )
    return PipelinePart(shape=shape, dtype=dtype, dataset=dataset, second=second, called=called)
