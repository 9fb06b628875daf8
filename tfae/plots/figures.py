"""Colours and sizes that plots share, and new figures."""

from __future__ import annotations

from matplotlib.axes import Axes

#: Of original and reconstruction, and of training and validation. They differ in grey print, too.
DARK, BRIGHT = "#333333", "#e76300"

#: Points, of titles and labels where many Axes share a figure.
SMALL = 8


def new_axes(size: tuple[float, float]) -> Axes:
    """Return Axes on a new pyplot figure, which notebooks show, of a size in inches."""
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]
