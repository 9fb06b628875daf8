"""Reconstruction losses: how far a reconstruction x̂ is from its sample x.

Each loss sums an elementwise term over the elements j of a sample and averages over the N samples of a batch:

    loss = (1/N) Σᵢ Σⱼ elementwise(xᵢⱼ, x̂ᵢⱼ)

Keras's built-in losses average over j as well, which divides the gradient by the number of elements and
thereby changes the weight against every other term (a KL divergence, an L1 penalty on the code). With
``sample_reduction="mean"`` the losses here do the same, for those who want a number per element.
"""

from __future__ import annotations

from typing import Any

import keras

from tfae.losses.absolute_error import AbsoluteError
from tfae.losses.binary_crossentropy import BinaryCrossentropy
from tfae.losses.reconstruction_loss import DOMAIN_TOLERANCE, ReconstructionLoss, mask_of
from tfae.losses.squared_error import SquaredError

__all__ = [
    "DOMAIN_TOLERANCE",
    "AbsoluteError",
    "BinaryCrossentropy",
    "ReconstructionLoss",
    "SquaredError",
    "get",
    "loss_of",
    "mask_of",
    "refusal_of",
]


def get(identifier: str, **config: Any) -> ReconstructionLoss:
    """The loss of that name.

    Args:
        identifier: ``"squared_error"`` or ``"mse"``, ``"absolute_error"`` or ``"mae"``, ``"binary_crossentropy"`` or
            ``"bce"``.
        **config: Arguments of the loss.

    Raises:
        ValueError: If there is no such loss.

    Example:
        >>> get("mae", sample_reduction="mean").sample_reduction
        'mean'
    """
    if identifier in ("squared_error", "mse"):
        return SquaredError(**config)
    if identifier in ("absolute_error", "mae"):
        return AbsoluteError(**config)
    if identifier in ("binary_crossentropy", "bce"):
        return BinaryCrossentropy(**config)
    raise ValueError(
        "loss: expected squared_error (mse), absolute_error (mae) or binary_crossentropy (bce); "
        f"received {identifier!r}."
    )


def loss_of(autoencoder: keras.Model) -> ReconstructionLoss:
    """The reconstruction loss that a model is compiled with.

    Args:
        autoencoder: A compiled model.

    Raises:
        ValueError: If it is not compiled, or with another loss.
    """
    loss = getattr(autoencoder, "loss", None)
    if not isinstance(loss, ReconstructionLoss):
        raise ValueError(f"autoencoder: {refusal_of(loss)}")
    return loss


def refusal_of(loss: Any) -> str | None:
    """Why a loss will not do, and which one does; None if it is a loss of this package.

    Args:
        loss: What a model is compiled with: an object, a function, a name, or None.

    Example:
        >>> print(refusal_of("mse"))
        expected a model compiled with a loss of tfae.losses; received loss='mse'. Keras's own losses average over the \
elements of a sample: call autoencoder.compile(optimizer, loss=tfae.losses.SquaredError()).
    """
    if isinstance(loss, ReconstructionLoss):
        return None
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    from_logits = "from_logits=True" if getattr(loss, "from_logits", False) else ""
    counterpart = {
        "mse": "SquaredError()",
        "meansquarederror": "SquaredError()",
        "mae": "AbsoluteError()",
        "meanabsoluteerror": "AbsoluteError()",
        "bce": f"BinaryCrossentropy({from_logits})",
        "binarycrossentropy": f"BinaryCrossentropy({from_logits})",
    }.get(name.replace("_", "").lower(), "SquaredError(), or AbsoluteError or BinaryCrossentropy")
    return (
        f"expected a model compiled with a loss of tfae.losses; received loss={loss!r}. Keras's own losses average "
        f"over the elements of a sample: call autoencoder.compile(optimizer, loss=tfae.losses.{counterpart})."
    )
