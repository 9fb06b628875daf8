"""Damage to the samples that a model is trained on: what it does to a model depends on the loss.

salt_and_pepper=0.05   5 % of all elements are at one end of the data's range
outliers=0.02          2 % of the samples are far from all others in every column or channel that varies
"""

from __future__ import annotations

import dataclasses
import numbers
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfae.casting import to_nearest
from tfae.datasets import Data, StoredSamples
from tfae.moments import blocks, bounds, moments

#: How many standard deviations of its column or channel an element of an outlier is away from the mean.
OUTLIER_DEVIATIONS = 10.0


@dataclasses.dataclass(frozen=True)
class Corruption:
    """A corruption of training samples: a key of ``CORRUPTIONS``, and the share, in (0, 1), that it changes of them.

    Example:
        >>> Corruption.parse("outliers=0.02")
        Corruption(name='outliers', share=0.02)
        >>> str(Corruption("salt_and_pepper", 0.05))
        'salt_and_pepper=0.05'
    """

    name: str
    share: float

    def __post_init__(self) -> None:
        if self.name not in CORRUPTIONS:
            raise ValueError(f"corruptions: expected one of {', '.join(CORRUPTIONS)}; received {self.name!r}.")
        share: Any = self.share  # Of any kind: mypy knows no number that is Real and no float.
        if not isinstance(share, numbers.Real) or not 0 < float(share) < 1:
            raise ValueError(
                f"corruptions: expected {self.name} with a share between 0 and 1; received {self.share!r}. Write "
                f"{self.name}=0.05 for 5 %."
            )

    def __str__(self) -> str:
        return f"{self.name}={float(self.share)!r}"

    @classmethod
    def parse(cls, text: str) -> Corruption:
        """Read ``name=share``."""
        name, share = map(str.strip, text.partition("=")[::2])
        try:
            number = float(share)
        except ValueError:
            example = name if name in CORRUPTIONS else "salt_and_pepper"
            raise ValueError(
                f"corruptions: expected NAME=SHARE, such as {example}=0.05; received {text!r}. The names are "
                f"{', '.join(CORRUPTIONS)}."
            ) from None
        return cls(name, number)


def salt_and_pepper(samples: np.ndarray, share: float, data: Data, random: np.random.RandomState) -> None:
    """Set elements to the low or the high end of the data's range, each end as often as the other.

    Every element is hit with probability ``share``, independently of all others. The range is the one that the data
    declares, ``data.value_range``; where it declares none, it is what the clean training split spans: per column of a
    table, as a whole for everything else.
    """
    low, high = data.bounds.train
    if data.value_range is not None:
        low, high = to_nearest(data.value_range, samples.dtype)
    elif data.kind != "table":
        low, high = low.min(), high.max()
    for block in blocks(samples):  # The draw takes 8 bytes for every element.
        drawn = random.random_sample(block.shape)
        np.copyto(block, low, where=drawn < share / 2)
        np.copyto(block, high, where=(drawn >= share / 2) & (drawn < share))


def outliers(samples: np.ndarray, share: float, data: Data, random: np.random.RandomState) -> None:
    """Replace round(share · n) samples, and at least one, by ones far from the mean in every column that varies.

    Each element is at mean ± 10 standard deviations of its column or channel in the clean training split, the sign
    drawn by itself, and kept within ``data.value_range`` where the data declares one: an outlier among images is one
    whose pixels are black or white at random. A column that is constant has no deviation, and stays as it is.
    """
    chosen = random.permutation(len(samples))[: max(1, round(share * len(samples)))]
    mean, deviation = moments(data.raw.train)
    for index in chosen:
        sign = random.randint(0, 2, size=samples.shape[1:]) * 2 - 1
        far = mean + sign * OUTLIER_DEVIATIONS * deviation
        samples[index] = to_nearest(far if data.value_range is None else np.clip(far, *data.value_range), samples.dtype)


#: What each name does, in place, to a share of samples ``(n, *shape)`` in data space, given the clean data and a
#: generator; one more entry is one more corruption.
CORRUPTIONS: dict[str, Callable[[np.ndarray, float, Data, np.random.RandomState], None]] = {
    "salt_and_pepper": salt_and_pepper,
    "outliers": outliers,
}


def corrupt(data: Data, corruption: Corruption, *, seed: int) -> Data:
    """Return data whose training split is corrupted, and nothing else.

    A corrupted sample is its own target too, ``(x, x)`` as ever: this is not a denoising autoencoder, which is told
    the truth, but a training on data that is wrong.

    Validation and test split stay clean, and so does the preprocessing, fitted on the clean training split, lest
    outliers shrink everything else in model space; labels, seed and the order of the samples stay. The data has to be
    in memory. With it the seed, in [0, 2³²), determines the result.

    Example:
        >>> import tfae
        >>> data = tfae.datasets.load(np.arange(100.0).reshape(50, 2))
        >>> damaged = corrupt(data, Corruption("outliers", 0.1), seed=0)
        >>> int((damaged.raw.train != data.raw.train).all(axis=1).sum()), len(data.raw.train)
        (4, 40)
    """
    if isinstance(data.raw.train, StoredSamples):
        raise ValueError(
            "corruptions: expected data in memory; received data that is streamed from disk. Load it with "
            "in_memory=True."
        )
    samples = np.array(data.raw.train)
    # RandomState's stream is frozen for good by NumPy's policy (NEP 19). Each corruption has its own.
    random = np.random.RandomState([seed, zlib.crc32(corruption.name.encode())])
    CORRUPTIONS[corruption.name](samples, corruption.share, data, random)
    with tf.device("CPU"):
        tensor = tf.constant(samples)
    train = np.asarray(tensor)  # A read-only view: the data is in memory once.
    feed = dataclasses.replace(data.feed, samples=tensor)
    return dataclasses.replace(
        data,
        name=f"{data.name}+{corruption}",
        train=feed.shuffled(data.seed, epoch=0),
        raw=data.raw._replace(train=train),
        bounds=data.bounds._replace(train=bounds(train)),
        arguments=None,
        feed=feed,
    )
