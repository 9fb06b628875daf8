"""The data sets that scikit-learn carries: real data without a network."""

from __future__ import annotations

import numpy as np
import sklearn.datasets

from tfae.datasets.arrays import ArrayPart
from tfae.datasets.source import Source

#: The names under which ``load`` offers them: 8×8 images with gray values from 0 to 16, and three tables.
NAMES = ("digits", "breast_cancer", "wine", "diabetes")


def from_name(name: str, *, feature: str | None = None) -> Source:
    """Open one of them, in scikit-learn's order; there is one ``feature``, and no other to choose."""
    bunch = getattr(sklearn.datasets, f"load_{name}")()
    is_images = name == "digits"
    only = "image" if is_images else "features"
    if feature not in (None, only):
        raise ValueError(f"feature: expected {only!r} or None for {name!r}; received {feature!r}.")
    samples = bunch.images[..., np.newaxis].astype(np.uint8) if is_images else bunch.data
    part = ArrayPart(samples, bunch.target, feature_names=None if is_images else tuple(map(str, bunch.feature_names)))
    part.label_names = tuple(map(str, bunch.get("target_names", ()))) or None
    return Source(name, {"all": part}, value_range=(0.0, 16.0) if is_images else None)
