"""What a page says is advised on its data."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from tfae.advice import LOSS_NAMES, Advice, advise
from tfae.datasets import Data, StoredSamples

#: Values of the training split that a page's advice looks at: half a second. ``tfae advise`` looks at all.
MAX_VALUES = 2**23


@dataclasses.dataclass(frozen=True)
class Advised:
    """``Advice.as_dict()`` as a page shows it, or None, and what it is based on, or why there is none."""

    advice: dict[str, Any] | None
    note: str
    loss_names: dict[str, str] = dataclasses.field(default_factory=lambda: dict(LOSS_NAMES))


def advised_on(data: Data, *, noted: Any = None) -> Advised:
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
