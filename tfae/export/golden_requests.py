"""Golden requests: what the signatures of an export are asked before it is published, and what Keras answers.

The answers come from the Keras model, its preprocessing and its loss, called one after the other; not from the
functions that were traced for the export.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tfae.casting import to_nearest
from tfae.columns import split_matrix
from tfae.export.keras_answers import Arrays, KerasAnswers
from tfae.export.traced_model import convert_outputs
from tfae.losses import DOMAIN_TOLERANCE
from tfae.servable import Request
from tfae.signatures import EXAMPLES, IMAGE_BYTES, LATENT, NOISE, SAMPLES, SignatureDefinition

#: Ordinary samples, and what they are asked in: alone, as two, as seven, and as seven beside extreme neighbours.
_NUM_SAMPLES = 7
#: Samples of the data that are looked at for seven on which the loss is defined.
_NUM_CANDIDATES = 100
#: How far from 0 made extremes are in model space, where nothing bounds the data: ten standard deviations.
_UNBOUNDED = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class GoldenRequest:
    """A request with the answer that it has to get.

    Attributes:
        request: What is asked.
        rows: Which of the samples is in each row.
        expected: Outputs of the Keras model, by name.
        slack: By how much rounding inside of the model can change each element, by name of the output; of outputs that
            are no floats, whether it can. See :class:`tfae.export.keras_answers.KerasAnswers`.
    """

    request: Request
    rows: tuple[int, ...]
    expected: Arrays
    slack: Arrays


def make_golden_requests(
    model: KerasAnswers, signatures: Sequence[SignatureDefinition], data: Any = None
) -> list[GoldenRequest]:
    """Requests to every signature of an autoencoder: batches of 1, 2 and 7, and of extreme samples; the smallest first.

    The samples come from ``data``, a ``tfae.datasets.Data``; without it they are made, in the range that preprocessing,
    dtype and loss allow.

    Raises:
        ValueError: If the model's answers are not finite, or not of the kinds that the signatures declare.
    """
    if isinstance(data, Mapping) or (data is not None and tuple(data.raw.train.shape[1:]) != model.sample_shape):
        data = None  # A description, or that of another model.
    ordinary, extremes = _ordinary(model, data), _extremes(model, data)
    samples = np.concatenate([ordinary, extremes])
    first = len(ordinary)
    beside = [row for pair in zip(range(first, len(samples)), range(len(extremes)), strict=True) for row in pair]
    # On a CPU, whose arithmetic is that of float32; GPUs round the operands of products to ten bits. What is not finite
    # is found below.
    with tf.device("CPU:0"), np.errstate(over="ignore", invalid="ignore"):
        sent, seen = zip(*(_golden_inputs(model, signature, samples) for signature in signatures), strict=True)
        # Once for all samples, and not for each batch: it takes ten times as long as the answers.
        slacks = model.find_slack([partial(_ask, model, *asked) for asked in zip(signatures, seen, strict=True)])
        golden = [
            GoldenRequest(
                Request(signature.name, _take(sent[index], rows)),
                rows,
                model.answer(partial(_ask, model, signature, _take(seen[index], rows))),
                _take(slacks[index], rows),
            )
            for rows in ((0,), (1, 2), tuple(range(_NUM_SAMPLES)), (*beside, 3))
            for index, signature in enumerate(signatures)
        ]
    for each in golden:
        for output, values in each.expected.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ValueError(
                    f"autoencoder: expected one with finite answers; received {model.autoencoder.name!r}, whose "
                    f"{output} of {each.request} holds {values[~np.isfinite(values)][0]}. Nothing was published: train "
                    "it anew, with a smaller learning rate perhaps."
                )
    return golden


def _golden_inputs(model: KerasAnswers, signature: SignatureDefinition, samples: np.ndarray) -> tuple[Arrays, Arrays]:
    """Inputs that a server is sent for all of the samples, and those that Keras is given; both by name."""
    given = dict(signature.golden_inputs(model, samples)) if signature.golden_inputs is not None else {}
    sent: Arrays = {}
    seen: Arrays = {}
    for name, kind in signature.inputs.items():
        if model.columns and name not in given and kind in (SAMPLES, EXAMPLES):
            seen[name] = samples
            split = split_matrix(samples, model.columns)
            of_column = {column.name: model.column_dtype(column, SAMPLES) for column in model.columns}
            columns = {key: tf.cast(values, of_column[key]).numpy() for key, values in split.items()}
            if kind == SAMPLES:
                sent |= columns
                continue
            rows = [{key: values[row] for key, values in columns.items()} for row in range(len(samples))]
            sent[name] = np.array([_write_example(row) for row in rows], object)
        elif name in given:
            dtype = tf.as_dtype(kind.dtype_name(model)).as_numpy_dtype
            sent[name] = seen[name] = np.asarray(given[name], dtype)
        elif kind == LATENT:
            sent[name] = seen[name] = model.encode(model.to_model_space(samples)).numpy()
        elif kind == NOISE:
            noise = np.random.default_rng(0).normal(size=(len(samples), *kind.row_shape(model)))
            sent[name] = seen[name] = noise.astype("float32")
        elif kind in (SAMPLES, EXAMPLES, IMAGE_BYTES):
            seen[name] = samples.astype(model.sample_dtype)
            write = {
                EXAMPLES: lambda sample: _write_example({"inputs": sample}),
                IMAGE_BYTES: lambda image: tf.io.encode_png(image).numpy(),
            }.get(kind)
            sent[name] = seen[name] if write is None else np.array([write(sample) for sample in samples], object)
        if name not in sent or sent[name].shape != (len(samples), *kind.row_shape(model)):
            received = sent[name].shape if name in sent else "none"
            raise ValueError(
                f"signatures: expected golden_inputs of {signature.name} to give {name} as an array of shape "
                f"{(len(samples), *kind.row_shape(model))}, a row for each sample; received {received}."
            )
    return sent, seen


def _take(arrays: Arrays, rows: tuple[int, ...]) -> Arrays:
    return {name: array[list(rows)] for name, array in arrays.items()}


def _ask(model: KerasAnswers, signature: SignatureDefinition, inputs: Arrays) -> dict[str, tf.Tensor]:
    tensors = {name: tf.convert_to_tensor(array) for name, array in inputs.items()}
    return convert_outputs(model, signature, (signature.answer or signature.function)(model, **tensors))


def _ordinary(model: KerasAnswers, data: Any) -> np.ndarray:
    """Seven samples on which the loss is defined: of the data, and made ones where it has too few."""
    found = np.zeros((0, *model.sample_shape), model.preprocessing.sample_dtype)
    for candidates in _candidates(model, data):
        found = np.concatenate([found, candidates[_fits(model, candidates)]])
        if len(found) >= _NUM_SAMPLES:
            return found[:_NUM_SAMPLES]
    if not len(found):
        raise ValueError(
            f"preprocessing: expected one that takes samples of dtype {model.preprocessing.sample_dtype} to "
            f"{model.loss.domain}, where {type(model.loss).__name__} is defined; received "
            f"{model.preprocessing.method!r}, which takes none there."
        )
    return found[np.arange(_NUM_SAMPLES) % len(found)]


def _candidates(model: KerasAnswers, data: Any) -> Iterator[np.ndarray]:
    """Blocks of raw samples: of the data's test split, or what else is not empty, and then ones drawn at random."""
    if data is not None:
        split = max(data.raw.test, data.raw.validation, data.raw.train, key=lambda samples: len(samples) > 0)
        for start in range(0, min(len(split), _NUM_CANDIDATES), _NUM_SAMPLES):
            yield _storable(model, np.asarray(split[start : start + _NUM_SAMPLES]))
    rng = np.random.default_rng(0)
    low, high = _model_range(model)
    shape = (_NUM_SAMPLES, *model.preprocessing.model_shape)
    for _ in range(0, _NUM_CANDIDATES, _NUM_SAMPLES):
        if math.isinf(high - low):
            x = rng.standard_normal(shape, "float32")
            yield _raw(model, x if math.isinf(low) else low + abs(x))
        else:
            yield _raw(model, low + (high - low) * rng.random(shape, "float32"))


def _extremes(model: KerasAnswers, data: Any) -> np.ndarray:
    """Up to three samples: the least values, the greatest, and both in one sample."""
    bounds = [bound if math.isfinite(bound) else math.copysign(_UNBOUNDED, bound) for bound in _model_range(model)]
    low, high = _raw(model, np.stack([np.full(model.preprocessing.model_shape, bound) for bound in bounds]))
    if data is not None:
        of_splits = np.stack([np.asarray(split) for split in data.bounds])
        low, high = _storable(model, of_splits[:, 0].min(axis=0)), _storable(model, of_splits[:, 1].max(axis=0))
    dtype = np.dtype(model.preprocessing.sample_dtype)
    if model.loss.domain is None and dtype.kind in "iu" and dtype.itemsize <= 2:
        low, high = np.full_like(low, np.iinfo(dtype).min), np.full_like(high, np.iinfo(dtype).max)
    mixed = np.where(np.random.default_rng(1).random(low.shape) < 0.5, low, high)
    samples = np.stack([low, high, mixed]).astype(dtype)
    return samples[_fits(model, samples)]


def _model_range(model: KerasAnswers) -> tuple[float, float]:
    """What samples span in model space; infinite where nothing bounds them."""
    preprocessing, domain = model.preprocessing, model.loss.domain
    low, high = preprocessing.value_range or (-math.inf, math.inf)
    if domain is not None:
        low, high = max(low, domain[0]), min(high, domain[1])
    return low, high


def _raw(model: KerasAnswers, x: np.ndarray) -> np.ndarray:
    """Samples in data space whose values in model space are about ``x``."""
    preprocessing = model.preprocessing
    if preprocessing.is_mixed:
        return _storable(model, preprocessing.inverse(x).numpy())
    return _storable(model, x * preprocessing.scale + preprocessing.offset)


def _storable(model: KerasAnswers, raw: np.ndarray) -> np.ndarray:
    """``raw`` in the dtype of the data, rounded to what every signature can carry."""
    dtype = np.dtype(model.preprocessing.sample_dtype)
    if dtype.kind == "f":  # A tf.train.Example holds 32 bits.
        return to_nearest(raw, min(dtype, np.dtype("float32"), key=lambda each: each.itemsize)).astype(dtype)
    raw = raw if raw.dtype == dtype else to_nearest(raw, dtype)
    return np.minimum(raw, np.uint64(np.iinfo("int64").max)) if dtype == "uint64" else raw


def _fits(model: KerasAnswers, samples: np.ndarray) -> np.ndarray:
    """bool ``(num_samples,)``: whether the signatures take them, because the loss is defined there."""
    if not len(samples):
        return np.zeros(0, bool)
    x = np.asarray(model.preprocessing(samples)).reshape(len(samples), -1)
    fits = (np.isfinite(x) | (np.isnan(x) & model.allows_gaps)).all(axis=1)
    if model.loss.domain is not None:
        low, high = model.loss.domain
        fits &= ((x >= low - DOMAIN_TOLERANCE) & (x <= high + DOMAIN_TOLERANCE)).all(axis=1)
    return fits


def _write_example(features: Mapping[str, Any]) -> bytes:
    """Arrays and texts by name as a serialized ``tf.train.Example``."""

    def write(value: Any) -> tf.train.Feature:
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        values = np.asarray(value).ravel()
        if values.dtype.kind == "f":
            return tf.train.Feature(float_list=tf.train.FloatList(value=values.tolist()))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values.astype("int64").tolist()))

    written = {name: write(value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=written)).SerializeToString()
