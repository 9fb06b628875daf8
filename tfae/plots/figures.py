"""Figures made where no Axes are given, and what all plots share."""

from __future__ import annotations

from matplotlib.axes import Axes

#: Original and reconstruction, training and validation: they differ in grey print, too.
DARK, BRIGHT = "#333333", "#e76300"

#: Points, of titles and labels where many Axes share a figure.
SMALL = 8


def new_axes(size: tuple[float, float]) -> Axes:
    """Axes of that size in inches, on a figure that notebooks show."""
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]
