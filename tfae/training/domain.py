"""Where a loss is defined, and data that leaves it."""

from __future__ import annotations

from tfae.datasets import Data
from tfae.losses import DOMAIN_TOLERANCE, ReconstructionLoss


def check_domain(loss: ReconstructionLoss, data: Data) -> None:
    """Refuse data on which the loss is not defined.

    Cross-entropy of x outside [0, 1] has no lower bound: the model would be paid for being wrong.

    Args:
        loss: The loss; its ``domain`` counts.
        data: All three splits are looked at.

    Raises:
        ValueError: If a split leaves the domain.
    """
    if loss.domain is None:
        return
    for split, bounds in data.bounds._asdict().items():
        # The scaling is monotone in every element, so that the bounds of the data give those in model space.
        scaled = data.preprocessing(bounds).numpy()
        low, high = float(scaled.min()), float(scaled.max())
        if low < loss.domain[0] - DOMAIN_TOLERANCE or high > loss.domain[1] + DOMAIN_TOLERANCE:
            remedy = (
                "declare a value_range=(low, high) that holds the raw values of all splits"
                if data.preprocessing.method == "unit"
                else 'use preprocessing="unit"'
            )
            raise ValueError(
                f"loss: {type(loss).__name__} is defined on {list(loss.domain)}; the {split} split spans "
                f'[{low:.4g}, {high:.4g}] after preprocessing "{data.preprocessing.method}". Choose SquaredError or '
                f"AbsoluteError, or {remedy}."
            )
