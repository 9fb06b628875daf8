"""What a model gets in place of values that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfae.preprocessing.layer import Preprocessing


@final
@keras.saving.register_keras_serializable(package="tfae")
class FillGaps(keras.layers.Layer):
    """Fills gaps, and appends for each column that had some in training whether it is one.

    ``data.fill_gaps()`` makes it. Numbers are filled with their mean, yes and no with the share of yes, and categories
    with the rest.

    Args:
        fill: What stands in place of NaN, by element, ``(width,)``.
        shown: Elements of which gaps are shown: the first one of each column that had some.

    Call arguments:
        x: Samples in model space with NaN for gaps, ``(batch, width)``.

    Returns:
        ``(batch, width + len(shown))``, without NaN; what is appended is 1 for a gap and 0 for a value.

    Example:
        >>> FillGaps([0.5, 0.0], [1])(np.array([[1.0, np.nan]])).numpy().tolist()
        [[1.0, 0.0, 1.0]]
    """

    def __init__(self, fill: Sequence[float], shown: Sequence[int], *, name: str = "fill_gaps", **options: Any) -> None:
        super().__init__(name=name, **{"trainable": False, **options})
        self.fill, self.shown = [float(value) for value in fill], [int(index) for index in shown]

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> FillGaps | None:
        """Return the layer for data with that preprocessing; None if it has no gaps."""
        if preprocessing.fill is None:
            return None
        starts = np.cumsum([0, *(block.width for block in preprocessing.blocks)])
        had_gaps = (block.column in preprocessing.gaps for block in preprocessing.blocks)
        return cls(preprocessing.fill.tolist(), [int(s) for s, had in zip(starts, had_gaps, strict=False) if had])

    def call(self, x: Any) -> tf.Tensor:
        """Fill gaps, and show where they were."""
        is_gap = ops.isnan(x)
        filled = ops.where(is_gap, ops.cast(np.array(self.fill), x.dtype), x)
        shown = ops.take(ops.cast(is_gap, x.dtype), np.array(self.shown, "int32"), axis=-1)
        return ops.concatenate([filled, shown], axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal layer."""
        return {**super().get_config(), "fill": self.fill, "shown": self.shown}
