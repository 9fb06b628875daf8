"""Losses by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from tfae.plots.style import BRIGHT, DARK, SMALL, prepare_axes, write_beside


def training_curves(
    history: keras.callbacks.History | Mapping[str, Sequence[float]], *, ax: Axes | None = None
) -> Axes:
    """Draw training and validation loss by epoch, and mark the best epoch.

    The scale is logarithmic where the losses are positive and the highest is more than 30 times the lowest.

    Of a variational autoencoder the reconstruction and the KL divergence, of which the loss is the sum, are dotted.

    The best epoch is that of the lowest validation loss, or of the lowest training loss where there is no other.

    Args:
        history: What ``fit`` returned, or lists by name, one value per epoch: ``"loss"``, and optionally
            ``"val_loss"`` and ``"epoch"``, counted from 1 as in a run's ``history.csv``.
        ax: Axes to draw into, and to return. A new figure by default.

    Raises:
        ValueError: If there is no ``"loss"`` or it is empty.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = training_curves({"loss": [3, 2, 1], "val_loss": [3, 2, 2.5]}, ax=Figure().subplots())
        >>> ax.get_title()
        'best epoch 2, validation loss 2'
    """
    if isinstance(history, keras.callbacks.History):
        history = {"epoch": [epoch + 1 for epoch in history.epoch], **history.history}
    curves = {
        name: np.asarray(history[key], "float64")
        for key, name in (("loss", "training loss"), ("val_loss", "validation loss"))
        if len(history.get(key, ()))
    }
    if "training loss" not in curves:
        raise ValueError(
            f'history: expected a non-empty list "loss"; received {sorted(history)}. Pass what fit() returned.'
        )
    ax = prepare_axes(ax, (6, 3.6))
    for (name, curve), color in zip(curves.items(), (DARK, BRIGHT), strict=False):
        epochs = np.asarray(history.get("epoch", range(1, len(curve) + 1)), "int64")[: len(curve)]
        ax.plot(epochs, curve, color=color, marker="." if len(curve) == 1 else None)
        # The upper of the two ends has its name above, the lower below: they never hide each other.
        side = "bottom" if curve[-1] >= max(other[-1] for other in curves.values()) else "top"
        write_beside(ax, name.removesuffix(" loss"), (epochs[-1], curve[-1]), color=color, va=side)
    for part in ("reconstruction", "kl"):
        values = history.get(f"val_{part}" if "validation loss" in curves else part, ())
        if len(values):
            ax.plot(epochs, values, ":", color=color, linewidth=1)
            write_beside(ax, part, (epochs[-1], values[-1]), color=color, va="top", fontsize=SMALL)
    if np.isfinite(curve).any():
        best = int(np.nanargmin(curve))
        ax.plot(epochs[best], curve[best], "o", color=color)
        ax.set_title(f"best epoch {epochs[best]}, {name} {curve[best]:.4g}", fontsize="medium")
    losses = np.concatenate([*curves.values()])
    losses = losses[np.isfinite(losses)]
    if losses.size and 0 < 30 * losses.min() < losses.max():
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="epoch", ylabel="loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return ax
