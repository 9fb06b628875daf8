"""What a page says is advised on its data."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from tfae import losses
from tfae.advice import Advice, advise
from tfae.datasets import Data, StoredSamples

#: Values of the training split that a page's advice looks at: half a second. ``tfae advise`` looks at all.
MAX_VALUES = 2**23


@dataclasses.dataclass(frozen=True)
class Advised:
    """``Advice.as_dict()`` as a page shows it, or None, and what it is based on, or why there is none."""

    advice: dict[str, Any] | None
    note: str

    @staticmethod
    def describe(loss: str) -> str:
        """Return the title of a loss; its name, where the module that registers it is not imported."""
        known = losses.find(loss)
        return loss if known is None else known.title

    @staticmethod
    def format_floor(loss: str, floor: float) -> str:
        """Return a floor with its unit."""
        known = losses.find(loss)
        return f"{floor:.4g}{f' {known.unit}' if known and known.unit else ''}"


def advise_page(data: Data, *, noted: Any = None) -> Advised:
    """Return what :func:`tfae.advice.advise` says of data.

    Where the training split has more than 2²³ values, it is asked about every k-th of its samples, as many as have so
    many values: a page is written after every training, and shall not take longer than it.

    Args:
        data: What was trained on.
        noted: What a run has noted as advice: it is shown as it is, lest the page says another one than the user got.
    """
    if isinstance(noted, dict) and noted.keys() == {field.name for field in dataclasses.fields(Advice)}:
        return Advised(noted, "")
    train, note = data.raw.train, ""
    num = max(1, MAX_VALUES // math.prod(data.shape))
    if num < len(train):
        chosen = np.arange(num) * len(train) // num
        part = train.take(chosen) if isinstance(train, StoredSamples) else train[chosen]
        data = dataclasses.replace(data, raw=data.raw._replace(train=part))
        note = f"It is based on {num:,} of the {len(train):,} training samples; tfae advise looks at all of them."
    try:
        return Advised(advise(data).as_dict(), note)
    except ValueError as error:  # A training that is done is not lost over it.
        return Advised(None, str(error))
