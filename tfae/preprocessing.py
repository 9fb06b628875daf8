"""Invertible scaling from data space (what the user gave) to model space (what the model trains on) and back.

A fitted :class:`Preprocessing` is a Keras layer: it is saved beside the model, is part of every exported graph, and
its inverse takes reconstructions back to the user's units.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from tfae.casting import cast_and_compare
from tfae.moments import Samples
from tfae.moments import bounds as find_bounds
from tfae.moments import moments as find_moments

#: What the methods do, for error messages and the command line.
METHODS = {
    "unit": "to [0, 1]",
    "symmetric": "to [-1, 1]",
    "standard": "to mean 0 and standard deviation 1, per feature or per channel",
    "none": "unchanged",
}
#: Where those take the data that have a range of their own.
RANGES = {"unit": (0.0, 1.0), "symmetric": (-1.0, 1.0)}


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

    Call arguments:
        x: Samples in data space, ``(batch, *sample_shape)``, of any numeric dtype.

    Returns:
        float32 ``(batch, *sample_shape)``, in model space.

    Example:
        >>> images = np.array([[[[0], [51]], [[102], [255]]]], dtype="uint8")
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
        wide = np.dtype(self.sample_dtype).itemsize > (4 if self.sample_dtype.startswith("float") else 2)
        self._arithmetic_dtype = "float64" if wide else "float32"

    def call(self, x: Any) -> tf.Tensor:
        """Take samples from data space to model space."""
        x = ops.cast(x, self._arithmetic_dtype)
        return ops.cast((x - self._convert(self.offset)) / self._convert(self.scale), "float32")

    def inverse(self, x: Any) -> tf.Tensor:
        """Take samples back: data space = model space · scale + offset.

        Args:
            x: Samples or reconstructions in model space, ``(batch, *sample_shape)``.

        Returns:
            float32 ``(batch, *sample_shape)``, in data space. For integers below 2²⁴ the round trip is exact
            after rounding; floats come back to float32 precision.
        """
        x = ops.cast(x, self._arithmetic_dtype)
        return ops.cast(x * self._convert(self.scale) + self._convert(self.offset), "float32")

    def _convert(self, value: np.ndarray) -> tf.Tensor:
        return ops.convert_to_tensor(value, self._arithmetic_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape stays as it is."""
        return input_shape

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
        }


def fit(
    method: str,
    samples: Samples,
    *,
    kind: str,
    value_range: tuple[float, float] | None = None,
    feature_names: Sequence[str] | None = None,
    bounds: np.ndarray | None = None,
    moments: tuple[np.ndarray, np.ndarray] | None = None,
) -> Preprocessing:
    """Fit a scaling to samples; to those of the training split, lest the test set leaks into the model.

    Args:
        method: ``"unit"`` maps the range of the data to [0, 1], ``"symmetric"`` to [−1, 1], ``"standard"`` subtracts
            the mean and divides by the standard deviation, ``"none"`` only casts to float32. Ranges are per column of
            a table and of the whole data else; ``"standard"`` is per column or channel, the last axis.
        samples: Raw training samples, ``(num_samples, ...)``, numeric; in memory, or on disk and read in blocks.
        kind: ``"image"``, ``"sequence"``, ``"table"`` or ``"other"``.
        value_range: Least and greatest value that the data can take, in data space; by default (0, 255) for uint8
            images, (0, 1) for booleans, else what the samples span.
        feature_names: Names of the columns of a table, for errors.
        bounds: What ``tfae.moments.bounds`` finds of the samples, where that is known; ``moments`` likewise.

    Returns:
        The fitted layer.

    Raises:
        ValueError: If there is no such method, or the data is constant where it would be divided by its spread.

    Example:
        >>> table = np.array([[1.0, 10.0], [3.0, 30.0]])
        >>> fit("standard", table, kind="table")(table).numpy().tolist()
        [[-1.0, -1.0], [1.0, 1.0]]
    """
    if not isinstance(method, str) or method not in METHODS:
        choices = ", ".join(f'"{name}" ({effect})' for name, effect in METHODS.items())
        raise ValueError(f"preprocessing: expected one of {choices}; received {method!r}.")
    if value_range is None:
        value_range = declared_range(kind, samples.dtype)
    elif not value_range[0] < value_range[1]:
        raise ValueError(f"value_range: expected (low, high) with low < high; received {value_range}.")
    make = functools.partial(Preprocessing, method, sample_shape=samples.shape[1:], sample_dtype=samples.dtype.name)
    if method == "none":
        return make(value_range=value_range)
    if method == "standard" or value_range is None:
        axis = tuple(range(len(samples.shape) - 2)) if method == "standard" else () if kind == "table" else None
        low, high = find_bounds(samples) if bounds is None else bounds
        low, high = low.min(axis), high.max(axis)
    else:
        low, high = np.asarray(value_range)
    constant = np.asarray(low == high)
    low, high = np.asarray(low, "float64"), np.asarray(high, "float64")
    if method == "standard":
        offset, scale = moments or find_moments(samples)
    else:
        offset, scale = (low, high - low) if method == "unit" else ((low + high) / 2, (high - low) / 2)
    # The deviation of a constant column may be a rounding error instead of 0.
    _validate_varies(constant | (scale < np.finfo("float32").tiny), len(samples), kind, feature_names)
    return make(offset=offset, scale=scale, value_range=RANGES.get(method))


def cast_exactly(values: np.ndarray, dtype: npt.DTypeLike, *, name: str = "inputs") -> np.ndarray:
    """Take raw samples to the dtype of the data that a model was trained on, if that changes none of them.

    Floats may be rounded to floats of another width, integers may not: 16777217 is no float32. Whole numbers may be
    stored in any dtype, as a .csv file stores them as float64; but fractions given to a model of integers have most
    likely been scaled already.

    Args:
        values: Of any shape and dtype.
        dtype: Of the raw data, such as ``preprocessing.sample_dtype``.
        name: The argument that the values come from, for errors.

    Returns:
        The values in that dtype; no copy where they have it.

    Raises:
        ValueError: A value would be another one.

    Example:
        >>> cast_exactly(np.array([0.0, 255.0]), "uint8")
        array([  0, 255], dtype=uint8)
    """
    dtype = np.dtype(dtype)
    if values.dtype == dtype:
        return values
    expected = f"{name}: expected raw samples of dtype {dtype}, in data space; received {values.dtype}"
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{expected}.")
    cast, changed = cast_and_compare(values, dtype)
    if changed.any():
        remedy = "Preprocessing is part of the model: pass the data as it was before scaling."
        if dtype.kind == "f" and values.dtype.kind in "iu":
            remedy = f'{dtype} does not hold that integer: round it yourself if that does no harm, x.astype("{dtype}").'
        raise ValueError(f"{expected} with a value of {values[changed][0]}. {remedy}")
    return cast


def constant_columns(table: Samples) -> np.ndarray:
    """Return which columns of a table have no range or deviation to divide by, bool ``(num_columns,)``.

    Example:
        >>> constant_columns(np.array([[1, 7], [2, 7]]))
        array([False,  True])
    """
    # The deviation, which is at most half the range, of a constant column may be a rounding error instead of 0.
    low, high = find_bounds(table)
    return (low == high) | (find_moments(table)[1] < np.finfo("float32").tiny)


def default_method(kind: str, dtype: npt.DTypeLike) -> str:
    """The method that fits most data of a kind and dtype.

    Example:
        >>> default_method("image", "uint8"), default_method("table", "float64")
        ('unit', 'standard')
    """
    if kind == "image" or np.dtype(dtype) == bool:
        return "unit"  # Bounded on both sides: every loss applies, and pixels can be shown.
    return "standard"  # Columns and channels of unlike units weigh alike in a sum over elements.


def declared_range(kind: str, dtype: npt.DTypeLike) -> tuple[float, float] | None:
    """The range that the data can take by its kind and dtype alone, in data space; None where they do not say.

    Example:
        >>> declared_range("image", "uint8")
        (0.0, 255.0)
    """
    if np.dtype(dtype) == bool:
        return (0.0, 1.0)
    return (0.0, 255.0) if kind == "image" and np.dtype(dtype) == np.uint8 else None


def _validate_varies(constant: np.ndarray, num_samples: int, kind: str, feature_names: Sequence[str] | None) -> None:
    """Raise where an element of ``constant``, one per column or channel or one for all, is True."""
    if not constant.any():
        return
    if constant.ndim == 0:
        where, leave_out = "data of one value", "Use"
    else:
        names = [repr(feature_names[i]) if feature_names else str(i) for i in np.flatnonzero(constant).tolist()]
        listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        where = f"constant {'columns' if kind == 'table' else 'channels'} {listed}"
        leave_out = 'Leave them out with columns="varying", or use' if kind == "table" else "Leave them out, or use"
    raise ValueError(
        f"preprocessing: expected data that varies; received {where} in the {num_samples} training samples. "
        f'{leave_out} preprocessing="none".'
    )
