"""Fingerprint of the training data; detects changes on resume."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfae.datasets.data import Data
from tfae.datasets.orders import WINDOW_BYTES
from tfae.datasets.stored import StoredSamples

IN_MEMORY = "in memory"
STREAMED = "streamed"
#: What differs: its key in a description, and how to make it the same.
_KEYS = {
    "digest": "samples",
    "preprocessing": "preprocessing",
    "value_range": "value_range",
    "scaling": "scaling",
    "seed": "seed",
    "batch_size": "batch_size",
    "order": "order of training",
    "labels": "labels",
}


@dataclass(frozen=True)
class Difference:
    """Something in which data is not the data of a training; the remedy goes on after "load the data"."""

    name: str
    expected: str
    received: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name} (expected {self.expected}, received {self.received})"


def fingerprint(data: Data) -> dict[str, Any]:
    """Return ``data.describe()`` with digests of all else that a training depends on, JSON-able.

    "scaling" is of the fitted preprocessing, "order" says where the samples are and in which chunks they are mixed, and
    "labels" is of the labels, None where there are none.
    """
    scaling = {name: value for name, value in data.preprocessing.get_config().items() if name != "name"}
    return {
        **data.describe(),
        "scaling": _digest([json.dumps(scaling, sort_keys=True).encode()]),
        "order": _order(data),
        "labels": None if data.labels is None else _digest(map(_bytes, data.labels)),
    }


def differences(described: Mapping[str, Any], data: Data) -> list[Difference]:
    """Find in what data is not the one that ``fingerprint`` once described: in nothing if a training is the same."""
    now = fingerprint(data)
    missing = [key for key in _KEYS if key not in described]
    if missing:
        raise ValueError(
            f"run_dir: expected one that this version of tfae began; received one that says nothing of the data's "
            f"{' and '.join(_KEYS[key] for key in missing)}. Begin again in another directory."
        )
    differing = [key for key in _KEYS if described[key] != now[key]]
    if "preprocessing" in differing or "value_range" in differing or "digest" in differing:
        differing = [key for key in differing if key != "scaling"]  # It follows from them.
    if "digest" in differing:  # So do chunks and labels, each of other samples; whether there are any does not.
        for key, kind in (("order", _place), ("labels", bool)):
            if key in differing and kind(described[key]) == kind(now[key]):
                differing.remove(key)
    return [_difference(key, described, now) for key in differing]


def format_differences(found: Iterable[Difference]) -> str:
    """Differences as a part of a sentence: ``seed (expected 0, received 1) and …``."""
    return " and ".join(map(str, found))


def remedy(found: Iterable[Difference]) -> str:
    """What makes the data the same, as a sentence."""
    *others, last = dict.fromkeys(each.remedy for each in found)
    before = f"{', '.join(others)}, and " if others else ""
    return f"Load the data {before}{last}."


def _difference(key: str, described: Mapping[str, Any], now: Mapping[str, Any]) -> Difference:
    before, after = described[key], now[key]
    expected, received = repr(before), repr(after)
    match key:
        case "digest":
            expected, received = (
                f"{'/'.join(map(str, each['num_samples'].values()))} of {each['dtype']} {tuple(each['shape'])}, "
                f"digest {each[key][:8]}"
                for each in (described, now)
            )
            how = "from what it came from then, with the same splits and columns"
        case "value_range":
            expected, received = (repr(None if each is None else tuple(each)) for each in (before, after))
            how = f"with value_range={expected}"
        case "scaling":
            expected, received = (f"one of digest {each[:8]}" for each in (before, after))
            how = "with the preprocessing that was fitted then, by the version of tfae that fitted it"
        case "order":
            expected, received = _place(before), _place(after)
            how = f"with in_memory={before == IN_MEMORY}"
            if expected == received:
                expected, received = before, after
                how = "with the version of tfae that it began with"
        case "labels":
            expected, received = ("none" if each is None else f"some of digest {each[:8]}" for each in (before, after))
            how = "without labels" if before is None else "with the labels of then"
        case _:
            how = f"with {key}={expected}"
    return Difference(_KEYS[key], expected, received, how)


def _order(data: Data) -> str:
    """What decides, beside the seed, in which order the training split comes."""
    samples = data.feed.samples
    if not isinstance(samples, StoredSamples):
        return IN_MEMORY
    # Chunks are drawn, and as many of them as fill a window are mixed.
    chunks = np.ascontiguousarray(samples.chunks(), "<i8").tobytes()
    return f"{STREAMED}, {_digest([chunks, str((WINDOW_BYTES, samples.nbytes)).encode()])[:8]}"


def _place(order: str) -> str:
    return order.partition(",")[0]


def _bytes(labels: np.ndarray) -> bytes:
    """Labels of one type and number are the same bytes however wide the strings of their array are."""
    if labels.dtype.kind in "biuf":
        return f"{labels.dtype.name}{labels.shape}".encode() + np.ascontiguousarray(labels).tobytes()
    return repr(labels.tolist()).encode()


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
