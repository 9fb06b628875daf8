"""What to do about a mistake."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from tfae.activations import Clip
from tfae.losses import ReconstructionLoss, is_within, registered
from tfae.preprocessing import RANGES

if TYPE_CHECKING:
    from tfae.datasets import Data


def as_options(**options: Any) -> str:
    """Return options as they are given.

    Example:
        >>> as_options(preprocessing="unit", value_range=(0.0, 1.5))
        'preprocessing="unit" and value_range=(0.0, 1.5)'
    """
    return " and ".join(
        f"{name}={json.dumps(each) if isinstance(each, str) else each}" for name, each in options.items()
    )


def as_activation(activation: str | Clip) -> str:
    """Return an activation as it is given to a layer."""
    return f"activation=tfae.activations.{activation}" if isinstance(activation, Clip) else f'activation="{activation}"'


def outside_domain(loss: ReconstructionLoss, data: Data | None = None) -> str:
    """Return what to do about data outside of a loss's domain: another loss, or the scaling that takes it there."""
    others = [
        f"{each.__name__} ({as_options(loss=each.short_name)})"
        for each in registered()
        if each.domain is None and each.in_comparison
    ]
    # What has an end on one side only, as counts do, is not to be scaled.
    is_bounded = loss.domain is not None and math.isfinite(loss.domain[1] - loss.domain[0])
    scaling = next((name for name, ends in RANGES.items() if is_bounded and is_within(ends, loss.domain)), None)
    remedy = f"Choose {' or '.join(others)}"
    if data is not None and is_within(_span(data, *data.bounds._fields), loss.domain):
        return f"{remedy}, or use {as_options(preprocessing='none')}, since the values are in it already."
    if scaling is None:
        return f"{remedy}."
    needed: dict[str, Any] = {"preprocessing": scaling}
    if data is not None and data.value_range is None and not _train_holds_all(data):
        needed["value_range"] = _span(data, *data.bounds._fields)
    return f"{remedy}, or use {as_options(**needed)}."


def ending(loss: ReconstructionLoss) -> str:
    """Return how to end a model whose outputs leave a loss's domain."""
    by_name = loss.replace(**loss.config_by_name)
    remedy = f"End the model in {as_activation(loss.output_activation())}"
    if not by_name.reads_link:
        return f"{remedy}."
    return f"{remedy}, or use {by_name!r} with {as_activation(by_name.output_activation())}."


def _span(data: Data, *splits: str) -> tuple[float, float]:
    """The least and the greatest raw value of some splits."""
    bounds = [getattr(data.bounds, split) for split in splits]
    return min(float(each.min()) for each in bounds), max(float(each.max()) for each in bounds)


def _train_holds_all(data: Data) -> bool:
    """Whether what scaling takes for the range of the data, by column in a table, holds all splits."""
    if data.kind != "table":
        return _span(data, *data.bounds._fields) == _span(data, "train")
    low, high = data.bounds.train
    return all((each[0] >= low).all() and (each[1] <= high).all() for each in data.bounds)
