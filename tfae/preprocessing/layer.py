"""The layer that takes samples from data space to model space, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from tfae.columns import REST, REST_CODE, Block, Column, are_alike


@final
@keras.saving.register_keras_serializable(package="tfae")
class Preprocessing(keras.layers.Layer):
    """A fitted affine map: model space = (data space − offset) / scale. Made by :func:`fit`.

    The arithmetic is in float64 where the data is wider than float32 can hold (float64, integers of 32 bits
    and more), so that a large offset costs no digits; the result is float32.

    Args:
        method: ``"unit"``, ``"symmetric"``, ``"standard"`` or ``"none"``.
        sample_shape: Shape of one sample, in data space as in model space.
        sample_dtype: NumPy name of the data's own dtype, ``"uint8"`` for instance.
        offset: Subtracted from the data; a number, or one per feature or channel (the last axis).
        scale: What the data is divided by then; likewise, nowhere 0.
        value_range: Model-space range ``(low, high)`` of data within the range declared or fitted; None if unbounded.
        columns: What the columns of a table with names hold: :class:`tfae.columns.Column` or its
            ``as_dict()``. Numbers are scaled, yes and no stay 1 and 0, and a category becomes a block of elements, of
            which the one that stands for it is 1 and the others are 0.
        codes: Of each category column, by name, the codes of the categories that have an element of their own; the
            last element of a block stands for the rest.
        fill: What a model gets in place of a gap, float ``(model width,)``, where the data has gaps; they are NaN.
        gaps: Names of the columns that had gaps in training.

    Call arguments:
        x: Samples in data space, ``(batch, *sample_shape)``, of any numeric dtype.

    Returns:
        float32 ``(batch, *sample_shape)``, in model space.

    Example:
        >>> images = np.array([[[[0], [51]], [[102], [255]]]], dtype="uint8")
        >>> from tfae.preprocessing import fit
        >>> preprocessing = fit("unit", images, kind="image")
        >>> preprocessing(images).numpy().ravel()
        array([0. , 0.2, 0.4, 1. ], dtype=float32)
        >>> preprocessing.inverse(preprocessing(images)).numpy().ravel().tolist()
        [0.0, 51.0, 102.0, 255.0]
    """

    def __init__(
        self,
        method: str,
        *,
        sample_shape: Sequence[int],
        sample_dtype: str,
        offset: npt.ArrayLike = 0.0,
        scale: npt.ArrayLike = 1.0,
        value_range: tuple[float, float] | None = None,
        columns: Sequence[Column | Mapping[str, Any]] = (),
        codes: Mapping[str, Sequence[int]] | None = None,
        fill: npt.ArrayLike | None = None,
        gaps: Sequence[str] = (),
        name: str = "preprocessing",
    ) -> None:
        # Keras would cast float64 input to float32 before `call`, and to float16 under a mixed policy.
        super().__init__(name=name, dtype="float32", autocast=False, trainable=False)
        self.method = method
        self.sample_shape = tuple(sample_shape)
        self.sample_dtype = np.dtype(sample_dtype).name
        self.offset = np.asarray(offset, "float64")
        self.scale = np.asarray(scale, "float64")
        self.value_range = None if value_range is None else (float(value_range[0]), float(value_range[1]))
        self.columns = tuple(each if isinstance(each, Column) else Column(**each) for each in columns)
        self.codes = {name: list(of) for name, of in (codes or {}).items()}
        self.fill = None if fill is None else np.asarray(fill, "float32")
        self.gaps = tuple(gaps)
        wide = np.dtype(self.sample_dtype).itemsize > (4 if self.sample_dtype.startswith("float") else 2)
        self._arithmetic_dtype = "float64" if wide else "float32"

    @property
    def is_mixed(self) -> bool:
        """Whether a table has columns of several kinds, or gaps, so that it needs a loss per column."""
        return self.fill is not None or not are_alike(self.columns)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The elements of each column of a table with names in model space."""

        def names(column: Column) -> tuple[str, ...]:
            if column.kind != "category":
                return (column.name,)
            texts = [column.vocabulary[code] for code in self.codes[column.name]]
            return tuple(f"{column.name}={text}" for text in (*texts, REST))

        return tuple(Block(column.name, column.kind, names(column)) for column in self.columns)

    @property
    def model_shape(self) -> tuple[int, ...]:
        """Shape of one sample in model space."""
        return (sum(block.width for block in self.blocks),) if self.columns else self.sample_shape

    def call(self, x: Any) -> tf.Tensor:
        """Take samples from data space to model space."""
        x = ops.cast(x, self._arithmetic_dtype)
        scaled = (x - self._convert(self.offset)) / self._convert(self.scale)
        if self.codes:
            parts = [
                _one_hot(x[..., index], self.codes[column.name])
                if column.kind == "category"
                else scaled[..., index, None]
                for index, column in enumerate(self.columns)
            ]
            scaled = ops.concatenate(parts, axis=-1)
        return ops.cast(scaled, "float32")

    def inverse(self, x: Any) -> tf.Tensor:
        """Take samples back: data space = model space · scale + offset.

        Args:
            x: Samples or reconstructions in model space, ``(batch, *model_shape)``.

        Returns:
            float32 ``(batch, *sample_shape)``, in data space. For integers below 2²⁴ the round trip is exact
            after rounding; floats come back to float32 precision. Of a category it is the code of the likeliest, and
            of yes and no the likelier.
        """
        x = ops.cast(x, self._arithmetic_dtype)
        if self.codes:
            parts = ops.split(x, np.cumsum([block.width for block in self.blocks])[:-1].tolist(), axis=-1)
            pairs = zip(self.columns, parts, strict=True)
            x = ops.concatenate(
                [_likeliest(part, self.codes[c.name]) if c.kind == "category" else part for c, part in pairs], axis=-1
            )
        is_flag = np.array([column.kind == "yes/no" for column in self.columns], bool)
        if is_flag.any() and self.is_mixed:
            x = ops.where(is_flag & ~ops.isnan(x), ops.cast(x >= 0.5, x.dtype), x)
        return ops.cast(x * self._convert(self.scale) + self._convert(self.offset), "float32")

    def _convert(self, value: np.ndarray) -> tf.Tensor:
        return ops.convert_to_tensor(value, self._arithmetic_dtype)

    def get_config(self) -> dict[str, Any]:
        """Configuration from which ``from_config`` builds an equal layer, JSON-able."""
        return {
            "name": self.name,
            "method": self.method,
            "sample_shape": list(self.sample_shape),
            "sample_dtype": self.sample_dtype,
            "offset": self.offset.tolist(),
            "scale": self.scale.tolist(),
            "value_range": None if self.value_range is None else list(self.value_range),
            "columns": [column.as_dict() for column in self.columns],
            "codes": self.codes,
            "fill": None if self.fill is None else self.fill.tolist(),
            "gaps": list(self.gaps),
        }


def _one_hot(codes: tf.Tensor, known: Sequence[int]) -> tf.Tensor:
    """A 1 for each code among the known, in its place, and at the end for all others; NaN for a gap."""
    hot = ops.cast(codes[..., None] == ops.convert_to_tensor(np.array(known), codes.dtype), codes.dtype)
    hot = ops.concatenate([hot, 1 - ops.sum(hot, axis=-1, keepdims=True)], axis=-1)
    return ops.where(ops.isnan(codes)[..., None], ops.cast(np.nan, codes.dtype), hot)


def _likeliest(block: tf.Tensor, known: Sequence[int]) -> tf.Tensor:
    """The code of the largest element, with an axis of one; NaN for a gap."""
    codes = ops.convert_to_tensor(np.array([*known, REST_CODE]), block.dtype)
    found = ops.take(codes, ops.argmax(block, axis=-1))
    return ops.where(ops.isnan(block[..., 0]), ops.cast(np.nan, block.dtype), found)[..., None]
