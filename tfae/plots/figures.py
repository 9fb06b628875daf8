"""Colours and sizes that plots share, and new figures."""

from __future__ import annotations

from matplotlib.axes import Axes

#: Of original and reconstruction, and of training and validation. They differ in grey print, too.
DARK, BRIGHT = "#333333", "#e76300"

#: Points, of titles and labels where many Axes share a figure.
SMALL = 8


def prepare_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the Axes, or some on a new pyplot figure of a size in inches, which notebooks show; open to two sides."""
    if ax is None:
        from matplotlib import pyplot as plt

        ax = plt.subplots(figsize=size, layout="constrained")[1]
    ax.spines[["top", "right"]].set_visible(False)
    return ax
