"""Golden requests: what the signatures of an export are asked before it is published, and what Keras answers.

The answers come from the Keras model, its preprocessing and its loss, called one after the other; not from the
functions that were traced for the export.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfae.export.answers import Answers, Arrays
from tfae.export.signatures import Signatures
from tfae.losses import DOMAIN_TOLERANCE
from tfae.servable import Request

#: Ordinary samples, and what they are asked in: alone, as two, as seven, and as seven beside extreme neighbours.
_NUM_SAMPLES = 7
#: Samples of the data that are looked at for seven on which the loss is defined.
_NUM_CANDIDATES = 100
#: How far from 0 made extremes are in model space, where nothing bounds the data: ten standard deviations.
_UNBOUNDED = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class Golden:
    """A request with the answer that it has to get.

    Attributes:
        request: What is asked.
        rows: Which of the samples is in each row.
        expected: Outputs of the Keras model, by name; float32.
        slack: By how much rounding inside of the model can change each element, by name of the output; see
            :class:`tfae.export.answers.Answers`.
    """

    request: Request
    rows: tuple[int, ...]
    expected: Arrays
    slack: Arrays


def golden_requests(signatures: Signatures, data: Any = None) -> list[Golden]:
    """Requests to every signature of an autoencoder: batches of 1, 2 and 7, and of extreme samples.

    Args:
        signatures: What is exported.
        data: ``tfae.datasets.Data`` to take samples from; without it they are made, in the range that preprocessing,
            dtype and loss allow.

    Returns:
        The smallest batches of all signatures first.

    Raises:
        ValueError: If the model's answers are not finite.
    """
    ordinary, extremes = _ordinary(signatures, data), _extremes(signatures, data)
    samples = np.concatenate([ordinary, extremes])
    first = len(ordinary)
    beside = [row for pair in zip(range(first, len(samples)), range(len(extremes)), strict=True) for row in pair]
    golden: list[Golden] = []
    # On a CPU, whose arithmetic is that of float32; GPUs round the operands of products to ten bits. What is not finite
    # is found below.
    with tf.device("CPU:0"), np.errstate(over="ignore", invalid="ignore"):
        batches = [(0,), (1, 2), tuple(range(_NUM_SAMPLES)), (*beside, 3)]
        answers = Answers(signatures, [samples[list(rows)] for rows in batches])
        for batch, rows in enumerate(batches):
            golden += _of_batch(signatures, answers, batch, samples[list(rows)], rows)
    for each in golden:
        for output, values in each.expected.items():
            if not np.isfinite(values).all():
                raise ValueError(
                    f"autoencoder: expected one with finite answers; received {signatures.autoencoder.name!r}, whose "
                    f"{output} of {each.request} holds {values[~np.isfinite(values)][0]}. Nothing was published: train "
                    "it anew, with a smaller learning rate perhaps."
                )
    return golden


def _of_batch(
    signatures: Signatures, answers: Answers, batch: int, raw: np.ndarray, rows: tuple[int, ...]
) -> Iterator[Golden]:
    """Requests to all signatures with the raw samples of these rows, the batch of that number in ``answers``."""
    inputs = {"inputs": raw.astype(signatures.dtype.as_numpy_dtype)}
    score = answers.score(batch)
    yield Golden(Request("serving_default", inputs), rows, *answers.reconstruction(batch))
    yield Golden(Request("encode", inputs), rows, *answers.embedding(batch))
    yield Golden(Request("decode", {"embedding": answers.code(batch)}), rows, *answers.decoded(batch))
    yield Golden(Request("score", inputs), rows, *score)
    yield Golden(Request("explain", inputs), rows, *answers.explanation(batch))
    yield Golden(Request("serve_tf_examples", {"examples": _strings(_example(sample) for sample in raw)}), rows, *score)
    if signatures.takes_images:
        files = _strings(tf.io.encode_png(sample).numpy() for sample in raw)
        yield Golden(Request("serve_image_bytes", {"image_bytes": files}), rows, *score)


def _ordinary(signatures: Signatures, data: Any) -> np.ndarray:
    """Seven samples on which the loss is defined: of the data, and made ones where it has too few."""
    found = np.zeros((0, *signatures.shape), signatures.preprocessing.sample_dtype)
    for candidates in itertools.chain(_of_data(signatures, data), _made(signatures)):
        found = np.concatenate([found, candidates[_fits(signatures, candidates)]])
        if len(found) >= _NUM_SAMPLES:
            return found[:_NUM_SAMPLES]
    if not len(found):
        raise ValueError(
            f"preprocessing: expected one that takes samples of dtype {signatures.preprocessing.sample_dtype} to "
            f"{signatures.loss.domain}, where {type(signatures.loss).__name__} is defined; received "
            f"{signatures.preprocessing.method!r}, which takes none there."
        )
    return found[np.arange(_NUM_SAMPLES) % len(found)]


def _of_data(signatures: Signatures, data: Any) -> Iterator[np.ndarray]:
    """Blocks of raw samples from the data, if it has any: of the test split, or what else is not empty."""
    if _has_samples(signatures, data):
        split = max(data.raw.test, data.raw.validation, data.raw.train, key=lambda samples: len(samples) > 0)
        for start in range(0, min(len(split), _NUM_CANDIDATES), _NUM_SAMPLES):
            yield _storable(signatures, np.asarray(split[start : start + _NUM_SAMPLES]))


def _made(signatures: Signatures) -> Iterator[np.ndarray]:
    """Blocks of raw samples that are drawn at random."""
    rng = np.random.default_rng(0)
    low, high = _model_range(signatures)
    shape = (_NUM_SAMPLES, *signatures.shape)
    for _ in range(0, _NUM_CANDIDATES, _NUM_SAMPLES):
        if math.isinf(high - low):
            yield _raw(signatures, rng.standard_normal(shape, "float32"))
        else:
            yield _raw(signatures, low + (high - low) * rng.random(shape, "float32"))


def _has_samples(signatures: Signatures, data: Any) -> bool:
    """Whether ``data`` is more than a description, and of the model."""
    return data is not None and not isinstance(data, Mapping) and tuple(data.shape) == signatures.shape


def _extremes(signatures: Signatures, data: Any) -> np.ndarray:
    """Up to three samples: the least values, the greatest, and both in one sample."""
    low, high = _raw(signatures, np.stack([np.full(signatures.shape, bound) for bound in _bounded(signatures)]))
    if _has_samples(signatures, data):
        bounds = np.stack([np.asarray(split) for split in data.bounds])
        low, high = _storable(signatures, bounds[:, 0].min(axis=0)), _storable(signatures, bounds[:, 1].max(axis=0))
    dtype = np.dtype(signatures.preprocessing.sample_dtype)
    if signatures.loss.domain is None and dtype.kind in "iu" and dtype.itemsize <= 2:
        low, high = np.full_like(low, np.iinfo(dtype).min), np.full_like(high, np.iinfo(dtype).max)
    mixed = np.where(np.random.default_rng(1).random(low.shape) < 0.5, low, high)
    samples = np.stack([low, high, mixed]).astype(dtype)
    return samples[_fits(signatures, samples)]


def _model_range(signatures: Signatures) -> tuple[float, float]:
    """What samples span in model space; infinite where nothing bounds them."""
    preprocessing, domain = signatures.preprocessing, signatures.loss.domain
    low, high = preprocessing.value_range or (-math.inf, math.inf)
    if domain is not None:
        low, high = max(low, domain[0]), min(high, domain[1])
    return low, high


def _bounded(signatures: Signatures) -> tuple[float, float]:
    low, high = _model_range(signatures)
    return (-_UNBOUNDED if math.isinf(low) else low), (_UNBOUNDED if math.isinf(high) else high)


def _raw(signatures: Signatures, x: np.ndarray) -> np.ndarray:
    """Samples in data space whose values in model space are about ``x``."""
    preprocessing = signatures.preprocessing
    return _storable(signatures, x * preprocessing.scale + preprocessing.offset)


def _storable(signatures: Signatures, raw: np.ndarray) -> np.ndarray:
    """``raw`` in the dtype of the data, rounded to what every signature can carry."""
    dtype = np.dtype(signatures.preprocessing.sample_dtype)
    if dtype.kind == "f":  # A tf.train.Example holds 32 bits.
        limits = np.finfo("float16" if dtype == "float16" else "float32")
        return np.clip(raw, limits.min, limits.max).astype("float32").astype(dtype)
    if dtype.kind == "b":
        return np.rint(raw).astype(bool)
    if np.asarray(raw).dtype == dtype:
        return np.minimum(raw, dtype.type(min(np.iinfo(dtype).max, np.iinfo("int64").max)))
    # The greatest int64 has no float64.
    limit = np.nextafter(2.0**63, 0)
    return np.clip(np.rint(raw), max(np.iinfo(dtype).min, -limit), min(np.iinfo(dtype).max, limit)).astype(dtype)


def _fits(signatures: Signatures, samples: np.ndarray) -> np.ndarray:
    """bool ``(num_samples,)``: whether the signatures take them, because the loss is defined there."""
    if not len(samples):
        return np.zeros(0, bool)
    x = np.asarray(signatures.preprocessing(samples)).reshape(len(samples), -1)
    fits = np.isfinite(x).all(axis=1)
    if signatures.loss.domain is not None:
        low, high = signatures.loss.domain
        fits &= ((x >= low - DOMAIN_TOLERANCE) & (x <= high + DOMAIN_TOLERANCE)).all(axis=1)
    return fits


def _example(sample: np.ndarray) -> bytes:
    """A sample as a serialized ``tf.train.Example``."""
    if sample.dtype.kind == "f":
        feature = tf.train.Feature(float_list=tf.train.FloatList(value=sample.ravel().tolist()))
    else:
        feature = tf.train.Feature(int64_list=tf.train.Int64List(value=sample.ravel().astype("int64").tolist()))
    return tf.train.Example(features=tf.train.Features(feature={"inputs": feature})).SerializeToString()


def _strings(values: Iterator[bytes]) -> np.ndarray:
    return np.array(list(values), object)
